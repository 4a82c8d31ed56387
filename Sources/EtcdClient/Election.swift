/// The leadership of an election that was won, for as long as its lease lives and it is not resigned.
///
/// As with a ``Lock``: what a leader writes is safe only in transactions that compare ``condition``.
public struct Leadership: Sendable, Hashable {
    let place: Place

    /// The leader's key: `NAME/LEASE-IN-HEX`.
    public var key: [UInt8] { place.key }
    /// Grows with each leader: the revision that created the key.
    public var fencingToken: Int64 { place.revision }
    /// The leadership still stands. For transactions.
    public var condition: Transaction.Compare { place.condition }

    /// Changes what the leader says, without an election.
    ///
    /// - Throws: ``EtcdError`` (failedPrecondition) if the leadership is over.
    public func proclaim(_ value: some EtcdBytes, timeout: Duration? = nil) async throws {
        let result = try await place.client.commit(
            Transaction.if(condition).then(.put(key, value, lease: place.lease)), timeout: timeout, mayRepeat: true)
        guard result.succeeded else { throw place.lost }
    }

    /// Lets the next candidate lead. Does nothing if the leadership is over.
    public func resign(timeout: Duration? = nil) async throws { try await place.leave(timeout: timeout) }
}

extension EtcdClient {
    /// Stands for the election `name` and returns when elected, after those who stood before. Contends with etcd's
    /// own clients too.
    ///
    /// - Parameter value: what the leader says to those who look: its name or address.
    /// - Throws: `CancellationError`, having withdrawn; ``EtcdError`` if the lease was lost meanwhile, or as
    ///   ``EtcdClient/lock(_:under:)`` does.
    public func campaign(
        _ name: some EtcdBytes, value: some EtcdBytes, under keeper: LeaseKeeper
    ) async throws -> Leadership {
        let queue = Queue(client: self, name: name.etcdBytes)
        let (place, isOwner) = try await queue.enter(keeper.lease, value: value.etcdBytes)
        let leadership = Leadership(place: place)
        if place.value != value.etcdBytes { try await leadership.proclaim(value) }
        try await queue.takeTurn(place, isOwner: isOwner, under: keeper)
        return leadership
    }

    /// The leader's key and what it says; nil: there is no leader.
    public func leader(of name: some EtcdBytes, timeout: Duration? = nil) async throws -> KeyValue? {
        try await get(electionRange(name), options: .first(by: .createRevision), timeout: timeout).first
    }

    /// The leader now, and each time that it changes or says something else; nil when there is none. It may leave out
    /// what was true for a moment only; it never goes back. It goes on through outages of the cluster.
    public func observeLeader(of name: some EtcdBytes) -> AsyncThrowingStream<KeyValue?, any Error> {
        let range = electionRange(name)
        return AsyncThrowingStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let task = Task {
                do {
                    var told: KeyValue??
                    while true {
                        let read = try await self.untilAnswered {
                            try await self.get(range, options: .first(by: .createRevision))
                        }
                        if told != .some(read.first) { continuation.yield(read.first) }
                        told = .some(read.first)
                        try await self.waitForChange(of: range, since: read)
                    }
                } catch { continuation.finish(throwing: error is CancellationError ? nil : error) }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    /// Returns when something has happened to the leader's key; if there is no leader, to any.
    private func waitForChange(of range: KeyRange, since read: GetResponse) async throws {
        let watched = read.first.map { KeyRange.key($0.key) } ?? range
        for try await update in watch(watched, from: read.header.revision + 1) {
            switch update {
            case .events, .compacted: return
            case .started, .progress: continue
            }
        }
    }

    private func electionRange(_ name: some EtcdBytes) -> KeyRange { .prefix(name.etcdBytes + [UInt8(ascii: "/")]) }
}
