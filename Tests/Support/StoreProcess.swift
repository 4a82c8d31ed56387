import EtcdClient
import Foundation
import Glibc

/// One member of a store as a process, of gulpd or etcd, that can be killed and started again on what it left.
public actor StoreProcess {
    public nonisolated let name: String
    /// Where clients are served, on 127.0.0.1.
    public nonisolated let port: Int
    public nonisolated var endpoint: EtcdEndpoint { EtcdEndpoint(host: "127.0.0.1", port: port) }
    private let executable: String
    private let arguments: [String]
    private let logPath: String
    private var process: Process?

    /// - Parameters:
    ///   - directory: takes the member's data and its log.
    ///   - initialCluster: as the flag; nil for a member by itself.
    ///   - options: more flags.
    public init(
        name: String, executable: String, directory: String, clientPort: Int, peerPort: Int,
        initialCluster: String? = nil, options: [String] = []
    ) {
        self.name = name
        self.executable = executable
        port = clientPort
        logPath = "\(directory)/\(name).log"
        let (client, peer) = ("http://127.0.0.1:\(clientPort)", "http://127.0.0.1:\(peerPort)")
        arguments =
            [
                "--name", name, "--data-dir", "\(directory)/\(name)", "--listen-client-urls", client,
                "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", initialCluster ?? "\(name)=\(peer)", "--heartbeat-interval", "50",
                "--election-timeout", "500", "--log-level", "warn",
            ] + options
    }

    /// A gulpd by itself on free ports.
    public init(in directory: String, options: [String] = []) throws {
        let ports = try TestSupport.freePorts(2)
        self.init(
            name: "m1", executable: try TestSupport.gulpd(), directory: directory, clientPort: ports[0],
            peerPort: ports[1], options: options)
    }

    public func start() throws {
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
    public func kill() async throws {
        guard let process else { return }
        self.process = nil
        Glibc.kill(process.processIdentifier, SIGKILL)
        try await eventually("\(name) is gone after kill -9") { !process.isRunning }
    }

    public func signal(_ signal: Int32) {
        if let process { Glibc.kill(process.processIdentifier, signal) }
    }

    /// The end of what it has printed.
    public nonisolated var lastWords: String {
        String(((try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "").suffix(1_500))
    }
}
