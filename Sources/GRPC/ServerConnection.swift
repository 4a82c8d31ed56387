import NIOCore

/// One call on the server's side. Its state belongs to its connection and its event loop.
///
/// Its object is used again for another call once nobody holds it, so that a held `RPCCall` never comes to
/// mean another call.
///
/// `@unchecked Sendable` because other threads may hold and compare it (in an `RPCCall`) but read only
/// the immutable `connection`; everything else is reached through members of `RPCCall` that first
/// check to be on the connection's event loop, and through the connection itself, which runs there.
final class ServerStream: HTTP2Stream, @unchecked Sendable {
    let connection: ServerConnection
    @exclusivity(unchecked) var metadata = Metadata()
    @exclusivity(unchecked) var body: RequestBody
    var method = -1
    /// The service has had an event of the call, so that it must hear of its end.
    var isAnnounced = false
    /// The service's (or our own) answer is complete, or the stream is gone: nothing more is sent.
    var isAnswered = false
    var headIsSent = false
    var requestHasEnded = false
    /// Its share of the connection's `partialBytes`.
    var partialBytes = 0
    var deadline: NIODeadline?
    var deadlineIndex = -1
    var drainAction: (() -> Void)?

    init(id: Int32, connection: ServerConnection, maxMessageBytes: Int) {
        self.connection = connection
        body = RequestBody(clientStreaming: false, maxMessageBytes: maxMessageBytes)
        super.init(id: id)
    }

    /// Makes it the object of a new call. The call before is closed and nobody holds its handle.
    func reuse(id: Int32) {
        renew(id: id)
        metadata = Metadata()
        method = -1
        isAnnounced = false
        isAnswered = false
        headIsSent = false
        requestHasEnded = false
    }

    var isOpen: Bool { !isAnswered }
}

/// The server's end of one HTTP/2 connection: turns streams into calls and answers into frames.
///
/// `@unchecked Sendable` because an `RPCCall` carries it across threads, where only its immutable `peer`
/// and `eventLoop` are read; every member that a call reaches otherwise checks to be on `eventLoop`, and
/// the channel pipeline calls the rest there.
final class ServerConnection: HTTP2Connection, @unchecked Sendable {
    let peer: Peer
    private let loop: RPCLoop
    private let head: RequestHead
    /// Whose request header block is being received.
    private var heading: ServerStream?
    /// Objects of closed streams, for the next ones.
    @exclusivity(unchecked) private var spares: [ServerStream] = []
    private static let maxSpares = 64
    /// Answers that were complete before their request, so that the client is to be stopped.
    private var earlyAnswers = 0
    private var resets: EventRate
    /// Bytes of unfinished messages, over all streams.
    private var partialBytes = 0
    private var shutdown = Shutdown.none
    /// Streams that have a `drainAction`, or had one until they were answered.
    private var draining: [ServerStream] = []
    /// The loop will drain it at the end of the tick.
    var isDirty = false

    private enum Shutdown { case none, announced, refusing }

    init(loop: RPCLoop, peer: Peer) {
        self.peer = peer
        self.loop = loop
        resets = EventRate(perSecond: loop.options.maxResetsPerSecond)
        head = RequestHead(methods: loop.methods, maxListBytes: loop.options.maxHeaderListBytes)
        super.init(
            role: .server, limits: loop.options.sessionLimits, eventLoop: loop.eventLoop, output: loop.output)
    }

    // MARK: Requests

    override func headersBegan(_ id: Int32, opensStream: Bool) -> Bool {
        guard opensStream else {
            // Trailers of a request carry nothing for us.
            heading = nil
            return true
        }
        let stream = newStream(id)
        head.begin()
        remember(stream)
        session?.attach(stream)
        heading = stream
        return true
    }

    private func newStream(_ id: Int32) -> ServerStream {
        guard let stream = spares.popLast() else {
            return ServerStream(id: id, connection: self, maxMessageBytes: loop.options.maxReceiveBytes)
        }
        stream.reuse(id: id)
        return stream
    }

    override func headerReceived(_ id: Int32, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        // Of trailers nothing is taken either: there is no `heading`, and the next request begins anew.
        head.add(name: name, value: value)
    }

