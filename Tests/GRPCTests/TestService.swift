import GRPC
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

/// What the test service has seen, over all loops.
final class Journal: Sendable {
    private let box = NIOLockedValueBox<[String]>([])
    var lines: [String] { box.withLockedValue { $0 } }
    func note(_ line: String) { box.withLockedValue { $0.append(line) } }
    func count(_ line: String) -> Int { lines.count { $0 == line } }
}

enum TestMethod: Int, CaseIterable {
    case unary, fail, stream, pour, hang, metadata, caller, detour

    var rpc: RPCMethod {
        switch self {
        case .unary: RPCMethod(path: "/test.Echo/Unary")
        case .fail: RPCMethod(path: "/test.Echo/Fail")
        case .stream: RPCMethod(path: "/test.Echo/Stream", clientStreaming: true, serverStreaming: true)
        case .pour: RPCMethod(path: "/test.Echo/Pour", serverStreaming: true)
        case .hang: RPCMethod(path: "/test.Echo/Hang")
        case .metadata: RPCMethod(path: "/test.Echo/Metadata")
        case .caller: RPCMethod(path: "/test.Echo/Caller")
        case .detour: RPCMethod(path: "/test.Echo/Detour")
        }
    }
    var path: String { rpc.path }
}

/// Answers the test methods: echoes (at once or by way of another thread), fails, pours out as many
/// mebibytes as asked, hangs.
final class TestService: RPCLoopService {
    private let journal: Journal
    /// Handles of cancelled calls, kept and used on.
    private var stale: [RPCCall] = []
    init(journal: Journal) { self.journal = journal }

    func handle(_ batch: [RPCEvent]) {
        for event in batch {
            switch event {
            case .message(let call, let message): take(message, of: call)
            case .requestEnd(let call):
                journal.note("end")
                call.finish(code: .ok)
            case .cancelled(let call):
                journal.note("cancelled")
                stale.append(call)
            }
        }
    }

    private func take(_ message: ByteBuffer, of call: RPCCall) {
        // These must do nothing, whatever came to the place of their calls.
        for call in stale {
            call.send { $0.writeString("stale") }
            call.finish(code: .aborted)
        }
        switch TestMethod(rawValue: call.method) {
        case .unary: call.respond { $0.writeImmutableBuffer(message) }
        case .fail:
            let code = GRPCStatus.Code(rawValue: Int(message.readableBytesView.first ?? 0)) ?? .unknown
            call.finish(code: code, message: "it failed: 100% of λ")
        case .stream: call.send { $0.writeImmutableBuffer(message) }
        case .pour: pour(remaining: Int(message.readableBytesView.first ?? 0), call)
        case .hang: journal.note("hanging")
        case .metadata: call.respond { $0.writeString(call.header("x-key") ?? "none") }
        case .caller: call.respond { $0.writeString(call.peerIdentity?.commonName ?? "none") }
        case .detour:
            Task.detached {
                call.eventLoop.execute { call.respond { $0.writeImmutableBuffer(message) } }
            }
        case nil: call.finish(code: .internal, message: "no such method")
        }
    }

    private func pour(remaining: Int, _ call: RPCCall) {
        guard remaining > 0 else { return call.finish(code: .ok) }
        call.send { $0.writeRepeatingByte(7, count: 1 << 20) }
        if call.bufferedBytes > 2 << 20 { journal.note("buffered too much") }
        call.whenDrained { self.pour(remaining: remaining - 1, call) }
    }

    func handleHTTP(_ request: HTTPExchange) {
        switch request.uri {
        case "/stream":
            request.startStreaming(status: 200, headers: [("content-type", "text/plain")])
            request.write(ByteBuffer(string: "one"))
            request.eventLoop.assumeIsolated().execute {
                request.write(ByteBuffer(string: "two"))
                request.finish()
            }
        case "/wait":
            journal.note("waiting")
            request.whenClosed { self.journal.note("client gone") }
        default:
            request.respond(
                status: 200, headers: [("x-method", request.method)],
                body: ByteBuffer(string: "\(request.uri) \(request.body.readableBytes)"))
        }
    }
}

/// A server of the test service on a free port.
struct TestServer {
    let group: MultiThreadedEventLoopGroup
    let server: RPCServer
    let journal: Journal
    let port: Int

    func client(_ options: RPCClientOptions = RPCClientOptions()) async throws -> RPCClient {
        try await RPCClient.connect(group: group, host: "127.0.0.1", port: port, options: options)
    }
}

func withServer(
    _ options: RPCServerOptions = RPCServerOptions(), _ body: (TestServer) async throws -> Void
) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    let journal = Journal()
    let server = try await RPCServer(group: group, methods: TestMethod.allCases.map(\.rpc), options: options) { _ in
        TestService(journal: journal)
    }
    let address = try await server.listen(host: "127.0.0.1", port: 0)
    do {
        try await body(TestServer(group: group, server: server, journal: journal, port: address.port ?? 0))
    } catch {
        Issue.record("\(error)")
    }
    await server.shutdown(deadline: .milliseconds(100))
    try await group.shutdownGracefully()
}

/// Waits until the condition holds; records what was awaited when it does not come. The bound is on what hangs: a machine
/// that is merely slow must not reach it.
func eventually(
    _ what: String, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(120)
    while try !condition() {
        guard ContinuousClock.now < deadline else {
            Issue.record("waited in vain: \(what)", sourceLocation: sourceLocation)
            return
        }
        try await Task.sleep(for: .milliseconds(2))
    }
}

func expectError(
    _ code: GRPCStatus.Code, _ message: String? = nil, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("no error, but \(code.name) was expected", sourceLocation: sourceLocation)
    } catch let error as RPCError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        if let message { #expect(error.message == message, sourceLocation: sourceLocation) }
    } catch {
        Issue.record("\(error)", sourceLocation: sourceLocation)
    }
}
