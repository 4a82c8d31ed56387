import AgentAPI
import Dispatch
import Foundation
import GRPC
import LaunchModel
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// The agent's service: the lines that components wrote, over gRPC (`megam.Agent/Logs`), and over plain HTTP for
/// curl: `GET /logs/INSTANCE?tail=N` and `GET /health`.
final class LogServer: Sendable {
    /// The port that it listens on.
    let port: Int
    private let server: RPCServer
    private let calls: LogCalls

    /// Listens. Throws ``AgentError`` if it cannot.
    init(_ data: DataDirectory, _ configuration: AgentConfiguration, logger: Logger) async throws {
        let calls = LogCalls(data, logger: logger)
        self.calls = calls
        let methods = [RPCMethod(path: AgentMethod.logs, serverStreaming: true)]
        server = try await RPCServer(group: MultiThreadedEventLoopGroup.singleton, methods: methods) { _ in
            LogService(calls)
        }
        let place = "\(configuration.listenHost):\(configuration.listenPort)"
        do {
            let address = try await server.listen(host: configuration.listenHost, port: configuration.listenPort)
            port = address.port ?? configuration.listenPort
        } catch {
            throw AgentError("the agent cannot listen on \(place): \(error); free it, or choose another address")
        }
    }

    /// Ends the calls under way.
    func close() async {
        calls.close()
        await server.shutdown(deadline: .seconds(2))
    }
}

/// What the calls of all loops share.
final class LogCalls: Sendable {
    /// More at a time are refused.
    static let mostCalls = 64
    /// Bytes that may wait for a slow client before no more is read for it.
    static let mostBufferedBytes = 1 << 20
    /// How often a followed log is looked at.
    static let lookInterval: Duration = .milliseconds(200)
    /// The most that one answer over plain HTTP has.
    static let mostHTTPBytes = 8 << 20

    private struct State {
        var nextID = 0
        var tasks: [Int: Task<Void, Never>] = [:]
        var isClosed = false
    }

    private let data: DataDirectory
    private let logger: Logger
    /// Files are read here, one read at a time.
    private let queue = DispatchQueue(label: "agent.logs")
    private let state = Mutex(State())

    init(_ data: DataDirectory, logger: Logger) {
        self.data = data
        self.logger = logger
    }

