import Logging
import NIOCore
import Raft

extension PeerTransport {
    /// Asks who the cluster is, before this member is part of one.
    ///
    /// All of `addresses` are asked at once; the first that knows is believed.
    ///
    /// - Parameters:
    ///   - member: the one that asks, if it has an id already.
    ///   - timeout: for all of it.
    /// - Returns: nil when none has answered in time.
    public static func queryCluster(
        _ addresses: [PeerAddress], from member: MemberID = .none, timeout: TimeAmount, group: any EventLoopGroup,
        logger: Logger, options: Options = Options()
    ) async -> ClusterReport? {
        guard !addresses.isEmpty else { return nil }
        let loop = group.next()
        let first = loop.makePromise(of: ClusterReport?.self)
        let answers = addresses.map { address in
            ask(address, from: member, timeout: timeout, loop: loop, options: options).map { report in
                first.succeed(report)
            }.flatMapErrorThrowing { error in
                logger.debug(
                    "no answer about the cluster",
                    metadata: ["address": "\(address)", "reason": "\(describeNetworkError(error))"])
            }
        }
        // The first success has completed the promise; this is for when there is none.
        EventLoopFuture.andAllComplete(answers, on: loop).whenComplete { _ in first.succeed(nil) }
        return try? await first.futureResult.get()
    }

    private static func ask(
        _ address: PeerAddress, from member: MemberID, timeout: TimeAmount, loop: any EventLoop, options: Options
    ) -> EventLoopFuture<ClusterReport> {
        var options = options
        options.connectTimeout = min(options.connectTimeout, timeout)
        let deadline = NIODeadline.now() + timeout
        let answer = loop.makePromise(of: ClusterReport.self)
        PeerSocket.connect(address, on: loop, options: options).whenComplete { result in
            switch result {
            case .failure(let error):
                answer.fail(error)
            case .success(let channel):
                let timer = loop.scheduleTask(deadline: deadline) { channel.close(promise: nil) }
                channel.closeFuture.whenComplete { _ in timer.cancel() }
                do {
                    try channel.pipeline.syncOperations.addHandler(ClusterQueryHandler(from: member, answer: answer))
                } catch {
                    answer.fail(error)
                    channel.close(promise: nil)
                }
            }
        }
        return answer.futureResult
    }
}

/// The dialler's end of a query.
private final class ClusterQueryHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let hello: Hello
    private let answer: EventLoopPromise<ClusterReport>
    private var greeting: ByteBuffer? = ByteBuffer()
    private var frames = FrameReader(maxPayloadBytes: 1 << 20)

    init(from member: MemberID, answer: EventLoopPromise<ClusterReport>) {
        hello = Hello(clusterID: 0, from: member, to: .none, kind: .query)
        self.answer = answer
    }

    func handlerAdded(context: ChannelHandlerContext) {
        guard context.channel.isActive else { return end(WireError("the connection was closed at once"), context) }
        var buffer = context.channel.allocator.buffer(capacity: 64)
        hello.encode(into: &buffer)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do {
            try read(unwrapInboundIn(data), context)
        } catch {
            end(error, context)
        }
    }

    private func read(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) throws {
        if var greeting {
            greeting.writeImmutableBuffer(bytes)
            let welcome = try Welcome.decode(&greeting)
            self.greeting = greeting
            guard let welcome else { return }
            self.greeting = nil
            if let refusal = welcome.objection(to: hello) { throw refusal }
            frames.append(greeting)
        } else {
            frames.append(bytes)
        }
        guard let frame = try frames.next() else { return }
        guard frame.kind == .report else { throw WireError("a frame of kind \(frame.kind) in answer to a query") }
        answer.succeed(try ClusterReport(decoding: frame.payload))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(WireError("the connection was closed"), context)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(error, context) }

    private func end(_ error: any Error, _ context: ChannelHandlerContext) {
        answer.fail(error)
        context.close(promise: nil)
    }
}
