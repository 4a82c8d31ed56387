import Foundation
import Testing

@testable import Configuration

/// Holds the refusals to those of a real etcd, whose program `REFERENCE_ETCD` names. Without it nothing is compared.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["REFERENCE_ETCD"] != nil)) struct ReferenceTests {
    /// Arguments that etcd refuses, too, before it opens anything.
    static let refused: [[String]] = [
        ["--bogus"], ["--name"], ["--=x"], ["---name=x"], ["--snapshot-count=abc"], ["--snapshot-count=-1"],
        ["--snapshot-count="], ["--snapshot-count=0x"], ["--snapshot-count=1__0"],
        ["--snapshot-count=18446744073709551616"], ["--pre-vote=bogus"], ["--initial-cluster-state=bogus"],
        ["--grpc-keepalive-interval=5"], ["--quota-backend-bytes=x"], ["--proxy=bogus"],
        ["--listen-client-urls=foo"], ["--listen-client-urls=http://127.0.0.1"],
        ["--listen-client-urls=http://127.0.0.1:1/a"], ["--listen-client-urls=http://127.0.0.1:1/"],
        ["--listen-client-urls=http://127.0.0.1:x"], ["--listen-peer-urls=ftp://127.0.0.1:1"], ["extra"],
        ["--", "extra"], ["--listen-client-urls=http://127.0.0.1:1"],
        ["--listen-client-urls=http://example.com:1", "--advertise-client-urls=http://h:1"],
        ["--listen-peer-urls=http://example.com:1"], ["--advertise-client-urls=http://:1"],
        ["--heartbeat-interval=0"], ["--election-timeout=0"], ["--election-timeout=499"],
        ["--election-timeout=50001"], ["--initial-cluster=foo=http://h:1"], ["--initial-cluster=foo"],
        ["--initial-cluster=default=http://localhost:2380,b=http://localhost:2380"], ["--config-file=none.yml"],
    ]

    @Test(arguments: refused) func etcdRefusesTheSameWithTheSameExitCode(arguments: [String]) throws {
        let error = #expect(throws: ConfigurationError.self) {
            try MemberConfiguration.resolve(arguments: arguments, environment: [:])
        }
        let directory = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let etcd = Process()
        etcd.executableURL = URL(filePath: ProcessInfo.processInfo.environment["REFERENCE_ETCD"] ?? "")
        etcd.arguments = arguments
        etcd.currentDirectoryURL = directory
        etcd.standardOutput = FileHandle.nullDevice
        etcd.standardError = FileHandle.nullDevice
        try etcd.run()
        etcd.waitUntilExit()
        #expect(etcd.terminationStatus == error?.exitCode)
    }
}
