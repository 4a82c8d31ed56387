import NIOCore

/// One stream of a connection, as far as both roles share it. Lives on its connection's event loop.
///
/// Here and in the subclasses, `@exclusivity(unchecked)` marks state of the hottest path. Each access is
/// one call of a mutating member that runs no foreign code and reaches no other stream, so accesses cannot
/// overlap; checking that at run time was a twelfth of a call's cost.
class HTTP2Stream {
    final fileprivate(set) var id: Int32
    @exclusivity(unchecked) final var outgoing = OutgoingBody()
    /// nghttp2 asked for output, there was none, and it waits to be told of more.
    final var waitsForOutput = false
    /// Its place in the connection's list of streams.
    fileprivate final var index = -1

    init(id: Int32) { self.id = id }

    final func pullOutput(into room: UnsafeMutableRawBufferPointer) -> OutgoingBody.Pulled {
        let pulled = outgoing.pull(into: room)
        waitsForOutput = pulled == .nothing
        return pulled
    }

    /// Makes a used object that nobody else holds into one of a new stream.
    final func renew(id: Int32) {
        self.id = id
        outgoing.renew()
        waitsForOutput = false
    }
}

/// Where connections of one loop put what they write next; kept from one write to the next.
final class OutputBuffer {
    /// Room for any frame that nghttp2 makes, several times.
    fileprivate static let capacity = 64 << 10
    fileprivate static let largestFrameBytes = 9 + (16 << 10)
    fileprivate var bytes = ByteBuffer()
}

