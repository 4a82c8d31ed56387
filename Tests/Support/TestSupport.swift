import Foundation
import Glibc
import Synchronization

/// What the tests with real processes share: finding the programs, free ports, members of a store, waiting.
public enum TestSupport {
    /// The folder of the package.
    public static var root: String {
        URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    }

    /// The program under test: what the environment's GULPD names, or where the release build puts it.
    public static func gulpd() throws -> String {
        try program("gulpd", variable: "GULPD", places: ["\(root)/.build/release/gulpd"])
    }

    /// What a variable of the environment names, or the first of some places where there is a program.
    public static func program(_ name: String, variable: String, places: [String]) throws -> String {
        let given = ProcessInfo.processInfo.environment[variable].flatMap { $0.isEmpty ? nil : [$0] }
        let places = given ?? places
        for place in places where access(place, X_OK) == 0 { return place }
        throw Complaint(
            "no \(name) to test with: no program at \(places.joined(separator: " or ")); "
                + "run `make release deps-test`, or set \(variable)")
    }

    /// Ports that were free a moment ago; all are held until all are found, so that they differ.
    public static func freePorts(_ count: Int) throws -> [Int] {
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
}

/// What kept a test from going on.
public struct Complaint: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Waits for a condition, and says what was awaited when it does not come. The bound is on what hangs: a machine that
/// is merely slow must not reach it.
public func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(120)
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw Complaint("waited two minutes in vain: \(what)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}

/// A value that tasks share.
public final class Shared<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>

    public init(_ value: Value) { mutex = Mutex(value) }

    public var value: Value { mutex.withLock { $0 } }

    @discardableResult
    public func change<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result {
        mutex.withLock { body(&$0) }
    }
}
