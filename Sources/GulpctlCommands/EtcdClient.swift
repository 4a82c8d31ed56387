import EtcdAPI
import Foundation
import GRPC
import NIOCore
import NIOPosix

/// The cluster behind `--endpoints`: one connection at a time, to the first endpoint that answers; when it
/// is lost the next one is tried, and after the last the first again, until the command's time is up.
///
/// Reads are asked again after any UNAVAILABLE. Writes are not once they may have been sent: the answer to
/// a write that was applied can be lost, and a repeated put is another revision.
actor EtcdClient: EtcdConnection {
    private let endpoints: [Endpoint]
    private let options: GlobalOptions
    private let console: any Console
    private let group: MultiThreadedEventLoopGroup
    private var nextEndpoint = 0
    private var connected: RPCClient?
    private var token: String?
    private var isPasswordKnown = false
    private var password = ""
    private var hasWarned = false

    init(_ options: GlobalOptions, console: any Console) throws {
        try options.checkServed()
        if options.isDebug { console.writeError(options.assignments) }
        endpoints = try Endpoint.list(options.endpoints)
        self.options = options
        self.console = console
        group = MultiThreadedEventLoopGroup.singleton
    }

    func range(_ request: Etcdserverpb_RangeRequest) async throws -> Etcdserverpb_RangeResponse {
        try await call("/etcdserverpb.KV/Range", request, isRepeatable: true)
    }

    func put(_ request: Etcdserverpb_PutRequest) async throws -> Etcdserverpb_PutResponse {
        try await call("/etcdserverpb.KV/Put", request, isRepeatable: false)
    }

    func deleteRange(_ request: Etcdserverpb_DeleteRangeRequest) async throws -> Etcdserverpb_DeleteRangeResponse {
        try await call("/etcdserverpb.KV/DeleteRange", request, isRepeatable: false)
    }

    func openWatchStream() async throws -> any WatchStream {
        // A stream that failed may have left the connection standing; another server may do better.
        if let connected {
            self.connected = nil
            await connected.close()
        }
        let client = try await connect(before: nil)
        // Without a leader a watch would wait in silence; with this the server says so.
        let stream = client.stream(path: "/etcdserverpb.Watch/Watch", metadata: metadata + [("hasleader", "true")])
        return ClientWatchStream(stream: stream)
    }

    private var metadata: RPCClient.Metadata { token.map { [("token", $0)] } ?? [] }

    private func call<Response: SwiftProtobuf.Message>(
        _ path: String, _ request: some SwiftProtobuf.Message, isRepeatable: Bool
    ) async throws -> Response {
        let deadline = ContinuousClock.now + options.commandTimeout
        let message: [UInt8] = try request.serializedBytes()
        while true {
            let client = try await connect(before: deadline)
            do {
                let answer = try await client.unary(
                    path: path, message: message, metadata: metadata, timeout: try remaining(deadline))
                return try Response(serializedBytes: answer)
            } catch let error as RPCError where error.code == .unavailable && isRepeatable {
                debug("\(path): \(error)")
                connected = nil
                await client.close()
                try await Task.sleep(for: .milliseconds(25))
            }
        }
    }

    private func remaining(_ deadline: ContinuousClock.Instant) throws -> TimeAmount {
        let left = deadline - ContinuousClock.now
        guard left > .zero else { throw RPCError(.deadlineExceeded, "") }
        return TimeAmount(left)
    }

    /// - Parameter deadline: nil: tries for ever.
    private func connect(before deadline: ContinuousClock.Instant?) async throws -> RPCClient {
        if let connected, await connected.isConnected { return connected }
        var pause = Duration.milliseconds(50)
        var failure = ""
        while true {
            for _ in endpoints {
                let endpoint = endpoints[nextEndpoint]
                do {
                    var timeout = options.dialTimeout > .zero ? TimeAmount(options.dialTimeout) : .hours(1)
                    if let deadline { timeout = min(timeout, try remaining(deadline)) }
                    debug("connecting to \(endpoint)")
                    let client = try await RPCClient.connect(
                        group: group, host: endpoint.host, port: endpoint.port, timeout: timeout)
                    try await logIn(on: client)
                    connected = client
                    hasWarned = false
                    return client
                } catch let error as RPCError where error.code == .unavailable {
                    failure = error.message
                    debug(failure)
                    nextEndpoint = (nextEndpoint + 1) % endpoints.count
                } catch let error as RPCError where error.code == .deadlineExceeded {
                    warnOnce(failure)
                    throw error
                }
            }
            if deadline == nil { warnOnce(failure) }
            if let deadline, ContinuousClock.now + pause >= deadline {
                try? await Task.sleep(until: deadline)
            } else {
                try await Task.sleep(for: pause)
            }
            pause = min(pause * 2, .seconds(1))
        }
    }

    /// The token that calls carry, when `--user` is given. A cluster without authentication needs none.
    private func logIn(on client: RPCClient) async throws {
        guard !options.user.isEmpty else { return }
        let parts = options.user.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        var request = Etcdserverpb_AuthenticateRequest()
        request.name = String(parts[0])
        if !isPasswordKnown {
            password =
                if !options.password.isEmpty { options.password } else if parts.count == 2 { String(parts[1]) } else {
                    getpass("Password: ").map { String(cString: $0) } ?? ""
                }
            isPasswordKnown = true
        }
        request.password = password
        do {
            let answer = try await client.unary(
                path: "/etcdserverpb.Auth/Authenticate", message: try request.serializedBytes(),
                timeout: TimeAmount(options.commandTimeout))
            token = try Etcdserverpb_AuthenticateResponse(serializedBytes: answer).token
        } catch let error as RPCError where error.message == "etcdserver: authentication is not enabled" {
            token = nil
        } catch let error as RPCError where error.code != .unavailable {
            throw CommandFailure(error.commandText, .badConnection)
        }
    }

    private func debug(_ text: String) {
        if options.isDebug { console.writeError("DEBUG: \(text)\n") }
    }

    /// Why nothing happens, said once.
    private func warnOnce(_ failure: String) {
        guard !hasWarned, !failure.isEmpty else { return }
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
