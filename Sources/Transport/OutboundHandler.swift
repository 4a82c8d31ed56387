import NIOCore

/// The dialler's end of a stream: the handshake, then the peer's queue, as fast as the socket takes it.
final class OutboundHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase { case handshake, established, ended }

    private let peer: OutboundPeer
    private let hello: Hello
    private let address: PeerAddress
    private let options: PeerTransport.Options
    private var phase = Phase.handshake
    private var received = ByteBuffer()
    private var context: ChannelHandlerContext?
    private var timeout: Scheduled<Void>?

    init(_ peer: OutboundPeer, hello: Hello, address: PeerAddress, options: PeerTransport.Options) {
        self.peer = peer
        self.hello = hello
        self.address = address
        self.options = options
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        guard context.channel.isActive else { return end("\(address): the connection was closed at once") }
        timeout = context.eventLoop.assumeIsolated().scheduleTask(in: options.connectTimeout) {
            self.end("\(self.address): no answer to the handshake")
        }
        var buffer = context.channel.allocator.buffer(capacity: 64)
        hello.encode(into: &buffer)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timeout?.cancel()
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received.writeImmutableBuffer(unwrapInboundIn(data))
        do throws(WireError) {
            if phase == .handshake, let welcome = try Welcome.decode(&received) {
                if let refusal = welcome.objection(to: hello) {
                    return end("\(address): \(refusal)", refusal: true)
                }
                phase = .established
                timeout?.cancel()
                peer.established()
                pump()
            }
            if phase == .established && received.readableBytes > 0 {
                throw WireError("the listener sent something on a stream that is not its own")
            }
        } catch {
            end("\(address): \(error)")
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        pump()
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end("\(address): the connection was closed")
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end("\(address): \(describeNetworkError(error))")
    }

    func close() { context?.close(promise: nil) }

    /// Writes what waits, in slices, until the socket's buffer is full; then waits for it to have room. What is not
    /// written yet stays in the queue, where something urgent may still overtake it.
    func pump() {
        guard phase == .established, let context else { return }
        var wrote = false
        while context.channel.isWritable {
            let messages = peer.take(upTo: options.writeSliceBytes)
            if messages.isEmpty { break }
            let capacity = messages.reduce(0) { $0 + $1.estimatedBytes + 32 }
            var buffer = context.channel.allocator.buffer(capacity: capacity)
            var dropped = 0
            for message in messages {
                let start = buffer.writerIndex
                message.encode(into: &buffer)
                if buffer.writerIndex - start > options.maxFrameBytes + Frame.headerBytes {
                    // The peer would close the connection for it.
                    buffer.moveWriterIndex(to: start)
                    dropped += 1
                }
            }
            peer.countSent(messages: messages.count - dropped, bytes: buffer.readableBytes, dropped: dropped)
            context.write(wrapOutboundOut(buffer), promise: nil)
            wrote = true
        }
        if wrote { context.flush() }
    }

    private func end(_ reason: String, refusal: Bool = false) {
        guard phase != .ended else { return }
        phase = .ended
        timeout?.cancel()
        peer.ended(reason, refusal: refusal)
        context?.close(promise: nil)
    }
}
