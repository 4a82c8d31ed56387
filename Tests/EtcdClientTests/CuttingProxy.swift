import NIOCore
import NIOPosix
import Synchronization
import TestSupport

/// A TCP proxy that can keep the server's answers back and cut its connections.
final class CuttingProxy: Sendable {
    private let gate: Gate
    private let listener: any Channel

    let port: Int

    /// What all its connections share.
    fileprivate final class Gate: Sendable {
        let dropsAnswers = Atomic(false)
        let connectionCount = Atomic(0)
        let channels = Mutex<[any Channel]>([])
    }

    init(to port: Int) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let gate = Gate()
        self.gate = gate
        listener = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { client in
                gate.connectionCount.add(1, ordering: .relaxed)
                return ClientBootstrap(group: client.eventLoop)
                    .channelInitializer { server in
                        server.pipeline.addHandler(Relay(to: client, drops: gate))
                    }
                    .connect(host: "127.0.0.1", port: port)
                    .flatMap { server in
                        gate.channels.withLock { $0 += [client, server] }
                        return client.pipeline.addHandler(Relay(to: server, drops: nil))
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        guard let bound = listener.localAddress?.port else { throw Complaint("the proxy has no port") }
        self.port = bound
    }

    var connectionCount: Int { gate.connectionCount.load(ordering: .relaxed) }

    /// From now on what the server says does not reach the client.
    func dropAnswers() { gate.dropsAnswers.store(true, ordering: .relaxed) }

    /// Ends all connections; those made afterwards carry answers again.
    func cut() async {
        let channels = gate.channels.withLock { channels in
            defer { channels.removeAll() }
            return channels
        }
        for channel in channels { try? await channel.close() }
        gate.dropsAnswers.store(false, ordering: .relaxed)
    }

    func close() async {
        try? await listener.close()
        await cut()
    }

    private final class Relay: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        private let other: any Channel
        private let gate: Gate?

        init(to other: any Channel, drops gate: Gate?) {
            self.other = other
            self.gate = gate
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if gate?.dropsAnswers.load(ordering: .relaxed) == true { return }
            other.writeAndFlush(unwrapInboundIn(data), promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
    }
}
