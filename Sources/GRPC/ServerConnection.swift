import NIOCore

/// One call on the server's side. Its state belongs to its connection and its event loop.
///
/// `@unchecked Sendable` because other threads may hold and compare it (in an `RPCCall`) but read only
/// the immutable `id` and `connection`; everything else is reached through members of `RPCCall` that
/// first check to be on the connection's event loop, and through the connection itself, which runs there.
final class ServerStream: HTTP2Stream, @unchecked Sendable {
    let connection: ServerConnection
    var head: RequestHead
    var body: RequestBody?
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

    init(id: Int32, connection: ServerConnection, head: RequestHead) {
        self.connection = connection
        self.head = head
        super.init(id: id)
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
    /// Whose request header block is being received; header blocks never interleave (RFC 9113, 4.3).
    private var heading: ServerStream?
    private var resets: EventRate
    /// Bytes of unfinished messages, over all streams.
    private var partialBytes = 0
    private var shutdown = Shutdown.none
    /// Some stream has a `drainAction`.
    private var hasDrainActions = false
    /// The loop will drain it at the end of the tick.
    var isDirty = false

    private enum Shutdown { case none, announced, refusing }

    init(loop: RPCLoop, peer: Peer) {
        self.peer = peer
        self.loop = loop
        resets = EventRate(perSecond: loop.options.maxResetsPerSecond)
        super.init(role: .server, limits: loop.options.sessionLimits, eventLoop: loop.eventLoop)
    }

    // MARK: Requests

    override func headersBegan(_ id: Int32, opensStream: Bool) -> Bool {
        guard opensStream else {
            // Trailers of a request carry nothing for us.
            heading = nil
            return true
        }
        let head = RequestHead(maxListBytes: loop.options.maxHeaderListBytes)
        let stream = ServerStream(id: id, connection: self, head: head)
        remember(stream)
        session?.attach(stream)
        heading = stream
        return true
    }

    override func headerReceived(
        _ id: Int32, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer
    ) -> Bool {
        heading?.head.add(name: name, value: value, methods: loop.methods)
        return true
    }

    override func headersEnded(_ id: Int32, endsStream: Bool) {
        if let stream = heading {
            heading = nil
            open(stream)
        }
        if endsStream { bodyEnded(id) }
    }

    private func open(_ stream: ServerStream) {
        switch stream.head.verdict() {
        case .refused(let httpStatus, let status):
            refuse(stream, httpStatus: httpStatus, status)
        case .call(let method, let timeout):
            stream.method = method
            stream.body = RequestBody(
                clientStreaming: loop.methods.methods[method].clientStreaming,
                maxMessageBytes: loop.options.maxReceiveBytes)
            if let timeout { loop.setDeadline(of: stream, in: timeout) }
        }
    }

    override func dataReceived(_ id: Int32, _ bytes: UnsafeRawBufferPointer) {
        guard let stream = stream(id), !stream.isAnswered else { return }
        var chunk = buffer(of: bytes)
        while let step = stream.body?.next(from: &chunk), step != .needsMore { take(step, of: stream) }
        countPartialBytes(of: stream)
        if partialBytes > loop.options.maxPartialBytes && stream.partialBytes > 0 {
            fail(stream, GRPCStatus(.resourceExhausted, "too many unfinished messages on the connection"))
        }
    }

    private func countPartialBytes(of stream: ServerStream) {
        let bytes = stream.body?.bufferedBytes ?? 0
        partialBytes += bytes - stream.partialBytes
        stream.partialBytes = bytes
    }

    override func bodyEnded(_ id: Int32) {
        guard let stream = stream(id) else { return }
        stream.requestHasEnded = true
        guard !stream.isAnswered, let step = stream.body?.end() else { return }
        take(step, of: stream)
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
        stream.outgoing.append(write)
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
        stream.drainAction = action
        loop.markDirty(self)
        hasDrainActions = true
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
        stream.body = nil
        countPartialBytes(of: stream)
        loop.clearDeadline(of: stream)
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
        if hasDrainActions { runDrainActions() }
    }

    override func drained() { if hasDrainActions { runDrainActions() } }

    private func runDrainActions() {
        hasDrainActions = false
        for case let stream as ServerStream in streams where stream.drainAction != nil {
            if stream.outgoing.isEmpty {
                stream.drainAction.take()?()
            } else {
                hasDrainActions = true
            }
        }
    }

    // MARK: Ends

    override func trailersSent(_ id: Int32) {
        // The answer is out before the request was whole: stop the client from sending the rest.
        if let stream = stream(id), !stream.requestHasEnded { session?.reset(id, code: HTTP2Session.noError) }
    }

    override func streamClosed(_ id: Int32, code: UInt32) {
        guard let stream = stream(id) else { return }
        if heading === stream { heading = nil }
        close(stream)
        forget(stream)
        if code != HTTP2Session.noError, resets.exceeds(at: .now()) {
            session?.terminate(code: HTTP2Session.enhanceYourCalm)
        }
    }

    override func connectionEnded(_ open: [HTTP2Stream]) {
        heading = nil
        for case let stream as ServerStream in open { close(stream) }
        loop.remove(self)
    }

    private func close(_ stream: ServerStream) {
        if !stream.isAnswered {
            settle(stream)
            if stream.isAnnounced { loop.enqueue(.cancelled(RPCCall(stream, method: stream.method))) }
        }
        stream.outgoing.discard()
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
