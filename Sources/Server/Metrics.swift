import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Counters that the threads bump and `/metrics` prints, under etcd's names.
final class Metrics: Sendable {
    let startTime = Double(time(nil))
    /// `etcd_disk_wal_fsync_duration_seconds`: one observation per synced write of the log.
    let logSyncs = DurationHistogram()
    /// `etcd_disk_backend_commit_duration_seconds`: one observation per batch applied to the state.
    let stateCommits = DurationHistogram()
    let clientBytesReceived = Atomic<UInt64>(0)
    let watchers = Atomic<Int>(0)
    let watchStreams = Atomic<Int>(0)
    let eventsDelivered = Atomic<UInt64>(0)
    let proposalsFailed = Atomic<UInt64>(0)
    let proposalsPending = Atomic<Int>(0)

    /// The Prometheus text format (version 0.0.4).
    func text(_ status: MemberStatus, serverVersion: String, memberID: String) -> String {
        var out = ""
        func add(
            _ name: String, _ kind: String, _ help: String, _ value: some CustomStringConvertible, labels: String = ""
        ) {
            out += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n\(name)\(labels) \(value)\n"
        }
        add(
            "etcd_server_has_leader", "gauge", "Whether or not a leader exists. 1 is existence, 0 is not.",
            status.leadership.leader == .none ? 0 : 1)
        add(
            "etcd_server_is_leader", "gauge", "Whether or not this member is a leader. 1 if is, 0 otherwise.",
            status.leadership.isLeader ? 1 : 0)
        add(
            "etcd_server_leader_changes_seen_total", "counter", "The number of leader changes seen.",
            status.leaderChanges)
        add(
            "etcd_server_proposals_committed_total", "gauge", "The total number of consensus proposals committed.",
            status.committed.rawValue)
        add(
            "etcd_server_proposals_applied_total", "gauge", "The total number of consensus proposals applied.",
            status.applied.rawValue)
        add(
            "etcd_server_proposals_pending", "gauge", "The current number of pending proposals to commit.",
            proposalsPending.load(ordering: .relaxed))
        add(
            "etcd_server_proposals_failed_total", "counter", "The total number of failed proposals seen.",
            proposalsFailed.load(ordering: .relaxed))
        add(
            "etcd_server_id", "gauge",
            "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
            1, labels: "{server_id=\"\(memberID)\"}")
        add(
            "etcd_server_version", "gauge",
            "Which version is running. 1 for 'server_version' label with current version.",
            1, labels: "{server_version=\"\(serverVersion)\"}")
        add(
            "etcd_mvcc_db_total_size_in_bytes", "gauge",
            "Total size of the underlying database physically allocated in bytes.",
            status.databaseBytes)
        add(
            "etcd_mvcc_db_total_size_in_use_in_bytes", "gauge",
            "Total size of the underlying database logically in use in bytes.",
            status.databaseBytesInUse)
        add("etcd_debugging_mvcc_current_revision", "gauge", "The current revision of store.", status.revision)
        add(
            "etcd_debugging_mvcc_watcher_total", "gauge", "Total number of watchers.", watchers.load(ordering: .relaxed)
        )
        add(
            "etcd_debugging_mvcc_watch_stream_total", "gauge", "Total number of watch streams.",
            watchStreams.load(ordering: .relaxed))
        add(
            "etcd_debugging_mvcc_events_total", "counter", "Total number of events sent by this member.",
            eventsDelivered.load(ordering: .relaxed))
        add(
            "etcd_network_client_grpc_received_bytes_total", "counter",
            "The total number of bytes received from grpc clients.",
            clientBytesReceived.load(ordering: .relaxed))
        logSyncs.write(
            into: &out, name: "etcd_disk_wal_fsync_duration_seconds",
            help: "The latency distributions of fsync called by WAL.")
        stateCommits.write(
            into: &out, name: "etcd_disk_backend_commit_duration_seconds",
            help: "The latency distributions of commit called by backend.")
        if let memory = ProcessFacts.residentBytes {
            add("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", memory)
        }
        if let files = ProcessFacts.openFiles {
            add("process_open_fds", "gauge", "Number of open file descriptors.", files)
        }
        add("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", startTime)
        return out
    }
}

/// Counts of durations in etcd's buckets: 1 ms doubling up to 8.192 s.
final class DurationHistogram: Sendable {
    private struct State {
        var buckets = [UInt64](repeating: 0, count: 15)
        var sumNanoseconds: Int64 = 0
    }
    private let state = Mutex(State())

    func observe(nanoseconds: Int64) {
        let bucket = (0..<14).first { nanoseconds <= Int64(1_000_000) << Int64($0) } ?? 14
        state.withLock {
            $0.buckets[bucket] += 1
            $0.sumNanoseconds += nanoseconds
        }
    }

    func write(into out: inout String, name: String, help: String) {
        let state = state.withLock { $0 }
        out += "# HELP \(name) \(help)\n# TYPE \(name) histogram\n"
        var total: UInt64 = 0
        for (index, count) in state.buckets.enumerated() {
            total += count
            let bound = index == 14 ? "+Inf" : "\(Double(1 << index) / 1_000)"
            out += "\(name)_bucket{le=\"\(bound)\"} \(total)\n"
        }
        out += "\(name)_sum \(Double(state.sumNanoseconds) / 1e9)\n\(name)_count \(total)\n"
    }
}

/// What the system says of this process.
enum ProcessFacts {
    static var residentBytes: Int? {
        guard let file = fopen("/proc/self/statm", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, Int32(line.count), file) != nil else { return nil }
        let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let fields = text.split(separator: " ")
        return fields.count > 1 ? Int(fields[1]).map { $0 * Int(sysconf(Int32(_SC_PAGESIZE))) } : nil
    }

    static var openFiles: Int? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var count = 0
        while let entry = readdir(directory) {
            if entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
        }
        return count
    }
}
