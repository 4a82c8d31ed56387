import EtcdClient
import Foundation
import Glibc

struct Complaint: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A member of gulpd on free loopback ports, in a directory of its own, for one test.
final class StoreServer {
    let endpoint: EtcdEndpoint
    private let process = Process()
    private let directory: String

    /// The program is that of the environment's GULPD, or where the release build puts it.
    ///
    /// - Parameter options: for gulpd, besides those that make it one member on its own.
    init(_ options: [String] = []) throws {
        let root = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        let given = ProcessInfo.processInfo.environment["GULPD"].flatMap { $0.isEmpty ? nil : $0 }
        let program = given ?? "\(root)/.build/release/gulpd"
        guard access(program, X_OK) == 0 else {
            throw Complaint("no gulpd to test with at \(program); run `make release`, or set GULPD")
        }
        let ports = try Self.freePorts()
        endpoint = EtcdEndpoint(host: "127.0.0.1", port: ports.0)
        directory = NSTemporaryDirectory() + "engine-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let (client, peer) = ("http://127.0.0.1:\(ports.0)", "http://127.0.0.1:\(ports.1)")
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments =
            [
                "--name", "m1", "--data-dir", "\(directory)/m1", "--listen-client-urls", client,
                "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", "m1=\(peer)", "--heartbeat-interval", "50", "--election-timeout", "500",
                "--log-level",
                "error",
            ] + options
        process.standardInput = FileHandle.nullDevice
        try process.run()
    }

    /// SIGSTOP and SIGCONT.
    func pause() { Glibc.kill(process.processIdentifier, SIGSTOP) }
    func resume() { Glibc.kill(process.processIdentifier, SIGCONT) }

    /// `kill -9`, and nothing is left.
    func end() {
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// Two ports that were free a moment ago; both are held until both are found.
    private static func freePorts() throws -> (Int, Int) {
        var sockets: [Int32] = []
        defer { for socket in sockets { close(socket) } }
        func port() throws -> Int {
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
        return (try port(), try port())
    }
}

/// Waits for a condition, and says what was awaited when it does not come.
func eventually(
    _ what: String, within limit: Duration = .seconds(30), _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw Complaint("not within \(limit): \(what)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}
