import EtcdAPI
import EtcdClient
import Foundation

/// What `lock` and `elect` have in common: something is taken under a lease of its own and kept until a signal comes or
/// the lease is lost.
struct Tenure: Sendable {
    /// How it ended.
    enum End: Sendable { case signalled, leaseLost }

    let client: EtcdClient
    let keeper: LeaseKeeper
    private let signals = TerminationSignals()

    /// - Parameter seconds: the lease's time to live; 0 and less: a minute.
    init(_ connection: any EtcdConnection, seconds: Int64) async throws {
        client = try await connection.makeClient()
        keeper = try await client.keepLease(timeToLive: .seconds(seconds > 0 ? seconds : 60))
    }

    /// Waits for `take`, which a signal cancels; then it throws `CancellationError`, when it has withdrawn.
    func taking<Taken: Sendable>(_ take: @escaping @Sendable () async throws -> Taken) async throws -> Taken {
        let signals = signals
        return try await withThrowingTaskGroup(of: Taken?.self) { group in
            group.addTask { try await take() }
            group.addTask {
                try await signals.wait()
                return nil
            }
            defer { group.cancelAll() }
            if let first = try await group.next(), let taken = first { return taken }
            group.cancelAll()
            // It may have been taken at the last moment.
            if let second = try await group.next(), let taken = second { return taken }
            throw CancellationError()
        }
    }

    /// Waits for a signal or the loss of the lease.
    func untilItEnds() async throws -> End {
        let (signals, keeper) = (signals, keeper)
        return try await withThrowingTaskGroup(of: End.self) { group in
            group.addTask {
                try await signals.wait()
                return .signalled
            }
            group.addTask {
                try await keeper.waitUntilLost()
                return .leaseLost
            }
            defer { group.cancelAll() }
            return try await group.next() ?? .signalled
        }
    }

    /// Ends the lease, and with it what was held under it.
    func end() async {
        // The lease ends by itself if nobody can be told.
        try? await keeper.revoke()
        await client.close()
    }
}
