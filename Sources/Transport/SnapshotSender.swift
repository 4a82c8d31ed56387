import NIOCore
import Raft

/// Why a snapshot was not delivered.
public enum SnapshotSendError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The member is not among the peers, or the message is no snapshot's.
    case notPossible(String)
    case unreachable(String)
    /// The receiver has said no, before or after it had the bytes.
    case refused(String)
    case interrupted(String)

    public var description: String {
        switch self {
        case .notPossible(let reason): reason
        case .unreachable(let reason): "the receiver cannot be reached: \(reason)"
        case .refused(let reason): "the receiver refused the snapshot: \(reason)"
        case .interrupted(let reason): "the snapshot was interrupted: \(reason)"
        }
    }
}

extension PeerTransport {
    /// Sends a snapshot on a connection of its own, as fast as the receiver takes it.
    ///
    /// - Parameters:
    ///   - message: the Raft message of kind `.snapshot` the bytes belong to; the receiver gets it first.
    ///   - chunks: returns the next bytes, or nil at the end. Called in order on a thread where it may take its time,
    ///     and not any more once the snapshot has failed. What it throws ends the snapshot.
    ///   - completion: called once, on some thread: success when the receiver has made the snapshot durable.
    public func sendSnapshot(
        to member: MemberID, message: Message, chunks: @escaping @Sendable () throws -> [UInt8]?,
        completion: @escaping @Sendable (Result<Void, any Error>) -> Void
    ) {
        guard message.kind == .snapshot, message.snapshot != nil else {
            return completion(.failure(SnapshotSendError.notPossible("a message of kind \(message.kind)")))
        }
        guard let peer = peer(member) else {
            return completion(.failure(SnapshotSendError.notPossible("\(hex(member)) is no peer of this member")))
        }
        snapshotThreads.submit { state in
            guard state == .active else {
                return completion(.failure(SnapshotSendError.interrupted("this member is stopping")))
            }
            completion(Result { try self.deliverSnapshot(to: peer, message, chunks) })
        }
    }

    /// Runs on a thread that may wait.
    private func deliverSnapshot(
        to peer: OutboundPeer, _ message: Message, _ chunks: () throws -> [UInt8]?
    ) throws {
        let handler = try SnapshotConnection.open(to: peer, transport: self)
        defer { handler.channel.close(promise: nil) }
        do {
            try handler.write(.snapshotBegin) { MessageCodec.encode(message, into: &$0) }
            var totalBytes: UInt64 = 0
            while let chunk = try chunks() {
                totalBytes += UInt64(chunk.count)
                for start in stride(from: 0, to: chunk.count, by: SnapshotConnection.maxChunkBytes) {
                    let end = min(start + SnapshotConnection.maxChunkBytes, chunk.count)
                    try handler.write(.snapshotChunk) { $0.writeBytes(chunk[start..<end]) }
                }
            }
            try handler.write(.snapshotEnd) { $0.writeInteger(totalBytes) }
            try handler.waitForVerdict()
        } catch let error as ChannelError {
            // The receiver may have said why before it closed.
            throw handler.refusal ?? SnapshotSendError.interrupted(describeNetworkError(error))
        } catch let error as IOError {
            throw handler.refusal ?? SnapshotSendError.interrupted(describeNetworkError(error))
        }
    }
}

/// The dialler's connection for one snapshot, as it looks from the thread that sends.
private struct SnapshotConnection {
    static let maxChunkBytes = 1 << 20

    let channel: any Channel
    private let verdict: EventLoopFuture<Void>
    private let stallTimeout: TimeAmount

