import Discovery
import EtcdAPI
import Foundation
import GRPC
import Logging
import NIOCore
import NIOPosix
import SwiftProtobuf
import Testing

@testable import Server

/// Members in this process, on loopback ports of their own, with their data in a directory that goes with them.
final class TestCluster {
    static let silence = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let directory: String
    private(set) var configurations: [MemberConfiguration] = []
    private var running: [Int: Member] = [:]

    init(_ count: Int, _ adjust: (inout MemberConfiguration) -> Void = { _ in }) throws {
        directory = FileManager.default.temporaryDirectory.path + "/gulp-member-\(UUID().uuidString)"
        let ports = try FreePorts.take(count)
        let text = ports.enumerated().map { "m\($0.offset)=http://127.0.0.1:\($0.element)" }.joined(separator: ",")
        for (index, port) in ports.enumerated() {
            let peer = try MemberURL("http://127.0.0.1:\(port)")
            let client = try MemberURL("http://127.0.0.1:0")
            var configuration = MemberConfiguration(
                name: "m\(index)", dataDirectory: "\(directory)/m\(index)", listenClientURLs: [client],
                advertiseClientURLs: [try MemberURL("http://127.0.0.1:\(10_000 + index)")], listenPeerURLs: [peer],
                initialAdvertisePeerURLs: [peer], initialCluster: try InitialCluster.parse(text),
                heartbeatIntervalMilliseconds: 20, electionTimeoutMilliseconds: 300)
            adjust(&configuration)
            configurations.append(configuration)
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func reconfigure(_ index: Int, _ change: (inout MemberConfiguration) -> Void) { change(&configurations[index]) }

    /// Starts members side by side, and waits until each is ready.
    func start(_ indices: [Int]) async throws {
        for index in indices {
            running[index] = try await Deadline.retry {
                // A member that was stopped a moment ago may not have let go of its directory.
                try await Member.start(self.configurations[index], logger: TestCluster.silence)
            }
        }
        for index in indices {
            let member = try #require(running[index])
            #expect(try await Deadline.within(seconds: 120) { await member.whenReady() })
        }
    }

    func stop(_ index: Int) async {
        await running.removeValue(forKey: index)?.stop()
    }

    func stopAll() async {
        for index in running.keys.sorted() { await stop(index) }
    }

    func client(_ index: Int, receiveWindow: Int32 = 1 << 20) async throws -> TestClient {
        let port = try #require(running[index]?.clientAddresses.first?.port)
        var options = RPCClientOptions()
        options.streamWindowBytes = receiveWindow
        return TestClient(
            rpc: try await RPCClient.connect(
                group: MultiThreadedEventLoopGroup.singleton, host: "127.0.0.1", port: port, options: options),
            port: port)
    }

    /// The running member that leads.
    func leader() async throws -> Int {
        try await Deadline.retry {
            for (index, member) in self.running {
                let client = try await self.client(index)
                let status: Etcdserverpb_StatusResponse = try await client.call(
                    "Maintenance/Status", Etcdserverpb_StatusRequest())
                await client.close()
                if status.leader == member.id.rawValue { return index }
            }
            throw DeadlineError()
        }
    }
}

struct TestClient {
    let rpc: RPCClient
    let port: Int

    func close() async { await rpc.close() }

    func call<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message>(
        _ method: String, _ request: Request, metadata: RPCClient.Metadata = []
    ) async throws -> Response {
        let bytes: [UInt8] = try request.serializedBytes()
        let answer = try await rpc.unary(
            path: "/etcdserverpb.\(method)", message: ByteBuffer(bytes: bytes), metadata: metadata,
            timeout: .seconds(120))
        return try Response(serializedBytes: Array(answer.readableBytesView))
    }

    @discardableResult
    func put(_ key: String, _ value: some DataProtocol) async throws -> Int64 {
        var request = Etcdserverpb_PutRequest()
        request.key = Data(key.utf8)
        request.value = Data(value)
        let response: Etcdserverpb_PutResponse = try await call("KV/Put", request)
        return response.header.revision
    }

    func get(_ key: String, serializable: Bool = false) async throws -> String? {
        var request = Etcdserverpb_RangeRequest()
        request.key = Data(key.utf8)
        request.serializable = serializable
        let response: Etcdserverpb_RangeResponse = try await call("KV/Range", request)
        return response.kvs.first.map { String(decoding: $0.value, as: UTF8.self) }
    }

    func hash(at revision: Int64) async throws -> UInt32 {
        var request = Etcdserverpb_HashKVRequest()
        request.revision = revision
        let response: Etcdserverpb_HashKVResponse = try await call("Maintenance/HashKV", request)
        return response.hash
    }

    func stream(_ method: String) -> RPCClientStream {
        rpc.stream(path: "/etcdserverpb.\(method)", metadata: [], timeout: .seconds(120))
    }
}

extension RPCClientStream {
    func send(_ request: some SwiftProtobuf.Message) throws { send(try request.serializedBytes() as [UInt8]) }

    /// The next messages of the stream.
    func next<Response: SwiftProtobuf.Message>(_ count: Int, _ type: Response.Type) async throws -> [Response] {
        var responses: [Response] = []
        var iterator = messages.makeAsyncIterator()
        while responses.count < count, let message = try await iterator.next() {
            responses.append(try Response(serializedBytes: Array(message.readableBytesView)))
        }
        return responses
    }
}

struct DeadlineError: Error {}

/// Bounds on what a test waits for: on what hangs, which a machine that is merely slow must not reach.
enum Deadline {
    static func within<Value: Sendable>(
        seconds: Int, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value.self) { group in
            group.addTask(operation: body)
            group.addTask {
                try await Task.sleep(for: .seconds(seconds))
                throw DeadlineError()
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw DeadlineError() }
            return first
        }
    }

    /// Tries again, shortly after each error, for so long.
    static func retry<Value>(
        seconds: Int = 120, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
    ) async throws -> Value {
        let end = ContinuousClock.now + .seconds(seconds)
        while true {
            do {
                return try await body()
            } catch {
                guard ContinuousClock.now < end else { throw error }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }
}

/// Ports that were free a moment ago.
enum FreePorts {
    static func take(_ count: Int) throws -> [Int] {
        let sockets = (0..<count).map { _ in socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
        defer { for socket in sockets { close(socket) } }
        return try sockets.map { socket in
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let bound = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(socket, $0, length) == 0 && getsockname(socket, $0, &length) == 0
                }
            }
            try #require(bound, "no free port")
            return Int(UInt16(bigEndian: address.sin_port))
        }
    }
}
