import EtcdAPI
import GRPC
import NIOCore
import NIOPosix

/// Opens watch streams, one connection at a time, to the first endpoint that answers; after the last the first
/// again.
actor WatchDialer {
    private let endpoints: [Endpoint]
    private let connectTimeout: Duration
    private let isDebug: Bool
    private let console: any Console
    private var nextEndpoint = 0
    private var connected: RPCClient?
    private var hasWarned = false

    init(_ endpoints: [Endpoint], _ options: GlobalOptions, _ console: any Console) {
        self.endpoints = endpoints
        connectTimeout = options.connectTimeout
        isDebug = options.isDebug
        self.console = console
    }

    /// Waits as long as there is no server.
    func open(token: String?) async throws -> any WatchStream {
        // A stream that failed may have left the connection standing; another server may do better.
        if let connected {
            self.connected = nil
            await connected.close()
        }
        let client = try await connect(before: nil)
        // Without a leader a watch would wait in silence; with this the server says so.
        let stream = client.stream(
            path: "/etcdserverpb.Watch/Watch",
            metadata: [("hasleader", "true")] + (token.map { [("token", $0)] } ?? []))
        return ClientWatchStream(stream: stream)
    }

    /// The token for the name and the password; throws `RPCError` if the server does not take them.
    func authenticate(
        _ request: Etcdserverpb_AuthenticateRequest, before deadline: ContinuousClock.Instant?
    ) async throws -> String {
        let client = try await connect(before: deadline)
        let timeout = deadline.map { $0 - ContinuousClock.now } ?? .seconds(5)
        let answer = try await client.unary(
            path: "/etcdserverpb.Auth/Authenticate", message: try request.serializedBytes(),
            timeout: TimeAmount(max(timeout, .milliseconds(1))))
        return try Etcdserverpb_AuthenticateResponse(serializedBytes: answer).token
    }

    /// - Parameter deadline: nil: tries for ever.
    private func connect(before deadline: ContinuousClock.Instant?) async throws -> RPCClient {
        if let connected, await connected.isConnected { return connected }
        var pause = Duration.milliseconds(50)
        while true {
            var failure = ""
            for _ in endpoints {
                let endpoint = endpoints[nextEndpoint]
                do {
                    let left = deadline.map { $0 - ContinuousClock.now } ?? connectTimeout
                    guard left > .zero else { throw RPCError(.deadlineExceeded, "") }
                    debug("connecting to \(endpoint)")
                    let client = try await RPCClient.connect(
                        group: MultiThreadedEventLoopGroup.singleton, host: endpoint.address.host,
                        port: endpoint.address.port, timeout: TimeAmount(min(left, connectTimeout)))
                    connected = client
                    hasWarned = false
                    return client
                } catch let error as RPCError where error.code == .unavailable {
                    failure = error.message
                    debug(failure)
                    nextEndpoint = (nextEndpoint + 1) % endpoints.count
                }
            }
            warnOnce(failure)
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
        }
    }

    private func debug(_ text: String) {
        if isDebug { console.writeError("DEBUG: \(text)\n") }
    }

    /// Why nothing happens, said once.
    private func warnOnce(_ failure: String) {
        guard !hasWarned else { return }
        hasWarned = true
        console.writeError("WARNING: no endpoint answers; the last one tried: \(failure)\n")
    }
}

private struct ClientWatchStream: WatchStream {
    let stream: RPCClientStream

    func send(_ request: Etcdserverpb_WatchRequest) throws { stream.send(try request.serializedBytes()) }

    func next() async throws -> Etcdserverpb_WatchResponse? {
        var messages = stream.messages.makeAsyncIterator()
        guard let message = try await messages.next() else { return nil }
        return try Etcdserverpb_WatchResponse(serializedBytes: Array(message.readableBytesView))
    }
}

extension TimeAmount {
    fileprivate init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        // A century is as good as for ever, and fits 64 bits of nanoseconds.
        self = .nanoseconds(min(seconds, 3_155_760_000) * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