    /// Dials the peer's addresses in turn and waits for the handshake.
    static func open(to peer: OutboundPeer, transport: PeerTransport) throws -> SnapshotConnection {
        let hello = Hello(
            clusterID: transport.identity.clusterID, from: transport.identity.memberID, to: peer.member, kind: .snapshot
        )
        var failure = SnapshotSendError.unreachable("it has no address")
        for address in try peer.addresses.wait() {
            let loop = transport.group.next()
            let welcomed = loop.makePromise(of: Void.self)
            let verdict = loop.makePromise(of: Void.self)
            do {
                let channel = try PeerSocket.connect(address, on: loop, options: transport.options)
                    .flatMapThrowing { channel in
                        let handler = SnapshotConnectionHandler(hello, welcomed: welcomed, verdict: verdict)
                        try channel.pipeline.syncOperations.addHandler(handler)
                        return channel
                    }.wait()
                let timer = loop.scheduleTask(in: transport.options.connectTimeout) { channel.close(promise: nil) }
                defer { timer.cancel() }
                guard transport.registry.insert(channel) else {
                    channel.close(promise: nil)
                    throw SnapshotSendError.interrupted("this member is stopping")
                }
                try welcomed.futureResult.wait()
                return SnapshotConnection(
                    channel: channel, verdict: verdict.futureResult,
                    stallTimeout: transport.options.snapshotStallTimeout)
            } catch let error as SnapshotSendError {
                failure = error
            } catch {
                // The channel may never have had the handler that completes these.
                welcomed.fail(error)
                verdict.fail(error)
                failure = .unreachable("\(address): \(describeNetworkError(error))")
            }
        }
        throw failure
    }

    /// Writes a frame and waits until the socket has taken it: TCP's flow control reaches the source of the chunks.
    func write(_ kind: Frame.Kind, _ body: (inout ByteBuffer) -> Void) throws {
        var buffer = channel.allocator.buffer(capacity: 1024)
        Frame.write(kind, into: &buffer, body)
        try giveUpWhenStalled { try channel.writeAndFlush(buffer).wait() }
    }

    func waitForVerdict() throws { try giveUpWhenStalled { try verdict.wait() } }

    /// What the receiver has said against the snapshot, once the connection has ended.
    var refusal: SnapshotSendError? {
        channel.close(promise: nil)
        do {
            try verdict.wait()
            return nil
        } catch let error as SnapshotSendError {
            return error
        } catch { return nil }
    }

    private func giveUpWhenStalled(_ body: () throws -> Void) throws {
        let channel = channel
        let timer = channel.eventLoop.scheduleTask(in: stallTimeout) { channel.close(promise: nil) }
        defer { timer.cancel() }
        try body()
    }
}

/// The handshake of a snapshot's connection, and the receiver's last word on it.
private final class SnapshotConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let hello: Hello
    private let welcomed: EventLoopPromise<Void>
    private let verdict: EventLoopPromise<Void>
    private var greeting: ByteBuffer? = ByteBuffer()
    private var frames = FrameReader(maxPayloadBytes: 64 << 10)

    init(_ hello: Hello, welcomed: EventLoopPromise<Void>, verdict: EventLoopPromise<Void>) {
        self.hello = hello
        self.welcomed = welcomed
        self.verdict = verdict
    }

    func handlerAdded(context: ChannelHandlerContext) {
        guard context.channel.isActive else { return end(.interrupted("the connection was closed at once"), context) }
        var buffer = context.channel.allocator.buffer(capacity: 64)
        hello.encode(into: &buffer)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do throws(WireError) {
            try read(unwrapInboundIn(data), context)
        } catch {
            end(.interrupted("\(error)"), context)
        }
    }

    private func read(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) throws(WireError) {
        if var greeting {
            greeting.writeImmutableBuffer(bytes)
            let welcome = try Welcome.decode(&greeting)
            self.greeting = greeting
            guard let welcome else { return }
            self.greeting = nil
            if let refusal = welcome.objection(to: hello) { return end(.refused("\(refusal)"), context) }
            welcomed.succeed()
            frames.append(greeting)
        } else {
            frames.append(bytes)
        }
        guard let frame = try frames.next() else { return }
        switch frame.kind {
        case .snapshotAccepted: verdict.succeed()
        case .snapshotRefused: end(.refused(String(buffer: frame.payload)), context)
        default: throw WireError("a frame of kind \(frame.kind) in answer to a snapshot")
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(.interrupted("the connection was closed"), context)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(.interrupted(describeNetworkError(error)), context)
    }

    /// A promise that is kept already stays as it is.
    private func end(_ error: SnapshotSendError, _ context: ChannelHandlerContext) {
        welcomed.fail(error)
        verdict.fail(error)
        context.close(promise: nil)
    }
}
