import NIOCore

/// One call on the client's side; lives on its connection's loop.
final class ClientStream: HTTP2Stream {
    let call: RPCClientStream
    var response: ResponseReader
    var timeout: Scheduled<Void>?
    /// The caller has been told how the call ended.
    var hasEnded = false

    init(id: Int32, call: RPCClientStream, response: ResponseReader) {
        self.call = call
        self.response = response
        super.init(id: id)
    }
}

/// The client's end of one HTTP/2 connection. All members are for its event loop.
final class ClientConnection: HTTP2Connection {
    private let options: RPCClientOptions
    private let target: String
    /// Kept until it is told: its future holds the connection.
    private var ready: EventLoopPromise<NIOLoopBound<ClientConnection>>?
    private var calls: [ObjectIdentifier: ClientStream] = [:]
    private var goneAway = false
    private var drainIsScheduled = false
    private var awaitsPing = false

    init(
        eventLoop: any EventLoop, options: RPCClientOptions, target: String,
        ready: EventLoopPromise<NIOLoopBound<ClientConnection>>
    ) {
        self.options = options
        self.target = target
        self.ready = ready
        let limits = HTTP2Session.Limits(
            streamWindowBytes: options.streamWindowBytes, connectionWindowBytes: options.connectionWindowBytes,
            opensStreamWindows: false)
        super.init(role: .client, limits: limits, eventLoop: eventLoop, output: OutputBuffer())
    }

    /// Asks a silent server whether it lives, and ends the connection when it does not answer, so that a
    /// call on a dead host fails instead of hanging.
    private func checkLiveness() {
        guard session != nil, let interval = options.keepaliveInterval else { return }
        let silence = NIODeadline.now() - lastReadAt
        if awaitsPing && silence >= options.keepaliveTimeout {
            context?.close(promise: nil)
            return
        }
        if silence >= interval && !awaitsPing {
            awaitsPing = true
            session?.submitPing()
            needsDrain()
        }
        let pause = awaitsPing ? options.keepaliveTimeout : max(interval - silence, .milliseconds(1))
        eventLoop.assumeIsolated().scheduleTask(in: pause) { [weak self] in self?.checkLiveness() }
    }

    override func pingAnswered() { awaitsPing = false }

    var acceptsCalls: Bool { session != nil && !goneAway }

    // MARK: Calls

    func open(_ call: RPCClientStream, path: String, metadata: RPCClient.Metadata, timeout: TimeAmount?) {
        guard let session, !goneAway else {
            call.deliverEnd(RPCError(.unavailable, "the connection to \(target) is closed"))
            return
        }
        var headers: [(String, String)] = [
            (":method", "POST"), (":scheme", options.scheme), (":path", path),
            (":authority", options.authority ?? target), ("te", "trailers"),
            ("content-type", "application/grpc"), ("user-agent", options.userAgent),
        ]
        if let timeout { headers.append(("grpc-timeout", RPCTimeout.encode(timeout))) }
        headers += metadata
        let opened = session.submitRequest(headers.map { ($0.0, Array($0.1.utf8)) }) { id in
            ClientStream(id: id, call: call, response: ResponseReader(maxMessageBytes: options.maxReceiveBytes))
        }
        guard let stream = opened else {
            call.deliverEnd(RPCError(.unavailable, "the connection to \(target) takes no more calls"))
            return
        }
        remember(stream)
        calls[ObjectIdentifier(call)] = stream
        if let timeout {
            stream.timeout = eventLoop.assumeIsolated().scheduleTask(in: timeout) {
                self.abandon(stream, RPCError(.deadlineExceeded, "context deadline exceeded"))
            }
        }
        needsDrain()
    }

    func send(_ message: ByteBuffer, on call: RPCClientStream) {
        guard let stream = openStream(of: call) else { return }
        stream.outgoing.append { $0.writeImmutableBuffer(message) }
        unsentBytes += message.readableBytes + MessageReader.prefixBytes
        pushOutput(of: stream)
    }

    func finish(_ call: RPCClientStream) {
        guard let stream = openStream(of: call) else { return }
        stream.outgoing.finish(.halfClose)
        pushOutput(of: stream)
    }

