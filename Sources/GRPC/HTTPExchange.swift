import NIOCore
import NIOHTTP1

/// One HTTP/1.1 request and the way to answer it, on the loop that delivered it.
///
/// It is answered once: by `respond`, or by `startStreaming`, any number of `write`, and `finish`. What
/// comes after that, or after the client has gone, does nothing.
///
/// `@unchecked Sendable`, so that it can be carried to where the answer is found and back: what is public
/// and readable anywhere never changes, and every member that touches the rest first checks to be on
/// `eventLoop`.
public final class HTTPExchange: @unchecked Sendable {
    public let method: String
    /// The request's target as sent: path and query, not decoded.
    public let uri: String
    /// Names as sent, in order.
    public let headers: [(name: String, value: String)]
    public let body: ByteBuffer
    public let peerIdentity: PeerIdentity?
    public let remoteAddress: SocketAddress?
    public let eventLoop: any EventLoop

    private var closeAction: (() -> Void)?
    private enum Phase { case waiting, streaming, done }
    private var phase = Phase.waiting
    private weak var handler: HTTP1Handler?

    init(head: HTTPRequestHead, body: ByteBuffer, peer: Peer, eventLoop: any EventLoop, handler: HTTP1Handler) {
        method = head.method.rawValue
        uri = head.uri
        headers = head.headers.map { ($0.name, $0.value) }
        self.body = body
        peerIdentity = peer.identity
        remoteAddress = peer.address
        self.eventLoop = eventLoop
        self.handler = handler
    }

    /// The first header of this name, in any case.
    public func header(_ name: String) -> String? {
        headers.first { $0.name.utf8.count == name.utf8.count && $0.name.lowercased() == name.lowercased() }?.value
    }

    /// Whether the client is there and the answer not complete.
    public var isOpen: Bool {
        eventLoop.preconditionInEventLoop()
        return phase != .done
    }

    /// Whether the socket has taken enough of the answer to go on writing.
    public var isWritable: Bool {
        eventLoop.preconditionInEventLoop()
        return handler?.isWritable ?? false
    }

    /// Calls `action` once, on the loop, if the client goes before the answer is complete.
    public func whenClosed(_ action: @escaping () -> Void) {
        eventLoop.preconditionInEventLoop()
        guard phase != .done else { return }
        closeAction = action
    }

    /// Answers in one piece; `content-length` is added.
    public func respond(status: Int, headers: [(String, String)] = [], body: ByteBuffer = ByteBuffer()) {
        eventLoop.preconditionInEventLoop()
        guard phase == .waiting else { return }
        phase = .done
        closeAction = nil
        handler?.respond(status: status, headers: headers + [("content-length", "\(body.readableBytes)")], body: body)
    }

    /// Begins an answer of unknown length, sent in chunks.
    public func startStreaming(status: Int, headers: [(String, String)] = []) {
        eventLoop.preconditionInEventLoop()
        guard phase == .waiting else { return }
        phase = .streaming
        handler?.start(status: status, headers: headers)
    }

    /// Sends one chunk at once.
    public func write(_ bytes: ByteBuffer) {
        eventLoop.preconditionInEventLoop()
        guard phase == .streaming, bytes.readableBytes > 0 else { return }
        handler?.write(bytes)
    }

    /// Ends an answer begun by `startStreaming`.
    public func finish() {
        eventLoop.preconditionInEventLoop()
        guard phase == .streaming else { return }
        phase = .done
        closeAction = nil
        handler?.finish()
    }

    func clientIsGone() {
        guard phase != .done else { return }
        phase = .done
        closeAction.take()?()
    }
}

/// Collects whole requests of an HTTP/1.1 connection for the loop's service, one at a time (NIO's
/// pipeline handler holds back the next until the answer is complete).
final class HTTP1Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let loop: RPCLoop
    private let peer: Peer
    private var context: ChannelHandlerContext?
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()
    private var isTooLarge = false
    private var exchange: HTTPExchange?
    private var keepsAlive = true
    private var isHeadRequest = false
    private var isShuttingDown = false

    init(loop: RPCLoop, peer: Peer) {
        self.loop = loop
        self.peer = peer
    }

    var isWritable: Bool { context?.channel.isWritable ?? false }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body = ByteBuffer()
            isTooLarge = false
            keepsAlive = head.isKeepAlive
            isHeadRequest = head.method == .HEAD
        case .body(var part):
            guard !isTooLarge, body.readableBytes + part.readableBytes <= loop.options.maxHTTPBodyBytes else {
                refuseBody()
                return
            }
            body.writeBuffer(&part)
        case .end:
            guard let head = head.take(), !isTooLarge else { return }
            let exchange = HTTPExchange(
                head: head, body: body, peer: peer, eventLoop: context.eventLoop, handler: self)
            body = ByteBuffer()
            self.exchange = exchange
            loop.service.handleHTTP(exchange)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // A connection kept alive for nothing; an answer that is slow to come is not that.
        if event is IdleStateHandler.IdleStateEvent && exchange == nil { abort() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func refuseBody() {
        guard !isTooLarge else { return }
        isTooLarge = true
        body = ByteBuffer()
        // The rest of the body is not read: the connection ends with the answer.
        keepsAlive = false
        respond(status: 413, headers: [("content-length", "0")], body: ByteBuffer())
    }

    func respond(status: Int, headers: [(String, String)], body: ByteBuffer) {
        guard let context else { return }
        writeHead(status: status, headers: headers)
        if body.readableBytes > 0 && !isHeadRequest {
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        finish()
    }

    func start(status: Int, headers: [(String, String)]) {
        writeHead(status: status, headers: headers)
        context?.flush()
    }

    func write(_ bytes: ByteBuffer) {
        guard let context, !isHeadRequest else { return }
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil)
    }

    func finish() {
        guard let context else { return }
        exchange = nil
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        if !keepsAlive { context.close(promise: nil) }
    }

    private func writeHead(status: Int, headers: [(String, String)]) {
        guard let context else { return }
        if isShuttingDown { keepsAlive = false }
        var fields = HTTPHeaders(headers)
        if !keepsAlive { fields.replaceOrAdd(name: "connection", value: "close") }
        let head = HTTPResponseHead(
            version: .http1_1, status: HTTPResponseStatus(statusCode: status), headers: fields)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
    }

    private func end() {
        exchange.take()?.clientIsGone()
        loop.remove(self)
    }
}

extension HTTP1Handler: ServedConnection {
    func beginShutdown() {
        isShuttingDown = true
        if exchange == nil && head == nil { abort() }
    }

    func abort() { context?.close(promise: nil) }
}
