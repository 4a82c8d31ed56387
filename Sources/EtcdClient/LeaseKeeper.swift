import Synchronization

/// Keeps a lease alive, and says until when it is certain.
///
/// The lease is renewed when a third of its time has passed, and again and again after a failure, by whichever
/// member answers, until the last certain moment. That moment counts from before a renewal was sent: the cluster
/// cannot have ended the lease earlier, unless somebody revoked it. The clock runs on while the machine sleeps
/// (CLOCK_BOOTTIME), and ``certainUntil`` is right even while the keeper's own task is held up.
///
/// The keeper is over for good when the lease is lost. Whether the cluster still has a lease that could not be
/// renewed in time is unknown; ``EtcdClient/keepLease(_:)`` with its number finds out.
public final class LeaseKeeper: Sendable {
    /// Why a lease is not kept any longer.
    public enum Loss: Sendable, Hashable {
        /// The cluster has no such lease: it has expired, or was revoked.
        case ended
        /// It could not be renewed in time, and may have expired. The text says what went wrong last.
        case overdue(String)
        /// ``stop()`` or ``revoke(timeout:)`` was called.
        case stopped
    }

    private typealias Waiter = CheckedContinuation<Loss?, Never>

    private struct State {
        var certainUntil: ContinuousClock.Instant
        var loss: Loss?
        var waiters: [Int: Waiter] = [:]
        var nextWaiter = 0
        var task: Task<Void, Never>?
    }

    /// The lease that is kept.
    public let lease: LeaseID
    /// As granted.
    public let timeToLive: Duration
    private let client: EtcdClient
    private let state: Mutex<State>

    init(_ lease: Lease, client: EtcdClient) {
        self.lease = lease.id
        timeToLive = lease.timeToLive
        self.client = client
        state = Mutex(State(certainUntil: lease.certainUntil))
        let task = Task { [weak self] in
            while let next = self?.nextRenewal {
                try? await Task.sleep(until: next, clock: .continuous)
                guard !Task.isCancelled else { return }
                await self?.renew()
            }
        }
        state.withLock { $0.task = task }
    }

    deinit { state.withLock { $0.task?.cancel() } }

    /// Until when the lease lives for sure.
    public var certainUntil: ContinuousClock.Instant { state.withLock { $0.certainUntil } }

    /// Whether the lease lives for sure, at this moment.
    public var isCertain: Bool { state.withLock { $0.loss == nil && ContinuousClock.now < $0.certainUntil } }

    /// Why the lease is not kept any longer; nil while it is.
    public var loss: Loss? { state.withLock { $0.loss } }

    /// Returns when the lease is lost, or stopped; throws `CancellationError` when the task is cancelled.
    @discardableResult
    public func waitUntilLost() async throws -> Loss {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        let loss = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let known: Loss?? = state.withLock { state in
                    if let loss = state.loss { return .some(loss) }
                    if Task.isCancelled { return .some(nil) }
                    state.waiters[id] = continuation
                    return nil
                }
                if let known { continuation.resume(returning: known) }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(returning: nil)
        }
        guard let loss else { throw CancellationError() }
        return loss
    }

    /// Renews no longer. The lease lives on until it expires.
    public func stop() { lose(.stopped) }

    /// Ends the lease now; its keys are deleted.
    public func revoke(timeout: Duration? = nil) async throws {
        stop()
        do { try await client.revokeLease(lease, timeout: timeout) } catch let error as EtcdError
            where error.reason == .leaseNotFound
        {
            // It is gone, which is what was wanted.
        }
    }

    // MARK: Renewing

    /// When to renew next: a third of the time after the last renewal was sent.
    private var nextRenewal: ContinuousClock.Instant? {
        state.withLock { $0.loss == nil ? $0.certainUntil - timeToLive * 2 / 3 : nil }
    }

    private func renew() async {
        let limit = certainUntil
        var failure = "no time was left to renew it"
        while loss == nil {
            let left = limit - ContinuousClock.now
            guard left > .zero else { return lose(.overdue(failure)) }
            do {
                // Short attempts: a member that hangs must leave time to ask the others.
                let attempt = max(timeToLive / 6, .milliseconds(250))
                guard let renewed = try await client.renewLease(lease, timeout: left, attemptTimeout: attempt)
                else { return lose(.ended) }
                state.withLock { $0.certainUntil = max($0.certainUntil, renewed.certainUntil) }
                return
            } catch is CancellationError {
                return
            } catch let error as EtcdError where error == .clientClosed {
                return lose(.overdue(error.message))
            } catch {
                failure = "\(error)"
                try? await Task.sleep(for: min(timeToLive / 20, .milliseconds(500)))
            }
        }
    }

    private func lose(_ loss: Loss) {
        let (waiters, task): ([Waiter], Task<Void, Never>?) = state.withLock { state in
            guard state.loss == nil else { return ([], nil) }
            state.loss = loss
            defer { state.waiters.removeAll() }
            return (Array(state.waiters.values), state.task)
        }
        for waiter in waiters { waiter.resume(returning: loss) }
        task?.cancel()
    }
}

extension EtcdClient {
    /// Grants a lease and keeps it alive for as long as the keeper lives.
    public func keepLease(timeToLive: Duration, timeout: Duration? = nil) async throws -> LeaseKeeper {
        LeaseKeeper(try await grantLease(timeToLive: timeToLive, timeout: timeout), client: self)
    }

    /// Renews a lease and keeps it alive; throws `etcdserver: requested lease not found` if there is none.
    public func keepLease(_ lease: LeaseID) async throws -> LeaseKeeper {
        guard let renewed = try await renewLease(lease) else {
            throw EtcdError(.notFound, EtcdError.Reason.leaseNotFound.rawValue)
        }
        return LeaseKeeper(renewed, client: self)
    }
}
