import EtcdAPI
import GRPC
import NIOCore
import NIOPosix

/// A client of the etcd v3 API, for gulpd's and etcd's clusters alike.
///
/// ```
///  get, put, transaction …      watch          keepLease, lock, campaign
///            │                    │                      │ (made of the others)
///          call ──── RetryRules   WatchHub: one stream for all watches, resumed
///            └──────────┬─────────┘
///                 ConnectionPool: one connection an endpoint, turns, back-off
///                       │
///                 RPCClient (GRPC)
/// ```
///
/// **Endpoints.** Calls go round the members that answer. One that fails is left alone for a while that
/// doubles with each failure; ``syncEndpoints(timeout:)`` follows the cluster's own list.
///
/// **Retries.** A read is asked again, of another member, until its time is up. A write is asked again only
/// if it provably was not executed: it was never sent, or a member refused it before proposing it. Otherwise it
/// throws an ``EtcdError`` whose `mayHaveBeenExecuted` is true, and only the caller can tell what to do;
/// a transaction whose compares make a repetition harmless can say `mayRepeat`.
///
/// **Time.** Every call ends within its timeout. Cancelling the task that made it ends it with
/// `CancellationError`; the server is told, and a write may have been executed all the same.
///
/// **Watches** go on across lost connections, dead members and changes of leader, without a gap and without a
/// repetition. **Leases** are kept by a ``LeaseKeeper``, which says until when they are certain.
///
/// It is safe to share between tasks. End it with ``close()``.
public final class EtcdClient: Sendable {
    let options: EtcdClientOptions
    let pool: ConnectionPool
    let hub: WatchHub
    private let endpointSync: EndpointSync

    /// Connects to nothing yet.
    ///
    /// - Parameter endpoints: at least one.
    public init(
        endpoints: [EtcdEndpoint], options: EtcdClientOptions = EtcdClientOptions(),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) throws(EtcdError) {
        guard !endpoints.isEmpty else { throw EtcdError(.invalidArgument, "a client needs at least one endpoint") }
        self.options = options
        pool = ConnectionPool(endpoints: endpoints, options: options, group: group)
        hub = WatchHub(pool: pool, metadata: options.metadata(requiresLeader: options.requireLeader))
        endpointSync = EndpointSync()
        if let interval = options.endpointSyncInterval { endpointSync.start(every: interval, for: self) }
    }

    /// - Parameter endpoints: `host:port` or `http://host:port`.
    public convenience init(
        endpoints: [String], options: EtcdClientOptions = EtcdClientOptions()
    ) throws(EtcdError) {
        var parsed: [EtcdEndpoint] = []
        for text in endpoints { parsed.append(try EtcdEndpoint(text)) }
        try self.init(endpoints: parsed, options: options)
    }

    /// The endpoints that calls go round now.
    public var endpoints: [EtcdEndpoint] {
        get async { await pool.endpoints }
    }

    /// Ends all connections. Calls under way and watches fail; leases are no longer kept.
    public func close() async {
        endpointSync.stop()
        await hub.close()
        await pool.close()
    }

    // MARK: Calls

    /// Calls any method of the API with its own messages, under the client's rules for retries.
    ///
    /// - Parameters:
    ///   - timeout: for all attempts together; nil takes the client's `requestTimeout`.
    ///   - mayRepeat: a write may be sent again although it may have been executed.
    ///   - needsLeader: false lets a member that has no leader answer a read by itself, if it can.
    ///   - endpoint: asks this member and no other, with a leader or without.
    public func call<Request, Response>(
        _ method: EtcdMethod<Request, Response>, _ request: Request, timeout: Duration? = nil,
        mayRepeat: Bool = false, needsLeader: Bool = true, at endpoint: EtcdEndpoint? = nil
    ) async throws -> Response {
        try await timedCall(
            method, request, timeout: timeout ?? options.requestTimeout, attemptTimeout: options.attemptTimeout,
            mayRepeat: mayRepeat, needsLeader: needsLeader, at: endpoint
        ).response
    }

    /// Reads again for as long as the cluster does not answer, each time until the read's own time is up.
    func untilAnswered<Answer>(_ read: () async throws -> Answer) async throws -> Answer {
        while true {
            do { return try await read() } catch let error as EtcdError
                where error.code == .unavailable || error.code == .deadlineExceeded
            { continue }
        }
    }

    /// - Returns: the answer, and when the attempt that it answers was begun.
    func timedCall<Request, Response>(
        _ method: EtcdMethod<Request, Response>, _ request: Request, timeout: Duration, attemptTimeout: Duration,
        mayRepeat: Bool = false, needsLeader: Bool = true, at endpoint: EtcdEndpoint? = nil
    ) async throws -> (response: Response, sentAt: ContinuousClock.Instant) {
        let deadline = ContinuousClock.now + timeout
        let repeats = method.isRepeatable || mayRepeat
        let metadata = options.metadata(
            requiresLeader: options.requireLeader && needsLeader && method.isRepeatable && endpoint == nil)
        let message: [UInt8]
        do { message = try request.serializedBytes() } catch {
            throw EtcdError(.invalidArgument, "the request cannot be encoded: \(error)")
        }
        // Of earlier attempts.
        var mayHaveBeenExecuted = false
        var lastFailure: RPCError?
        while true {
            let pick: ConnectionPool.Pick
            do { pick = try await pool.pick(before: deadline, only: endpoint) } catch var error as EtcdError {
                // What a member said tells more than that the time is up.
                if error.code == .unavailable, let lastFailure {
                    error = EtcdError(lastFailure.code, lastFailure.message)
                }
                error.mayHaveBeenExecuted = mayHaveBeenExecuted
                throw error
            }
            let sentAt = ContinuousClock.now
            let left = max(deadline - sentAt, .milliseconds(1))
            let allowed = repeats ? min(left, attemptTimeout) : left
            do {
                let answer = try await pick.client.unary(
                    path: method.path, message: message, metadata: metadata, timeout: TimeAmount(allowed))
                if pick.isSuspect { await pool.succeeded(pick.endpoint) }
                return (try Response(serializedBytes: answer), sentAt)
            } catch let error as RPCError {
                if Task.isCancelled { throw CancellationError() }
                let isAttemptOver = error.code == .deadlineExceeded && allowed < left
                let isTransient = RetryRules.isTransient(error) || isAttemptOver
                if isTransient || error.code == .deadlineExceeded {
                    await pool.failed(pick, error.message, isLost: error.message.hasPrefix("the connection to "))
                }
                lastFailure = error
                let isNotExecuted = RetryRules.isNotExecuted(error)
                mayHaveBeenExecuted = mayHaveBeenExecuted || (!method.isRepeatable && !isNotExecuted)
                guard isTransient, repeats || isNotExecuted, ContinuousClock.now < deadline else {
                    throw EtcdError(error.code, error.message, mayHaveBeenExecuted: mayHaveBeenExecuted)
                }
            } catch {
                throw EtcdError(
                    .internal, "\(pick.endpoint) sent an answer that cannot be read: \(error)",
                    mayHaveBeenExecuted: !method.isRepeatable)
            }
        }
    }
}