    override func headersEnded(_ id: Int32, endsStream: Bool) {
        if let stream = heading {
            heading = nil
            open(stream)
        }
        if endsStream { bodyEnded(id) }
    }

    private func open(_ stream: ServerStream) {
        switch head.verdict() {
        case .refused(let httpStatus, let status):
            refuse(stream, httpStatus: httpStatus, status)
        case .call where unsentBytes > loop.options.maxUnsentBytes:
            let status = GRPCStatus(.resourceExhausted, "too many answers of the connection wait for its client")
            refuse(stream, httpStatus: 200, status)
        case .call(let method, let timeout):
            stream.method = method
            stream.metadata = head.takeMetadata()
            stream.body.renew(clientStreaming: loop.methods.methods[method].clientStreaming)
            if let timeout { loop.setDeadline(of: stream, in: timeout) }
        }
    }

    override func dataReceived(_ id: Int32, _ bytes: UnsafeRawBufferPointer) {
        guard let stream = stream(id), !stream.isAnswered else { return }
        var chunk = buffer(of: bytes)
        reading: while !stream.isAnswered {
            let step = stream.body.next(from: &chunk)
            if case .needsMore = step { break reading }
            take(step, of: stream)
        }
        countPartialBytes(of: stream)
        if partialBytes > loop.options.maxPartialBytes && stream.partialBytes > 0 {
            fail(stream, GRPCStatus(.resourceExhausted, "too many unfinished messages on the connection"))
        }
    }

    private func countPartialBytes(of stream: ServerStream) {
        let bytes = stream.body.bufferedBytes
        partialBytes += bytes - stream.partialBytes
        stream.partialBytes = bytes
    }

    override func bodyEnded(_ id: Int32) {
        guard let stream = stream(id) else { return }
        stream.requestHasEnded = true
        if stream.isAnswered { earlyAnswers -= 1 } else { take(stream.body.end(), of: stream) }
    }

    private func take(_ step: RequestBody.Step, of stream: ServerStream) {
        switch step {
        case .needsMore: break
        case .message(let message):
            stream.isAnnounced = true
            loop.enqueue(.message(RPCCall(stream, method: stream.method), message))
        case .end:
            stream.isAnnounced = true
            loop.enqueue(.requestEnd(RPCCall(stream, method: stream.method)))
        case .failure(let status):
            fail(stream, status)
        }
    }

    // MARK: Answers

    func send(on stream: ServerStream, ending: GRPCStatus?, _ write: (inout ByteBuffer) -> Void) {
        eventLoop.preconditionInEventLoop()
        guard !stream.isAnswered else { return }
        // Taken out while foreign code writes: it may call us.
        var outgoing = OutgoingBody()
        swap(&outgoing, &stream.outgoing)
        let bytesBefore = outgoing.bufferedBytes
        outgoing.append(write)
        unsentBytes += outgoing.bufferedBytes - bytesBefore
        swap(&outgoing, &stream.outgoing)
        if let ending { end(stream, ending) }
        pushOutput(of: stream)
    }

    func finish(_ stream: ServerStream, _ status: GRPCStatus) {
        eventLoop.preconditionInEventLoop()
        guard !stream.isAnswered else { return }
        guard stream.headIsSent || !stream.outgoing.isEmpty else {
            refuse(stream, httpStatus: 200, status)
            return
        }
        end(stream, status)
        pushOutput(of: stream)
    }

    func whenDrained(_ stream: ServerStream, _ action: @escaping () -> Void) {
        eventLoop.preconditionInEventLoop()
        guard !stream.isAnswered else { return }
        if stream.drainAction == nil { draining.append(stream) }
        stream.drainAction = action
        loop.markDirty(self)
    }

    /// Ends the call without the service's doing.
    func fail(_ stream: ServerStream, _ status: GRPCStatus) {
        guard !stream.isAnswered else { return }
        if stream.isAnnounced { loop.enqueue(.cancelled(RPCCall(stream, method: stream.method))) }
        finish(stream, status)
    }

    private func end(_ stream: ServerStream, _ status: GRPCStatus) {
        stream.outgoing.finish(.trailers(status))
        settle(stream)
    }

