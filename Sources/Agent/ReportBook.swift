import EtcdClient
import Guard
import LaunchModel

/// What lies in the store for one report.
struct StoredReport: Hashable, Sendable {
    /// nil: nothing that stands, for it is under another lease or cannot be read.
    var report: Report?
    /// The revision that wrote the key.
    var revision: Int64

    /// What the keys of a node's reports say to an agent with this lease.
    static func read(_ kvs: [KeyValue], lease: LeaseID) -> [InstanceID: StoredReport] {
        var stored: [InstanceID: StoredReport] = [:]
        for kv in kvs {
            guard case .report(_, let instance) = Place(key: kv.key) else { continue }
            let report = kv.lease == lease ? try? Report(json: kv.value) : nil
            stored[instance] = StoredReport(report: report, revision: kv.modRevision)
        }
        return stored
    }
}

/// Which reports lie in the store, and which are to be written next.
///
/// A report is written when it changed: at once if its state did, else at most once a second. So a component that
/// talks much, or ends and is started in a loop, costs bounded writes.
///
/// Each write names the revision that it replaces. So one that was held up on its way, and given up, cannot land on a
/// later one and stay.
struct ReportBook: Sendable {
    /// One step of a transaction.
    struct Write: Hashable, Sendable {
        var instance: InstanceID
        /// nil: the key is deleted.
        var report: Report?
        /// What it replaces; 0: nothing.
        var knownRevision: Int64
        /// Only if the assignment of this token is there.
        var awaitedToken: Int64?
    }

    /// Twice as many compares and two are what any store allows in one transaction (etcd: 128).
    static let mostWrites = 60
    /// So that a transaction stays far below what a store accepts (etcd: 1.5 MiB).
    static let mostBytes = 512 << 10
    /// The shortest time between two writes of a report whose state has not changed.
    static let shortestInterval: Duration = .seconds(1)

    private var written: [InstanceID: (stored: StoredReport, at: BootTime)] = [:]
    /// Awaited tokens whose assignment was seen to be gone: it never comes back, since a new one has another token.
    private var refused: [InstanceID: Int64] = [:]

    /// Begins with what was read from the store, under a registration or after a write that met another revision.
    mutating func begin(_ stored: [InstanceID: StoredReport]) {
        written = stored.mapValues { ($0, BootTime(nanoseconds: 0)) }
    }

    /// What is there, about which assignments.
    var tokens: [InstanceID: Int64] { written.compactMapValues(\.stored.report?.token) }

    /// What to write now (each key once, in order), and when to ask again although nothing has happened.
    ///
    /// - Parameter awaited: assignments that must be there for their reports to be written.
    func due(
        _ wanted: [InstanceID: Report], awaited: [InstanceID: Int64] = [:], _ now: BootTime
    ) -> (writes: [Write], askAgain: BootTime?) {
        var writes: [Write] = []
        var bytes = 0
        var askAgain: BootTime?
        for instance in Set(written.keys).union(wanted.keys).sorted() {
            guard writes.count < Self.mostWrites, bytes < Self.mostBytes else { return (writes, now) }
            let present = written[instance]
            let report = wanted[instance]
            if let token = awaited[instance], refused[instance] == token { continue }
            if let report, let present, let last = present.stored.report {
                if last == report { continue }
                let isChangeOfState =
                    (last.state, last.token, last.generation) != (report.state, report.token, report.generation)
                let allowed = present.at + Self.shortestInterval
                if !isChangeOfState, allowed > now {
                    askAgain = min(askAgain ?? allowed, allowed)
                    continue
                }
            }
            writes.append(
                Write(
                    instance: instance, report: report, knownRevision: present?.stored.revision ?? 0,
                    awaitedToken: report == nil ? nil : awaited[instance]))
            bytes += report?.json.count ?? 0
        }
        return (writes, askAgain)
    }

    /// The writes failed, when these tokens' assignments were there. What awaited another is not tried again, so that it
    /// does not hold up the others.
    mutating func refuse(_ writes: [Write], assigned: [InstanceID: Int64]) {
        for write in writes {
            if let token = write.awaitedToken, assigned[write.instance] != token { refused[write.instance] = token }
        }
    }

    /// The writes are in the store, by this revision.
    mutating func done(_ writes: [Write], revision: Int64, _ now: BootTime) {
        for write in writes {
            refused[write.instance] = nil
            if let report = write.report {
                written[write.instance] = (StoredReport(report: report, revision: revision), now)
            } else {
                written[write.instance] = nil
            }
        }
    }
}
