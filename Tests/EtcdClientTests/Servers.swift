import EtcdClient
import Foundation
import Glibc
import Synchronization
import Testing

/// All tests with real processes, one after the other: they share few cores.
@Suite(.serialized) enum WithServers {}

enum ServerKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case gulpd, etcd

    var testDescription: String { rawValue }

    /// The program, from the environment or where the build and the test dependencies put it.
    func executable() throws -> String {
        let variable = self == .gulpd ? "GULPD" : "ETCD"
        let root = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        let given = ProcessInfo.processInfo.environment[variable].flatMap { $0.isEmpty ? nil : [$0] }
        let places =
            switch self {
            case .gulpd: given ?? ["\(root)/.build/release/gulpd"]
            case .etcd: given ?? ["\(root)/.venv/bin/etcd", "/tmp/venv-probe/bin/etcd"]
            }
        for place in places where access(place, X_OK) == 0 { return place }
        throw Complaint(
            "no \(rawValue) to test with: no program at \(places.joined(separator: " or ")); "
                + "run `make release deps-test`, or set \(variable)")
    }
}

struct Complaint: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// One member as a process that can be killed and started again on what it left.
actor Server {
    nonisolated let name: String
    nonisolated let port: Int
    private let executable: String
    private let arguments: [String]
    private let logPath: String
    private var process: Process?

    init(name: String, port: Int, executable: String, arguments: [String], logPath: String) {
        self.name = name
        self.port = port
        self.executable = executable
        self.arguments = arguments
        self.logPath = logPath
    }

    nonisolated var endpoint: EtcdEndpoint { EtcdEndpoint(host: "127.0.0.1", port: port) }

    func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        if !FileManager.default.fileExists(atPath: logPath) {
            _ = FileManager.default.createFile(atPath: logPath, contents: nil)
        }
        let log = try FileHandle(forWritingTo: URL(fileURLWithPath: logPath))
        try log.seekToEnd()
        process.standardOutput = log
        process.standardError = log
        process.standardInput = FileHandle.nullDevice
        try process.run()
        self.process = process
    }

    /// `kill -9`, and waits until it is gone.
    func kill() async throws {
        guard let process else { return }
        self.process = nil
        Glibc.kill(process.processIdentifier, SIGKILL)
        try await eventually("\(name) is gone after kill -9") { !process.isRunning }
    }

    func signal(_ signal: Int32) {
        if let process { Glibc.kill(process.processIdentifier, signal) }
    }
}

/// A cluster on free loopback ports, in a directory of its own.
struct Cluster: Sendable {
    let servers: [Server]
    let directory: String

    var endpoints: [EtcdEndpoint] { servers.map(\.endpoint) }

    init(_ kind: ServerKind, members: Int) throws {
        let executable = try kind.executable()
        directory = NSTemporaryDirectory() + "etcdclient-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let ports = try freePorts(2 * members)
        let names = (1...members).map { "m\($0)" }
        let initial = names.indices.map { "\(names[$0])=http://127.0.0.1:\(ports[members + $0])" }.joined(
            separator: ",")
        var servers: [Server] = []
        for (index, name) in names.enumerated() {
            let (client, peer) = ("http://127.0.0.1:\(ports[index])", "http://127.0.0.1:\(ports[members + index])")
            servers.append(
                Server(
                    name: name, port: ports[index], executable: executable,
                    arguments: [
                        "--name", name, "--data-dir", "\(directory)/\(name)", "--listen-client-urls", client,
                        "--advertise-client-urls", client, "--listen-peer-urls", peer,
                        "--initial-advertise-peer-urls", peer, "--initial-cluster", initial, "--heartbeat-interval",
                        "50",
                        "--election-timeout", "500", "--log-level", "warn",
                    ], logPath: "\(directory)/\(name).log"))
        }
        self.servers = servers
    }

    /// The server that leads.
    func leader(_ client: EtcdClient) async throws -> Server {
        for server in servers {
            guard let status = try? await client.status(of: server.endpoint, timeout: .seconds(1)) else { continue }
            if status.leader != 0, status.leader == status.header.memberID { return server }
        }
        throw Complaint("no member leads")
    }
}

/// Runs `body` with a cluster that serves, and a client of it; ends everything after.
func withCluster(
    _ kind: ServerKind = .gulpd, members: Int = 1, options: EtcdClientOptions = EtcdClientOptions(),
    _ body: (Cluster, EtcdClient) async throws -> Void
) async throws {
    let cluster = try Cluster(kind, members: members)
    for server in cluster.servers { try await server.start() }
    let client = try EtcdClient(endpoints: cluster.endpoints, options: options)
    var failure: (any Error)?
    do {
        _ = try await client.get("ready", timeout: .seconds(30))
        try await body(cluster, client)
    } catch { failure = error }
    await client.close()
    for server in cluster.servers { try await server.kill() }
    if let failure {
        for server in cluster.servers {
            let log = (try? String(contentsOfFile: "\(cluster.directory)/\(server.name).log", encoding: .utf8)) ?? ""
            print("last words of \(server.name):\n\(log.suffix(1500))")
        }
        throw failure
    }
    try? FileManager.default.removeItem(atPath: cluster.directory)
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

/// A value that tasks share.
final class Shared<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>

    init(_ value: Value) { mutex = Mutex(value) }

    var value: Value { mutex.withLock { $0 } }

    @discardableResult
    func change<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result { mutex.withLock { body(&$0) } }
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
