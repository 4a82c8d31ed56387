import NIOCore
import NIOHTTP1

/// The first handler of an accepted connection after the transport's: tells HTTP/2 (by its preface,
/// RFC 9113, 3.4) from HTTP/1.1, puts the protocol's handlers in its place and goes.
final class ProtocolDetector: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    enum Verdict: Equatable { case undecided, http2, http1 }

    /// What the first bytes of a connection say.
    static func judge(_ bytes: ByteBuffer) -> Verdict {
        guard bytes.readableBytesView.prefix(preface.count).elementsEqual(preface.prefix(bytes.readableBytes)) else {
            return .http1
        }
        return bytes.readableBytes >= preface.count ? .http2 : .undecided
    }

    private let loop: RPCLoop
    private var peer: Peer
    private var received = ByteBuffer()
    private var context: ChannelHandlerContext?
    private var timeout: Scheduled<Void>?
    private var isDecided = false

    init(loop: RPCLoop, remoteAddress: SocketAddress?) {
        self.loop = loop
        peer = Peer(address: remoteAddress, identity: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        loop.add(self)
        timeout = context.eventLoop.assumeIsolated().scheduleTask(in: loop.options.detectionTimeout) { self.abort() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timeout?.cancel()
        self.context = nil
        loop.remove(self)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let identified = event as? PeerIdentified { peer.identity = identified.identity }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        received.writeBuffer(&bytes)
        guard !isDecided else { return }
        let verdict = Self.judge(received)
        guard verdict != .undecided else { return }
        isDecided = true
        do {
            try install(verdict, in: context)
        } catch {
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func install(_ verdict: Verdict, in context: ChannelHandlerContext) throws {
        let pipeline = context.pipeline.syncOperations
        switch verdict {
        case .undecided: return
        case .http2:
            let connection = ServerConnection(loop: loop, peer: peer)
            loop.add(connection)
            try pipeline.addHandler(connection)
        case .http1:
            let handler = HTTP1Handler(loop: loop, peer: peer)
            loop.add(handler)
            try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: true, withErrorHandling: true)
            try pipeline.addHandlers([IdleStateHandler(allTimeout: loop.options.httpIdleTimeout), handler])
        }
        context.fireChannelRead(NIOAny(received))
        context.fireChannelReadComplete()
        received = ByteBuffer()
        pipeline.removeHandler(self, promise: nil)
    }
}

extension ProtocolDetector: ServedConnection {
    func beginShutdown() { abort() }
    func abort() { context?.close(promise: nil) }
}
