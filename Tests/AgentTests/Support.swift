import Agent
import EtcdClient
import Foundation
import Glibc
import LaunchModel
import Logging
import Synchronization
import Testing

struct Complaint: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Waits for a condition, and says what was awaited when it does not come.
func eventually(
    _ what: String, within limit: Duration = .seconds(20), _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw Complaint("not within \(limit): \(what)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}

/// Programs that the tests run.
enum Programs {
    /// The store: GULPD, or where the build puts it.
    static func store() throws -> String {
        let root = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        let given = ProcessInfo.processInfo.environment["GULPD"].flatMap { $0.isEmpty ? nil : $0 }
        let place = given ?? "\(root)/.build/release/gulpd"
        guard access(place, X_OK) == 0 else {
            throw Complaint("no store to test with: no program at \(place); run `make release`, or set GULPD")
        }
        return place
    }

    /// Built beside this test bundle.
    static func gulpGuard() throws -> String {
        let argument = CommandLine.arguments.first { $0.hasSuffix(".xctest") }
        let bundle = argument ?? CommandLine.arguments[0]
        let place = URL(fileURLWithPath: bundle).deletingLastPathComponent().appending(path: "gulp-guard").path
        guard access(place, X_OK) == 0 else {
            throw Complaint("\(place) is missing: swift build --product gulp-guard")
        }
        return place
    }
}

/// One member of a store, on a free port, that can be killed and started again.
actor Store {
    nonisolated let endpoint: EtcdEndpoint
    nonisolated let client: EtcdClient
    private let directory: String
    private let arguments: [String]
    private var process: Process?

    init(in directory: String) async throws {
        self.directory = directory
        let ports = try freePorts(2)
        let (own, peer) = ("http://127.0.0.1:\(ports[0])", "http://127.0.0.1:\(ports[1])")
        endpoint = EtcdEndpoint(host: "127.0.0.1", port: ports[0])
        client = try EtcdClient(endpoints: [endpoint])
        arguments = [
            "--name", "m1", "--data-dir", "\(directory)/m1", "--listen-client-urls", own, "--advertise-client-urls",
            own, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster",
            "m1=\(peer)", "--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "warn",
        ]
        try start()
        _ = try await client.get("ready", timeout: .seconds(30))
    }

    func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try Programs.store())
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        let path = "\(directory)/m1.log"
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        let log = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try log.seekToEnd()
        process.standardOutput = log
        process.standardError = log
        try process.run()
        self.process = process
    }

    /// `kill -9`, and waits until it is gone.
    func kill() async throws {
        guard let process else { return }
        self.process = nil
        Glibc.kill(process.processIdentifier, SIGKILL)
        try await eventually("the store is gone after kill -9") { !process.isRunning }
    }
}

/// A value that tasks share.
final class Shared<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>
    init(_ value: Value) { mutex = Mutex(value) }
    var value: Value { mutex.withLock { $0 } }
    @discardableResult
    func change<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result { mutex.withLock { body(&$0) } }
}

/// An agent that works until it is stopped.
final class WorkingAgent: Sendable {
    private let task: Task<Void, any Error>
    let lines: Shared<[String]>

    init(_ configuration: AgentConfiguration) throws {
        let lines = Shared<[String]>([])
        self.lines = lines
        let logger = Logger(label: "agent") { _ in LineLog(lines: lines) }
        let agent = try Agent(configuration, logger: logger)
        task = Task { try await agent.run() }
    }

    /// As gulpd ends: components run on.
    func stop() async {
        task.cancel()
        _ = await task.result
    }
}

/// Keeps what is logged.
struct LineLog: LogHandler {
    let lines: Shared<[String]>
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.debug

    init(lines: Shared<[String]>) { self.lines = lines }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let details = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        let line = "\(event.level) \(event.message) \(details.map { "\($0.key)=\($0.value)" }.joined(separator: " "))"
        lines.change { $0.append(line) }
        if ProcessInfo.processInfo.environment["AGENT_TEST_LOG"] != nil { print(Date(), line) }
    }
}

/// Ports that were free a moment ago; all are held until all are found, so that they differ.
func freePorts(_ count: Int) throws -> [Int] {
    var sockets: [Int32] = []
    defer { for socket in sockets { close(socket) } }
    return try (0..<count).map { _ in
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard socket >= 0 else { throw Complaint("socket: \(errno)") }
        sockets.append(socket)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        guard isBound else { throw Complaint("bind: \(errno)") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
