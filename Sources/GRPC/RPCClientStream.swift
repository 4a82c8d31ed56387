import NIOConcurrencyHelpers
import NIOCore

/// One call of a client with messages both ways. May be used from any thread.
public final class RPCClientStream: Sendable {
    /// The server's messages, for one reader. It ends when the call ends with OK and throws `RPCError`
    /// when it does not. Cancelling the reading task cancels the call.
    public var messages: Messages { Messages(stream: self) }

    private let connection: NIOLoopBound<ClientConnection>
    private let inbox: NIOLockedValueBox<Inbox>

    init(connection: NIOLoopBound<ClientConnection>, windowBytes: Int) {
        self.connection = connection
        inbox = NIOLockedValueBox(Inbox(windowStepBytes: windowBytes / 4))
    }

    /// Sends one message. Does nothing once the call has ended; `messages` says how it did.
    public func send(_ message: ByteBuffer) { onLoop { $0.send(message, on: self) } }

    /// Sends one message.
    public func send(_ message: [UInt8]) { send(ByteBuffer(bytes: message)) }

    /// Half-closes: no more messages from the client.
    public func finish() { onLoop { $0.finish(self) } }

    /// Ends the call; `messages` throws CANCELLED, unless the call had ended.
    public func cancel() { onLoop { $0.cancel(self) } }

    /// Always queued, even on the loop itself: what one thread asks of a call happens in its order.
    private func onLoop(_ body: @escaping @Sendable (ClientConnection) -> Void) {
        connection.eventLoop.execute { body(self.connection.value) }
    }

    // MARK: From the connection, on its loop

    /// - Parameter windowBytes: what the message holds of the stream's receive window until it is taken.
    func deliver(_ message: ByteBuffer, windowBytes: Int) {
        let (waiter, freedBytes) = inbox.withLockedValue { $0.deliver(message, windowBytes: windowBytes) }
        if freedBytes > 0 { connection.value.openWindow(of: self, bytes: freedBytes) }
        waiter?.resume(returning: message)
    }

    func deliverEnd(_ error: RPCError?) {
        guard let waiter = inbox.withLockedValue({ $0.deliverEnd(error) }) else { return }
        if let error { waiter.resume(throwing: error) } else { waiter.resume(returning: nil) }
    }

    // MARK: To the reader

    fileprivate func next() async throws -> ByteBuffer? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (next, freedBytes) = inbox.withLockedValue { $0.take(orWait: continuation) }
                if freedBytes > 0 { onLoop { $0.openWindow(of: self, bytes: freedBytes) } }
                switch next {
                case .message(let message): continuation.resume(returning: message)
                case .end(nil): continuation.resume(returning: nil)
                case .end(let error?): continuation.resume(throwing: error)
                case .wait: break
                }
            }
        } onCancel: {
            cancel()
        }
    }

    public struct Messages: AsyncSequence, Sendable {
        let stream: RPCClientStream

        public func makeAsyncIterator() -> Iterator { Iterator(stream: stream) }

        public struct Iterator: AsyncIteratorProtocol {
            let stream: RPCClientStream
            public mutating func next() async throws -> ByteBuffer? { try await stream.next() }
        }
    }
}

/// Messages between the connection's loop and the task that reads them.
private struct Inbox {
    typealias Waiter = CheckedContinuation<ByteBuffer?, any Error>
    enum Next {
        case message(ByteBuffer)
        case end(RPCError?)
        case wait
    }

    private let windowStepBytes: Int
    private var messages = CircularBuffer<(message: ByteBuffer, windowBytes: Int)>()
    private var waiter: Waiter?
    private var hasEnded = false
    private var error: RPCError?
    private var takenBytes = 0

    /// - Parameter windowStepBytes: the window is opened for this much at a time, not for each message.
    init(windowStepBytes: Int) { self.windowStepBytes = windowStepBytes }

    mutating func deliver(_ message: ByteBuffer, windowBytes: Int) -> (Waiter?, freedBytes: Int) {
        guard !hasEnded else { return (nil, 0) }
        guard let waiter = waiter.take() else {
            messages.append((message, windowBytes))
            return (nil, 0)
        }
        return (waiter, free(windowBytes))
    }

    mutating func deliverEnd(_ error: RPCError?) -> Waiter? {
        guard !hasEnded else { return nil }
        hasEnded = true
        self.error = error
        return waiter.take()
    }

    mutating func take(orWait continuation: Waiter) -> (Next, freedBytes: Int) {
        if let (message, windowBytes) = messages.popFirst() { return (.message(message), free(windowBytes)) }
        if hasEnded { return (.end(error), 0) }
        precondition(waiter == nil, "a stream's messages have one reader")
        waiter = continuation
        return (.wait, 0)
    }

    private mutating func free(_ bytes: Int) -> Int {
        takenBytes += bytes
        guard takenBytes >= windowStepBytes else { return 0 }
        defer { takenBytes = 0 }
        return takenBytes
    }
}
