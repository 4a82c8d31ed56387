import EtcdClient
import Foundation
import TestSupport
import Testing

/// All tests with real processes, one after the other: they share few cores.
@Suite(.serialized) enum WithServers {}

enum ServerKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case gulpd, etcd

    var testDescription: String { rawValue }

    func executable() throws -> String {
        switch self {
        case .gulpd: try TestSupport.gulpd()
        case .etcd:
            try TestSupport.program(
                "etcd", variable: "ETCD", places: ["\(TestSupport.root)/.venv/bin/etcd", "/tmp/venv-probe/bin/etcd"])
        }
    }
}

typealias Server = StoreProcess

/// A cluster on free loopback ports, in a directory of its own.
struct Cluster: Sendable {
    let servers: [Server]
    let directory: String

    var endpoints: [EtcdEndpoint] { servers.map(\.endpoint) }

    init(_ kind: ServerKind, members: Int) throws {
        let executable = try kind.executable()
        directory = NSTemporaryDirectory() + "etcdclient-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let ports = try TestSupport.freePorts(2 * members)
        let names = (1...members).map { "m\($0)" }
        let initial = names.indices.map { "\(names[$0])=http://127.0.0.1:\(ports[members + $0])" }
        let directory = directory
        servers = names.indices.map { index in
            Server(
                name: names[index], executable: executable, directory: directory, clientPort: ports[index],
                peerPort: ports[members + index], initialCluster: initial.joined(separator: ","))
        }
    }

    /// The server that leads, once one does.
    func leader(_ client: EtcdClient) async throws -> Server {
        var leader: Server?
        try await eventually("a member leads") {
            for server in servers where leader == nil {
                guard let status = try? await client.status(of: server.endpoint, timeout: .seconds(1)) else { continue }
                if status.leader != 0, status.leader == status.header.memberID { leader = server }
            }
            return leader != nil
        }
        return try #require(leader)
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
        for server in cluster.servers { print("last words of \(server.name):\n\(server.lastWords)") }
        throw failure
    }
    try? FileManager.default.removeItem(atPath: cluster.directory)
}