/// The handler of one HTTP/2 connection, as far as both roles share it: bytes in, bytes out, streams
/// kept, the end. What the frames mean is the subclasses' business (`ServerConnection`,
/// `ClientConnection`), which override the session's reports.
class HTTP2Connection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    final let eventLoop: EventLoop
    /// Nil before the channel is active and after the connection's end.
    final private(set) var session: HTTP2Session?
    /// Set between the handler's addition and its removal.
    final private(set) var context: ChannelHandlerContext?
    /// The streams that nghttp2 knows, in no order: what keeps them alive.
    @exclusivity(unchecked) final private(set) var streams: [HTTP2Stream] = []

    /// When bytes last came.
    final private(set) var lastReadAt = NIODeadline.now()
    /// Bytes in the streams' outgoing bodies.
    final var unsentBytes = 0

    private let role: HTTP2Session.Role
    private let limits: HTTP2Session.Limits
    /// What is being fed to the session, so that message bodies can be slices of it.
    private var input = ByteBuffer()
    private var inputBase: UnsafeRawPointer?
    private let output: OutputBuffer
    /// The session is in use further up the stack: it must not be freed now.
    private var sessionDepth = 0
    private var endsWhenLeft = false

    init(role: HTTP2Session.Role, limits: HTTP2Session.Limits, eventLoop: EventLoop, output: OutputBuffer) {
        self.role = role
        self.limits = limits
        self.eventLoop = eventLoop
        self.output = output
    }

    deinit { session?.free() }

    // MARK: What the session reports; overridden by the roles

    /// A header block begins: a new request's, or a response's or trailers. False resets the stream.
    func headersBegan(_ id: Int32, opensStream: Bool) -> Bool { true }
    /// One field of it.
    func headerReceived(_ id: Int32, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {}
    func headersEnded(_ id: Int32, endsStream: Bool) {}
    func dataReceived(_ id: Int32, _ bytes: UnsafeRawBufferPointer) {}
    func bodyEnded(_ id: Int32) {}
    func trailersSent(_ id: Int32) {}
    /// The stream is gone; the override ends with `forget`.
    func streamClosed(_ id: Int32, code: UInt32) {}
    func goAwayReceived(code: UInt32) {}
    func pingAnswered() {}
    /// The peer's settings have come (not an acknowledgement of ours).
    func settingsReceived() {}
    /// The connection has ended; `streams` are those that were open.
    func connectionEnded(_ open: [HTTP2Stream]) {}
    /// The channel took output again after it had not.
    func drained() {}
    /// Output is to be sent soon.
    func needsDrain() { drain() }

    // MARK: Streams

    final func remember(_ stream: HTTP2Stream) {
        stream.index = streams.count
        streams.append(stream)
    }

    final func forget(_ stream: HTTP2Stream) {
        let index = stream.index
        guard index >= 0 else { return }
        let last = streams.removeLast()
        if last !== stream {
            streams[index] = last
            last.index = index
        }
        stream.index = -1
    }

    /// The received bytes as a buffer: a slice of what was read where possible.
    final func buffer(of bytes: UnsafeRawBufferPointer) -> ByteBuffer {
        if let base = bytes.baseAddress, let inputBase, base >= inputBase,
            let slice = input.getSlice(at: input.readerIndex + (base - inputBase), length: bytes.count)
        {
            return slice
        }
        return ByteBuffer(bytes: bytes)
    }

    // MARK: Channel

    final func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin() }
    }

    final func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    final func channelActive(context: ChannelHandlerContext) {
        begin()
        context.fireChannelActive()
    }

    final func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    final func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let session else { return }
        input = unwrapInboundIn(data)
        enterSession()
        do throws(HTTP2Session.Failure) {
            try feed(session)
        } catch {
            // Bytes that are not HTTP/2 or break its bounds; GOAWAY, if nghttp2 made one, is in its output.
            drain()
            context.close(promise: nil)
        }
        inputBase = nil
        input = ByteBuffer()
        leaveSession()
    }

    final func channelReadComplete(context: ChannelHandlerContext) {
        if role == .client { lastReadAt = .now() }
        if let session, session.wantsWrite || session.isFinished { needsDrain() }
        context.fireChannelReadComplete()
    }

    final func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            drain()
            drained()
        }
        context.fireChannelWritabilityChanged()
    }

    final func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A connection that broke is no news to anyone but its own streams, which `end` tells.
        context.close(promise: nil)
    }

    /// Writes what the session has to send while the channel takes it; the rest follows when the
    /// channel is writable again, so that a slow reader costs no memory beyond the channel's mark.
    final func drain() {
        guard let session, let context else { return }
        enterSession()
        defer { leaveSession() }
        do throws(HTTP2Session.Failure) {
            while context.channel.isWritable {
                let bytes = try nextOutput(of: session)
                guard bytes.readableBytes > 0 else { break }
                context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
            }
        } catch {
            context.close(promise: nil)
            return
        }
        if session.isFinished { context.close(promise: nil) }
    }

    /// As many of the session's frames as fit.
    private func nextOutput(of session: HTTP2Session) throws(HTTP2Session.Failure) -> ByteBuffer {
        var bytes = ByteBuffer()
        swap(&bytes, &output.bytes)
        bytes.clear(minimumCapacity: OutputBuffer.capacity)
        var oversized: UnsafeRawBufferPointer?
        var failure: HTTP2Session.Failure?
        bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: OutputBuffer.capacity) { room in
            var count = 0
            do throws(HTTP2Session.Failure) {
                while room.count - count >= OutputBuffer.largestFrameBytes, let frame = try session.nextOutput() {
                    guard frame.count <= room.count - count else {
                        oversized = frame
                        break
                    }
                    UnsafeMutableRawBufferPointer(rebasing: room[count...]).copyMemory(from: frame)
                    count += frame.count
                }
            } catch {
                failure = error
            }
            return count
        }
        if let failure { throw failure }
        if let oversized { bytes.writeBytes(oversized) }
        output.bytes = bytes
        return bytes
    }

    private func begin() {
        guard session == nil else { return }
        do {
            session = try HTTP2Session(role: role, limits: limits, connection: self)
        } catch {
            context?.close(promise: nil)
            return
        }
        drain()
    }

    private func feed(_ session: HTTP2Session) throws(HTTP2Session.Failure) {
        // A local copy: an access to the property would stay open, and be looked at by every access within.
        let input = input
        let result = input.withUnsafeReadableBytes { bytes -> Result<Void, HTTP2Session.Failure> in
            inputBase = bytes.baseAddress
            return Result { () throws(HTTP2Session.Failure) in try session.receive(bytes) }
        }
        try result.get()
    }

    private func enterSession() { sessionDepth += 1 }

    private func leaveSession() {
        sessionDepth -= 1
        if sessionDepth == 0 && endsWhenLeft { end() }
    }

    private func end() {
        guard session != nil else { return }
        guard sessionDepth == 0 else {
            endsWhenLeft = true
            return
        }
        session?.free()
        session = nil
        let open = streams
        streams = []
        for stream in open { stream.index = -1 }
        connectionEnded(open)
    }
}
