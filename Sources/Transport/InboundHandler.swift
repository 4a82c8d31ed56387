import Logging
import NIOCore
import Raft

/// The listener's end of any connection: the handshake, then what the dialler wanted it for.
final class InboundHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case handshake
        case stream(from: MemberID)
        case snapshotExpected(from: MemberID)
        case snapshot(SnapshotReceiver)
        /// Nothing more is wanted; what still comes is passed over until the dialler closes.
        case done
    }

    private let transport: PeerTransport
    private var phase = Phase.handshake
    private var identity = PeerIdentity.unproven
    private var greeting = ByteBuffer()
    private var frames: FrameReader
    private var batch: [PeerMessage] = []
    private var batchBytes = 0
    private var timeout: Scheduled<Void>?

    init(_ transport: PeerTransport) {
        self.transport = transport
        frames = FrameReader(maxPayloadBytes: transport.options.maxFrameBytes)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let context = NIOLoopBound(context, eventLoop: context.eventLoop)
        timeout = context.value.eventLoop.assumeIsolated().scheduleTask(in: transport.options.connectTimeout) {
            context.value.close(promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { timeout?.cancel() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let proven = event as? PeerIdentity { identity = proven }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        do throws(WireError) {
            if case .handshake = phase {
                greeting.writeImmutableBuffer(bytes)
                guard let hello = try Hello.decode(&greeting) else { return }
                answer(hello, context)
                frames.append(greeting)
                greeting = ByteBuffer()
            } else {
                frames.append(bytes)
            }
            batchBytes += bytes.readableBytes
            try readFrames(context)
        } catch {
            fail(error, context)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        deliver()
        context.fireChannelReadComplete()
    }

    /// Reads on only while the snapshot that comes in is being kept up with. `SnapshotReceiver` asks again.
    func read(context: ChannelHandlerContext) {
        if case .snapshot(let receiver) = phase, receiver.isFull { return }
        context.read()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deliver()
        if case .snapshot(let receiver) = phase { receiver.connectionEnded() }
        phase = .done
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // MARK: Steps

    private func answer(_ hello: Hello, _ context: ChannelHandlerContext) {
        timeout?.cancel()
        var outcome = hello.accepted(by: transport.identity)
        var report: ClusterReport?
        if case .success(.query) = outcome {
            report = transport.delegate.answer(query: ClusterQuery(from: hello.from))
            if report == nil {
                outcome = .failure(HandshakeRefusal(.notReady, "this member does not know its cluster yet"))
            }
        }
        var welcome = Welcome(clusterID: transport.identity.clusterID, member: transport.identity.memberID)
        if case .failure(let refusal) = outcome { welcome.refusal = refusal }
        var buffer = context.channel.allocator.buffer(capacity: 128)
        welcome.encode(into: &buffer)
        if let report { Frame.write(.report, into: &buffer) { report.encode(into: &$0) } }
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)

        switch outcome {
        case .success(.stream):
            phase = .stream(from: hello.from)
            transport.registry.replaceStream(of: hello.from, with: context.channel)?.close(promise: nil)
            transport.peer(hello.from)?.dialNow()
        case .success(.snapshot):
            phase = .snapshotExpected(from: hello.from)
        case .success(.query):
            finish(context)
        case .failure(let refusal):
            if refusal.reason != .notReady {
                transport.logger.debug(
                    "refused a connection", metadata: ["dialler": "\(hex(hello.from))", "reason": "\(refusal)"])
            }
            finish(context)
        }
    }

    /// Leaves it to the dialler to close, since closing with unread bytes would make it lose the answer; but not for
    /// ever.
    private func finish(_ context: ChannelHandlerContext) {
        phase = .done
        let context = NIOLoopBound(context, eventLoop: context.eventLoop)
        timeout = context.value.eventLoop.assumeIsolated().scheduleTask(in: transport.options.connectTimeout) {
            context.value.close(promise: nil)
        }
    }

    private func readFrames(_ context: ChannelHandlerContext) throws(WireError) {
        if case .done = phase {
            frames = FrameReader(maxPayloadBytes: 0)
            return
        }
        while let frame = try frames.next() {
            switch phase {
            case .handshake, .done:
                return
            case .stream:
                batch.append(try PeerMessage(frame))
            case .snapshotExpected(let member):
                guard frame.kind == .snapshotBegin else {
                    throw WireError("a snapshot that begins with a frame of kind \(frame.kind)")
                }
                let message = try MessageCodec.decode(frame.payload)
                guard message.kind == .snapshot, message.snapshot != nil else {
                    throw WireError("a snapshot that begins with a message of kind \(message.kind)")
                }
                let receiver = SnapshotReceiver(
                    message, from: member, channel: context.channel, transport: transport)
                phase = .snapshot(receiver)
                receiver.start()
            case .snapshot(let receiver):
                try receiver.receive(frame)
            }
        }
    }

    private func deliver() {
        guard case .stream(let member) = phase, batchBytes > 0 else { return }
        transport.registry.count(batchBytes, from: member)
        batchBytes = 0
        if batch.isEmpty { return }
        transport.delegate.received(batch, from: member)
        batch.removeAll(keepingCapacity: true)
    }

    private func fail(_ error: WireError, _ context: ChannelHandlerContext) {
        var metadata: Logger.Metadata = ["reason": "\(error)"]
        if let address = context.remoteAddress { metadata["address"] = "\(address)" }
        switch phase {
        case .stream(let member), .snapshotExpected(let member): metadata["peer"] = "\(hex(member))"
        case .snapshot(let receiver): metadata["peer"] = "\(hex(receiver.member))"
        case .handshake, .done: break
        }
        if !identity.names.isEmpty { metadata["identity"] = "\(identity.names.joined(separator: ", "))" }
        transport.logger.warning("closing a peer connection that sent what it must not", metadata: metadata)
        deliver()
        context.close(promise: nil)
    }
}
