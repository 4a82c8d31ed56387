import AgentAPI
import EtcdClient
import Foundation
import GRPC
import LaunchModel
import NIOCore
import NIOPosix

/// Asks agents for logs, over one connection to each.
actor AgentLogs {
    private struct Connection {
        var id: Int
        var task: Task<RPCClient, any Error>
    }

    private let connectTimeout: Duration
    private var connections: [EtcdEndpoint: Connection] = [:]
    private var nextID = 0

    init(connectTimeout: Duration) { self.connectTimeout = connectTimeout }

    /// Asks one agent for an instance's lines.
    ///
    /// - Parameters:
    ///   - address: `HOST:PORT`.
    ///   - cursor: of an earlier response, to go on after it; empty: from the beginning, or the last `tail` lines.
    /// - Throws: `RPCError` if the agent cannot be reached.
    func ask(
        _ address: String, _ instance: InstanceID, tail: Int64 = 0, cursor: Data = Data(), follow: Bool
    ) async throws -> LogStream {
        let endpoint: EtcdEndpoint
        do { endpoint = try EtcdEndpoint(address) } catch {
            throw RPCError(.unavailable, "\"\(address)\" is no address: \(error.message)")
        }
        var request = Megam_LogsRequest()
        request.instance = instance.description
        request.tail = tail
        request.cursor = cursor
        request.follow = follow
        let stream = try await client(of: endpoint).stream(path: AgentMethod.logs)
        stream.send(try request.serializedBytes() as [UInt8])
        stream.finish()
        return LogStream(stream: stream)
    }

    /// Ends all connections.
    func close() async {
        for connection in connections.values {
            connection.task.cancel()
            if let client = try? await connection.task.value { await client.close() }
        }
        connections = [:]
    }

    private func client(of endpoint: EtcdEndpoint) async throws -> RPCClient {
        while let connection = connections[endpoint] {
            do {
                let client = try await connection.task.value
                if await client.isConnected { return client }
            } catch {
                forget(connection, endpoint)
                throw error
            }
            forget(connection, endpoint)
        }
        let timeout = TimeAmount.nanoseconds(Int64(connectTimeout / .nanoseconds(1)))
        var options = RPCClientOptions()
        // An agent that is silent for good must not look like a component with nothing to say.
        options.keepaliveInterval = .seconds(6)
        options.userAgent = "megam"
        let task = Task { [options] in
            try await RPCClient.connect(
                group: MultiThreadedEventLoopGroup.singleton, host: endpoint.host, port: endpoint.port,
                timeout: timeout, options: options)
        }
        let connection = Connection(id: nextID, task: task)
        nextID += 1
        connections[endpoint] = connection
        do { return try await task.value } catch {
            forget(connection, endpoint)
            throw error
        }
    }

    /// Others may have connected anew meanwhile.
    private func forget(_ connection: Connection, _ endpoint: EtcdEndpoint) {
        if connections[endpoint]?.id == connection.id { connections[endpoint] = nil }
    }
}

/// An agent's responses to one request.
struct LogStream: Sendable {
    fileprivate let stream: RPCClientStream

    /// The next lines; nil: the agent has told all.
    ///
    /// - Throws: `RPCError`.
    func next() async throws -> Megam_LogsResponse? {
        // Iterators of a call's messages share its one queue.
        var messages = stream.messages.makeAsyncIterator()
        guard let message = try await messages.next() else { return nil }
        do { return try Megam_LogsResponse(serializedBytes: Array(message.readableBytesView)) } catch {
            throw RPCError(.internal, "the agent sent something that cannot be read: \(error)")
        }
    }
}