    func cancel(_ call: RPCClientStream) {
        guard let stream = calls[ObjectIdentifier(call)] else { return }
        abandon(stream, RPCError(.cancelled, "context canceled"))
    }

    /// The reader took messages that held this much of the stream's window.
    func openWindow(of call: RPCClientStream, bytes: Int) {
        guard let stream = calls[ObjectIdentifier(call)] else { return }
        session?.consumeStream(stream.id, bytes: bytes)
        needsDrain()
    }

    /// The call's stream, if it may still send.
    private func openStream(of call: RPCClientStream) -> ClientStream? {
        guard let stream = calls[ObjectIdentifier(call)], !stream.hasEnded, stream.outgoing.end == nil else {
            return nil
        }
        return stream
    }

    private func pushOutput(of stream: ClientStream) {
        if stream.waitsForOutput {
            stream.waitsForOutput = false
            session?.resumeOutput(of: stream)
        }
        needsDrain()
    }

    /// Ends the call from our side.
    private func abandon(_ stream: ClientStream, _ error: RPCError) {
        guard !stream.hasEnded else { return }
        conclude(stream, error)
        session?.reset(stream.id, code: HTTP2Session.cancel)
        needsDrain()
    }

    private func conclude(_ stream: ClientStream, _ error: RPCError?) {
        guard !stream.hasEnded else { return }
        stream.hasEnded = true
        stream.timeout?.cancel()
        unsentBytes -= stream.outgoing.bufferedBytes
        stream.outgoing.discard()
        calls[ObjectIdentifier(stream.call)] = nil
        stream.call.deliverEnd(error)
    }

    /// One drain for all that the loop does before it looks at its sockets again.
    override func needsDrain() {
        guard !drainIsScheduled else { return }
        drainIsScheduled = true
        eventLoop.assumeIsolated().execute {
            self.drainIsScheduled = false
            self.drain()
        }
    }

    // MARK: What the session reports

    override func settingsReceived() {
        guard let ready = ready.take() else { return }
        ready.succeed(NIOLoopBound(self, eventLoop: eventLoop))
        checkLiveness()
    }

    override func headerReceived(_ id: Int32, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        stream(id)?.response.add(name: name, value: value)
    }

    override func headersEnded(_ id: Int32, endsStream: Bool) {
        guard let stream = stream(id) else { return }
        if let failure = stream.response.headersEnded(endsStream: endsStream) { abandon(stream, failure) }
    }

    override func dataReceived(_ id: Int32, _ bytes: UnsafeRawBufferPointer) {
        // Whatever becomes of it, it does not stand in other streams' way.
        session?.consumeConnection(bytes: bytes.count)
        guard let stream = stream(id), !stream.hasEnded else { return }
        var chunk = buffer(of: bytes)
        while true {
            let before = chunk.readerIndex
            let element = stream.response.next(from: &chunk)
            let windowBytes = chunk.readerIndex - before
            switch element {
            case .message(let message):
                stream.call.deliver(message, windowBytes: windowBytes)
            case .needsMore:
                // The window opens at once for the part of a message: one that is larger than the window
                // could not become whole otherwise, and `maxReceiveBytes` bounds it.
                session?.consumeStream(id, bytes: windowBytes)
                return
            case .failure(let status):
                abandon(stream, RPCError(status))
                return
            }
        }
    }

    override func streamClosed(_ id: Int32, code: UInt32) {
        guard let stream = stream(id) else { return }
        conclude(stream, stream.response.outcome(resetCode: code))
        forget(stream)
    }

    override func goAwayReceived(code: UInt32) { goneAway = true }

    override func connectionEnded(_ open: [HTTP2Stream]) {
        let error = RPCError(.unavailable, "the connection to \(target) was lost")
        ready.take()?.fail(error)
        for case let stream as ClientStream in open { conclude(stream, error) }
    }

    private func stream(_ id: Int32) -> ClientStream? {
        // Every stream of this session is one of ours.
        session?.stream(id).map { unsafeDowncast($0, to: ClientStream.self) }
    }
}
