/// A lock that is held, for as long as its lease lives.
///
/// A process can be paused for longer than its lease and not notice. What it writes while it thinks that it
/// holds the lock is safe only in a transaction that compares ``condition``, or at a resource that
/// refuses a ``fencingToken`` lower than one it has seen.
public struct Lock: Sendable, Hashable {
    let place: Place

    /// The key that stands for the lock's owner: `NAME/LEASE-IN-HEX`.
    public var key: [UInt8] { place.key }
    /// Grows with each owner: the revision that created the key.
    public var fencingToken: Int64 { place.revision }
    /// The lock is still held. For transactions.
    public var condition: Transaction.Compare { place.condition }

    /// Gives the lock back. Does nothing if it was lost.
    public func unlock(timeout: Duration? = nil) async throws { try await place.leave(timeout: timeout) }
}

extension EtcdClient {
    /// Takes the lock `name` under a lease, after those who asked before. Contends with etcd's own clients too.
    ///
    /// One lease is one owner: asking again under the lease that holds the lock answers the same lock at once, so
    /// tasks that are to exclude each other need a lease each.
    ///
    /// - Throws: `CancellationError`, having left the queue; ``EtcdError`` if the lease was lost meanwhile. If the
    ///   cluster could not be asked (`mayHaveBeenExecuted`), the lease may stand in the queue, or hold the
    ///   lock, until it ends or asks again.
    public func lock(_ name: some EtcdBytes, under keeper: LeaseKeeper) async throws -> Lock {
        let queue = Queue(client: self, name: name.etcdBytes)
        let (place, isOwner) = try await queue.enter(keeper.lease, value: [])
        try await queue.takeTurn(place, isOwner: isOwner, under: keeper)
        return Lock(place: place)
    }

    /// Takes the lock `name` if nobody has it; nil if somebody does.
    public func tryLock(
        _ name: some EtcdBytes, under keeper: LeaseKeeper, timeout: Duration? = nil
    ) async throws -> Lock? {
        let queue = Queue(client: self, name: name.etcdBytes)
        let (place, isOwner) = try await queue.enter(keeper.lease, value: [], timeout: timeout)
        guard !isOwner else { return Lock(place: place) }
        try await place.leave(timeout: timeout)
        return nil
    }

    /// Does `body` while holding the lock `name`, under a lease of its own. When the lease is lost,
    /// `body` is cancelled and the error thrown.
    ///
    /// - Parameter timeToLive: how soon others get the lock when this process dies.
    public func withLock<Value: Sendable>(
        _ name: some EtcdBytes, timeToLive: Duration = .seconds(10),
        body: @escaping @Sendable (Lock) async throws -> Value
    ) async throws -> Value {
        let keeper = try await keepLease(timeToLive: timeToLive)
        let result: Result<Value, any Error>
        do {
            let lock = try await lock(name, under: keeper)
            result = .success(
                try await withThrowingTaskGroup(of: Value.self) { group in
                    group.addTask { try await body(lock) }
                    group.addTask {
                        let loss = try await keeper.waitUntilLost()
                        throw EtcdError(.failedPrecondition, "the lock's lease \(keeper.lease) was lost: \(loss)")
                    }
                    defer { group.cancelAll() }
                    guard let value = try await group.next() else { throw CancellationError() }
                    return value
                })
        } catch { result = .failure(error) }
        // The end of the lease gives the lock back; in a task of its own, since this one may be cancelled.
        await Task { try? await keeper.revoke() }.value
        return try result.get()
    }
}