    /// Runs `body` as one of the bounded number of calls; nil if there are too many.
    func begin(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never>? {
        state.withLock { state in
            guard state.tasks.count < Self.mostCalls, !state.isClosed else { return nil }
            state.nextID += 1
            let id = state.nextID
            let task = Task {
                await body()
                self.state.withLock { _ = $0.tasks.removeValue(forKey: id) }
            }
            state.tasks[id] = task
            return task
        }
    }

    func close() {
        let tasks = state.withLock { state in
            state.isClosed = true
            return Array(state.tasks.values)
        }
        for task in tasks { task.cancel() }
    }

    private func onQueue<Answer: Sendable>(_ body: @escaping @Sendable () throws -> Answer) async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try body() }) }
        }
    }

    /// Answers one call to its end.
    func serve(_ call: RPCCall, _ request: Megam_LogsRequest) async {
        let (code, message): (GRPCStatus.Code, String)
        do { (code, message) = try await stream(call, request) } catch is CancellationError {
            (code, message) = (.unavailable, "the agent stops; ask again")
        } catch {
            logger.warning("cannot read a log", metadata: ["instance": "\(request.instance)", "error": "\(error)"])
            (code, message) = (.internal, "\(error)")
        }
        call.eventLoop.execute { call.finish(code: code, message: message) }
    }

    private func stream(_ call: RPCCall, _ request: Megam_LogsRequest) async throws -> (GRPCStatus.Code, String) {
        guard let instance = InstanceID(request.instance) else {
            return (.invalidArgument, "\"\(request.instance)\" is no instance: write ASSEMBLY.COMPONENT.INDEX")
        }
        let log = InstanceLog(data: data, instance: instance)
        let notFound = (GRPCStatus.Code.notFound, "no run of \(instance) is on this node")
        var cursor: InstanceLog.Cursor
        if request.cursor.isEmpty {
            guard let start = try await onQueue({ try log.start(tail: request.tail) }) else { return notFound }
            cursor = start
        } else {
            guard let given = InstanceLog.Cursor(bytes: Array(request.cursor)) else {
                return (.invalidArgument, "the cursor is none that an agent gave")
            }
            cursor = given
        }
        var isFirst = true
        while true {
            try Task.checkCancellation()
            guard let step = try await onQueue({ [cursor] in try log.read(from: cursor) }) else {
                return isFirst ? notFound : (.ok, "")
            }
            isFirst = false
            cursor = step.cursor
            if !step.lines.isEmpty {
                var response = Megam_LogsResponse()
                response.lines = step.lines
                response.cursor = Data(cursor.bytes)
                guard try await send(try response.serializedBytes(), on: call) else { return (.cancelled, "") }
            }
            guard step.isAtEnd else { continue }
            guard request.follow else { return (.ok, "") }
            try await Task.sleep(for: Self.lookInterval)
        }
    }

    /// Returns when the client has taken most of what was sent; false if it is gone.
    private func send(_ message: [UInt8], on call: RPCCall) async throws -> Bool {
        var (isOpen, waiting) = try await call.eventLoop.submit {
            call.send { $0.writeBytes(message) }
            return (call.isOpen, call.bufferedBytes)
        }.get()
        while isOpen, waiting > Self.mostBufferedBytes {
            try await Task.sleep(for: .milliseconds(20))
            (isOpen, waiting) = try await call.eventLoop.submit { (call.isOpen, call.bufferedBytes) }.get()
        }
        return isOpen
    }

    /// Answers `/logs/INSTANCE?tail=N`.
    func serve(_ exchange: HTTPExchange, _ instance: InstanceID, tail: Int64) async {
        var body = ByteBuffer()
        var status = 200
        let log = InstanceLog(data: data, instance: instance)
        do {
            if var cursor = try await onQueue({ try log.start(tail: tail) }) {
                while body.readableBytes < Self.mostHTTPBytes,
                    let step = try await onQueue({ [cursor] in try log.read(from: cursor) })
                {
                    for line in step.lines {
                        body.writeBytes((line.stream == .agent ? "# " : "").utf8 + line.text + [10])
                    }
                    cursor = step.cursor
                    if step.isAtEnd { break }
                }
            } else {
                status = 404
                body.writeString("no run of \(instance) is on this node\n")
            }
        } catch {
            status = 500
            body = ByteBuffer(string: "\(error)\n")
        }
        exchange.eventLoop.execute { [body, status] in
            exchange.respond(
                status: status, headers: [("content-type", "text/plain; charset=utf-8")], body: body)
        }
    }
}

/// One loop's calls.
final class LogService: RPCLoopService {
    private let calls: LogCalls
    private var tasks: [RPCCall: Task<Void, Never>] = [:]

    init(_ calls: LogCalls) { self.calls = calls }

    func handle(_ batch: [RPCEvent]) {
        for event in batch {
            switch event {
            case .message(let call, let bytes): begin(call, bytes)
            case .requestEnd: break
            case .cancelled(let call): tasks.removeValue(forKey: call)?.cancel()
            }
        }
        tasks = tasks.filter { $0.key.isOpen }
    }

    private func begin(_ call: RPCCall, _ bytes: ByteBuffer) {
        guard let request = try? Megam_LogsRequest(serializedBytes: Array(bytes.readableBytesView)) else {
            return call.finish(code: .invalidArgument, message: "the request cannot be decoded")
        }
        guard let task = calls.begin({ [calls] in await calls.serve(call, request) }) else {
            return call.finish(code: .resourceExhausted, message: "too many calls for logs at a time; ask again later")
        }
        tasks[call] = task
    }

    func handleHTTP(_ request: HTTPExchange) {
        func answer(_ status: Int, _ text: String, _ type: String = "text/plain") {
            request.respond(status: status, headers: [("content-type", type)], body: ByteBuffer(string: text))
        }
        guard request.method == "GET" else { return answer(405, "only GET\n") }
        let parts = request.uri.split(separator: "?", maxSplits: 1)
        if parts.first == "/health" { return answer(200, #"{"health":"true"}"# + "\n", "application/json") }
        guard let path = parts.first, path.hasPrefix("/logs/"), let instance = InstanceID(path.dropFirst(6)) else {
            return answer(404, "there are /health and /logs/ASSEMBLY.COMPONENT.INDEX?tail=LINES\n")
        }
        let tail = parts.dropFirst().first?.split(separator: "&").first { $0.hasPrefix("tail=") }?.dropFirst(5)
        guard let count = tail.map({ Int64($0) }) ?? 1_000 else { return answer(400, "tail must be a number\n") }
        guard calls.begin({ [calls] in await calls.serve(request, instance, tail: count) }) != nil else {
            return answer(503, "too many calls for logs at a time\n")
        }
    }
}
