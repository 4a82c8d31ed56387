import EtcdClient
import NIOCore
import NIOPosix
import Synchronization
import TestSupport

/// The way from an agent to its store, which can be cut and mended.
final class Link: Sendable {
    private let listener: any Channel
    private let state: Shared<Wire>
    let endpoint: EtcdEndpoint

    struct Wire: Sendable {
        var isCut = false
        var channels: [any Channel] = []
    }

    init(to store: EtcdEndpoint) async throws {
        let state = Shared(Wire())
        self.state = state
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { client in
                guard !state.value.isCut else { return client.close() }
                return ClientBootstrap(group: client.eventLoop)
                    .channelInitializer { $0.pipeline.addHandler(Relay(to: client)) }
                    .connect(host: store.host, port: store.port)
                    .flatMap { server in
                        state.change { $0.channels += [client, server] }
                        return client.pipeline.addHandler(Relay(to: server))
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        endpoint = EtcdEndpoint(host: "127.0.0.1", port: listener.localAddress?.port ?? 0)
    }

    func cut() async {
        let channels = state.change { wire in
            wire.isCut = true
            defer { wire.channels = [] }
            return wire.channels
        }
        for channel in channels { try? await channel.close() }
    }

    func mend() { state.change { $0.isCut = false } }

    func close() async {
        try? await listener.close()
        await cut()
    }

    private final class Relay: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        private let other: any Channel

        init(to other: any Channel) { self.other = other }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            other.writeAndFlush(unwrapInboundIn(data), promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
    }
}
