import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

@testable import Transport

/// A bare connection to a member, for what a real peer would not do.
final class RawPeer: Sendable {
    private let channel: any Channel
    private let bytes = NIOLockedValueBox(ByteBuffer())

    init(_ address: PeerAddress) async throws {
        let bytes = bytes
        // On the loop, before the other side can have closed the connection again.
        channel = try await PeerSocket.connect(address, on: TestMember.group.next(), options: .init())
            .flatMapThrowing { channel in
                try channel.pipeline.syncOperations.addHandler(Collector(bytes))
                return channel
            }.get()
    }

    var received: Int { bytes.withLockedValue { $0.readableBytes } }
    var isOpen: Bool { channel.isActive }
    var welcome: Welcome? {
        bytes.withLockedValue { bytes in
            var copy = bytes
            return try? Welcome.decode(&copy)
        }
    }

    func send(_ write: (inout ByteBuffer) -> Void) async throws {
        var buffer = ByteBuffer()
        write(&buffer)
        try await channel.writeAndFlush(buffer).get()
    }

    func close() async throws { try await channel.close() }

    private final class Collector: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        let bytes: NIOLockedValueBox<ByteBuffer>
        init(_ bytes: NIOLockedValueBox<ByteBuffer>) { self.bytes = bytes }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let read = unwrapInboundIn(data)
            _ = bytes.withLockedValue { $0.writeImmutableBuffer(read) }
        }
    }
}

/// A listener whose connections do what a test says.
final class RawListener: Sendable {
    let address: PeerAddress
    private let channel: any Channel

    init(_ accepted: @escaping @Sendable (any Channel) -> Void) async throws {
        channel = try await ServerBootstrap(group: TestMember.group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Active(accepted))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        address = .network(host: "127.0.0.1", port: channel.localAddress?.port ?? 0)
    }

    func close() async throws { try await channel.close() }

    private final class Active: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        let accepted: @Sendable (any Channel) -> Void
        init(_ accepted: @escaping @Sendable (any Channel) -> Void) { self.accepted = accepted }
        func channelActive(context: ChannelHandlerContext) { accepted(context.channel) }
    }
}
