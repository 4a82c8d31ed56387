import Synchronization

/// Messages of many senders for one reader, who takes all that wait at once.
final class Mailbox<Message: Sendable>: Sendable {
    private let waiting = Mutex<[Message]>([])
    private let bell: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation

    init() { (bell, ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    /// From any thread; in the order of the calls.
    func post(_ message: Message) {
        waiting.withLock { $0.append(message) }
        ring.yield()
    }

    /// What waits, in order, whenever something does; ends when the reading task is cancelled.
    func batches() -> AsyncMapSequence<AsyncStream<Void>, [Message]> {
        bell.map { [self] in
            waiting.withLock { messages in
                defer { messages = [] }
                return messages
            }
        }
    }
}
