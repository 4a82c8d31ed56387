import Dispatch
import NIOConcurrencyHelpers
import NIOCore
import Raft

/// Where the bytes of a snapshot that comes in are kept. All calls come from one thread, in order; they may take their
/// time. The last is either a `finish` that returns or an `abort`.
public protocol SnapshotSink {
    /// Keeps the next bytes.
    func write(_ chunk: [UInt8]) throws
    /// All bytes were there. When this returns, the snapshot is durable and its sender is told so.
    func finish() throws
    /// The snapshot does not come to its end, or one of the calls before has thrown: what was kept is of no use.
    func abort()
}

/// One snapshot on its way from the event loop, which reads it, to the sink, which writes it, on a thread of its own.
final class SnapshotReceiver: Sendable {
    private enum Step {
        case chunk([UInt8])
        case end(totalBytes: UInt64)
        case lost
    }

    private struct State {
        var steps = CircularBuffer<Step>()
        var bufferedBytes = 0
        var receivedBytes: UInt64 = 0
        /// Whether the last step is among the steps: nothing may follow it.
        var isComplete = false
        /// Whether the sink has given up: what comes is passed over.
        var isRefused = false
    }

    let member: MemberID
    private let message: Message
    private let channel: any Channel
    private let transport: PeerTransport
    private let state = NIOLockedValueBox(State())
    private let arrivals = DispatchSemaphore(value: 0)

    init(_ message: Message, from member: MemberID, channel: any Channel, transport: PeerTransport) {
        self.message = message
        self.member = member
        self.channel = channel
        self.transport = transport
    }

    func start() {
        transport.snapshotThreads.submit { state in
            if state == .active { self.run() } else { self.channel.close(promise: nil) }
        }
    }

    // MARK: On the event loop

    /// Whether no more should be read for now. Once it is not, the channel is asked to read on.
    var isFull: Bool {
        state.withLockedValue { $0.bufferedBytes > transport.options.maxSnapshotBufferBytes && !$0.isRefused }
    }

    func receive(_ frame: Frame) throws(WireError) {
        var reader = WireReader(frame.payload)
        let step: Step
        switch frame.kind {
        case .snapshotChunk: step = .chunk(reader.remainder())
        case .snapshotEnd:
            step = .end(totalBytes: try reader.integer("snapshot size"))
            try reader.expectEnd()
        default: throw WireError("a frame of kind \(frame.kind) in a snapshot")
        }
        guard append(step) else { throw WireError("a frame after the end of a snapshot") }
    }

    func connectionEnded() { _ = append(.lost) }

    private func append(_ step: Step) -> Bool {
        let appended = state.withLockedValue { state in
            if state.isComplete { return false }
            if state.isRefused { return true }
            switch step {
            case .chunk(let bytes):
                state.bufferedBytes += bytes.count
                state.receivedBytes += UInt64(bytes.count)
            case .end, .lost: state.isComplete = true
            }
            state.steps.append(step)
            return true
        }
        arrivals.signal()
        return appended
    }

    // MARK: On the thread

    private func run() {
        guard let sink = transport.delegate.beginSnapshot(message, from: member) else {
            return refuse("the receiver does not want a snapshot now")
        }
        do {
            while true {
                switch nextStep() {
                case .chunk(let bytes):
                    try sink.write(bytes)
                case .end(let totalBytes):
                    let receivedBytes = state.withLockedValue { $0.receivedBytes }
                    guard receivedBytes == totalBytes else {
                        throw WireError("\(receivedBytes) bytes of a snapshot of \(totalBytes)")
                    }
                    try sink.finish()
                    return reply(.snapshotAccepted, "")
                case .lost:
                    return sink.abort()
                }
            }
        } catch {
            sink.abort()
            transport.logger.warning(
                "a snapshot could not be received", metadata: ["peer": "\(hex(member))", "reason": "\(error)"])
            refuse("\(error)")
        }
    }

    private func nextStep() -> Step {
        while true {
            arrivals.wait()
            let limit = transport.options.maxSnapshotBufferBytes
            let (step, resumes) = state.withLockedValue { state -> (Step?, Bool) in
                let wasFull = state.bufferedBytes > limit
                let step = state.steps.popFirst()
                if case .chunk(let bytes) = step { state.bufferedBytes -= bytes.count }
                return (step, wasFull && state.bufferedBytes <= limit)
            }
            if resumes { channel.read() }
            if let step { return step }
        }
    }

    private func refuse(_ reason: String) {
        state.withLockedValue { state in
            state.isRefused = true
            state.steps.removeAll()
            state.bufferedBytes = 0
        }
        channel.read()
        reply(.snapshotRefused, reason)
    }

    /// The sender closes the connection when it has the reply.
    private func reply(_ kind: Frame.Kind, _ text: String) {
        var buffer = channel.allocator.buffer(capacity: 64 + text.utf8.count)
        Frame.write(kind, into: &buffer) { $0.writeString(text) }
        channel.writeAndFlush(buffer, promise: nil)
    }
}