    /// Answers with headers alone ("Trailers-Only").
    private func refuse(_ stream: ServerStream, httpStatus: Int, _ status: GRPCStatus) {
        settle(stream)
        stream.headIsSent = true
        session?.submitResponse(
            stream.id,
            headersOnly: [
                (":status", Array(String(httpStatus).utf8)), ("content-type", Array("application/grpc".utf8)),
            ] + status.headers)
        loop.markDirty(self)
    }

    /// The answer is decided: what the request still holds is let go.
    private func settle(_ stream: ServerStream) {
        stream.isAnswered = true
        stream.drainAction = nil
        stream.body.discard()
        countPartialBytes(of: stream)
        loop.clearDeadline(of: stream)
        if !stream.requestHasEnded { earlyAnswers += 1 }
    }

    private func pushOutput(of stream: ServerStream) {
        if !stream.headIsSent {
            stream.headIsSent = true
            session?.submitResponse(stream)
        } else if stream.waitsForOutput {
            stream.waitsForOutput = false
            session?.resumeOutput(of: stream)
        }
        loop.markDirty(self)
    }

    override func needsDrain() { loop.markDirty(self) }

    /// Called by the loop at the end of a tick, once for all that became ready in it.
    func drainAtEndOfTick() {
        isDirty = false
        drain()
        drained()
    }

    override func drained() {
        guard !draining.isEmpty else { return }
        let waiting = draining
        draining = []
        for stream in waiting where stream.drainAction != nil {
            if stream.outgoing.isEmpty {
                stream.drainAction.take()?()
            } else {
                draining.append(stream)
            }
        }
    }

    // MARK: Ends

    override func trailersSent(_ id: Int32) {
        guard earlyAnswers > 0, let stream = stream(id), !stream.requestHasEnded else { return }
        // The answer is out before the request was whole: stop the client from sending the rest.
        session?.reset(id, code: HTTP2Session.noError)
    }

    override func streamClosed(_ id: Int32, code: UInt32) {
        guard var stream = stream(id) else { return }
        if heading === stream { heading = nil }
        close(stream)
        if !stream.requestHasEnded { earlyAnswers -= 1 }
        forget(stream)
        // Only if no handle on the call is left.
        if spares.count < Self.maxSpares && isKnownUniquelyReferenced(&stream) { spares.append(stream) }
        if code != HTTP2Session.noError, resets.exceeds(at: .now()) {
            session?.terminate(code: HTTP2Session.enhanceYourCalm)
        }
    }

    override func connectionEnded(_ open: [HTTP2Stream]) {
        heading = nil
        spares = []
        draining = []
        for case let stream as ServerStream in open { close(stream) }
        loop.remove(self)
    }

    private func close(_ stream: ServerStream) {
        if !stream.isAnswered {
            settle(stream)
            if stream.isAnnounced { loop.enqueue(.cancelled(RPCCall(stream, method: stream.method))) }
        }
        unsentBytes -= stream.outgoing.bufferedBytes
        if !stream.outgoing.isEmpty { stream.outgoing.discard() }
    }

    override func pingAnswered() {
        guard shutdown == .announced else { return }
        shutdown = .refusing
        session?.submitGoAway()
        loop.markDirty(self)
    }

    private func stream(_ id: Int32) -> ServerStream? {
        // Every stream of this session is one of ours.
        session?.stream(id).map { unsafeDowncast($0, to: ServerStream.self) }
    }
}

// MARK: Shutdown

extension ServerConnection: ServedConnection {
    /// GOAWAY in two steps, so that a request the client sent before it heard of the first is still
    /// served (RFC 9113, 6.8): the PING's answer proves that it has.
    func beginShutdown() {
        guard shutdown == .none, let session else { return }
        shutdown = .announced
        session.submitShutdownNotice()
        session.submitPing()
        loop.markDirty(self)
    }

    func abort() { context?.close(promise: nil) }
}

/// Counts events in the current second.
struct EventRate {
    private let perSecond: Int
    private var windowStart = NIODeadline.uptimeNanoseconds(0)
    private var count = 0

    init(perSecond: Int) { self.perSecond = perSecond }

    /// Counts one more; true when there were too many within a second.
    mutating func exceeds(at now: NIODeadline) -> Bool {
        if now - windowStart > .seconds(1) {
            windowStart = now
            count = 0
        }
        count += 1
        return count > perSecond
    }
}
