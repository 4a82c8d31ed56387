import GRPC
import NIOCore
import NIOPosix

/// One connection to each endpoint, opened when there is something to ask and again after it was lost.
/// Calls go round the connected endpoints that have not just failed; connecting to one never delays a call that another can take.
actor ConnectionPool {
    /// What a call is to use.
    struct Pick: Sendable {
        let endpoint: EtcdEndpoint
        let client: RPCClient
        /// It failed lately: report its next success.
        let isSuspect: Bool
    }

    private struct Place {
        var client: RPCClient?
        var isConnecting = false
        var backOff = BackOff()
        var failure = ""
    }

    private let options: EtcdClientOptions
    private let group: any EventLoopGroup
    private var rotation: [EtcdEndpoint]
    private var places: [EtcdEndpoint: Place] = [:]
    private var turn = 0
    private var isClosed = false
    private var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    private var nextWaiter = 0

    init(endpoints: [EtcdEndpoint], options: EtcdClientOptions, group: any EventLoopGroup) {
        rotation = endpoints
        self.options = options
        self.group = group
        // Not every client begins with the same member.
        turn = Int.random(in: 0..<max(endpoints.count, 1))
    }

    var endpoints: [EtcdEndpoint] { rotation }

    /// A connection for the next call.
    ///
    /// - Parameters:
    ///   - deadline: nil waits for ever.
    ///   - only: this endpoint and no other; it need not be one of those that calls go round.
    func pick(before deadline: ContinuousClock.Instant?, only: EtcdEndpoint? = nil) async throws -> Pick {
        while true {
            try Task.checkCancellation()
            guard !isClosed else { throw EtcdError.clientClosed }
            let now = ContinuousClock.now
            let candidates = only.map { [$0] } ?? rotation
            for endpoint in candidates { connectIfDue(endpoint, now) }
            if let pick = nextReady(candidates, now) { return pick }
            if let deadline, now >= deadline { throw unreachable(candidates) }
            let due = candidates.compactMap { endpoint in
                places[endpoint].flatMap { $0.isConnecting ? nil : $0.backOff.notBefore }
            }
            await waitForChange(until: ([deadline].compactMap(\.self) + due).min())
        }
    }

    private func nextReady(_ candidates: [EtcdEndpoint], _ now: ContinuousClock.Instant) -> Pick? {
        for offset in candidates.indices {
            let index = (turn + offset) % candidates.count
            let endpoint = candidates[index]
            guard let place = places[endpoint], let client = place.client, place.backOff.isDue(now) else { continue }
            if candidates.count > 1 { turn = index + 1 }
            return Pick(endpoint: endpoint, client: client, isSuspect: place.backOff.failures > 0)
        }
        return nil
    }

    private func unreachable(_ candidates: [EtcdEndpoint]) -> EtcdError {
        let failures = candidates.map { endpoint in
            let failure = places[endpoint]?.failure ?? ""
            return failure.isEmpty ? "\(endpoint): no answer yet" : "\(endpoint): \(failure)"
        }
        return EtcdError(.unavailable, "no endpoint answered in time: " + failures.joined(separator: "; "))
    }

    // MARK: What became of it

    func succeeded(_ endpoint: EtcdEndpoint) { places[endpoint]?.backOff.succeeded() }

    /// A call failed in a way that speaks against the endpoint: it is left alone for a while.
    ///
    /// - Parameter isLost: the connection is of no use any more.
    func failed(_ pick: Pick, _ failure: String, isLost: Bool) async {
        places[pick.endpoint]?.failure = failure
        places[pick.endpoint]?.backOff.failed(.now, limits: options.backOff)
        guard isLost, places[pick.endpoint]?.client === pick.client else { return }
        places[pick.endpoint]?.client = nil
        await pick.client.close()
    }

    private func connectIfDue(_ endpoint: EtcdEndpoint, _ now: ContinuousClock.Instant) {
        var place = places[endpoint] ?? Place()
        if place.client == nil, !place.isConnecting, place.backOff.isDue(now) {
            place.isConnecting = true
            let (group, options) = (group, options)
            Task {
                do {
                    let client = try await RPCClient.connect(
                        group: group, host: endpoint.host, port: endpoint.port,
                        timeout: TimeAmount(options.connectTimeout), options: options.transport)
                    await connected(endpoint, client)
                } catch {
                    connectFailed(endpoint, (error as? RPCError)?.message ?? "\(error)")
                }
            }
        }
        places[endpoint] = place
    }

    private func connected(_ endpoint: EtcdEndpoint, _ client: RPCClient) async {
        guard !isClosed, places[endpoint] != nil else {
            await client.close()
            return
        }
        places[endpoint]?.isConnecting = false
        places[endpoint]?.client = client
        client.closed.whenComplete { [weak self] _ in
            Task { await self?.lost(endpoint, client) }
        }
        wakeAll()
    }

    private func connectFailed(_ endpoint: EtcdEndpoint, _ failure: String) {
        places[endpoint]?.isConnecting = false
        places[endpoint]?.failure = failure
        places[endpoint]?.backOff.failed(.now, limits: options.backOff)
        wakeAll()
    }

    private func lost(_ endpoint: EtcdEndpoint, _ client: RPCClient) {
        if places[endpoint]?.client === client { places[endpoint]?.client = nil }
    }

    // MARK: The set of endpoints

    /// Replaces the endpoints. Calls under way on one that is gone have their time to end.
    func setEndpoints(_ endpoints: [EtcdEndpoint]) {
        guard !endpoints.isEmpty, !isClosed, Set(endpoints) != Set(rotation) else { return }
        rotation = endpoints
        let removed = places.filter { !endpoints.contains($0.key) }
        for (endpoint, place) in removed {
            places[endpoint] = nil
            guard let client = place.client else { continue }
            let grace = options.requestTimeout
            Task {
                try? await Task.sleep(for: grace)
                await client.close()
            }
        }
        wakeAll()
    }

    func close() async {
        isClosed = true
        let clients = places.values.compactMap(\.client)
        places.removeAll()
        wakeAll()
        for client in clients { await client.close() }
    }

    // MARK: Waiting

    private func waitForChange(until instant: ContinuousClock.Instant?) async {
        let id = nextWaiter
        nextWaiter += 1
        let timer = instant.map { instant in
            Task {
                try? await Task.sleep(until: instant, clock: .continuous)
                wake(id)
            }
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled || isClosed { continuation.resume() } else { waiters[id] = continuation }
            }
        } onCancel: {
            Task { await self.wake(id) }
        }
        timer?.cancel()
    }

    private func wake(_ id: Int) { waiters.removeValue(forKey: id)?.resume() }

    private func wakeAll() {
        let woken = waiters.values
        waiters.removeAll()
        for waiter in woken { waiter.resume() }
    }
}
