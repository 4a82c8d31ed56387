import NIOCore

/// The request side of one call after its head: messages out of DATA, and how many there may be.
///
/// A method that takes one message gets it when the client has half-closed, so that a call with a
/// second one never reaches the service.
struct RequestBody {
    enum Step: Equatable {
        case message(ByteBuffer)
        /// The client has half-closed a stream of messages.
        case end
        case failure(GRPCStatus)
        case needsMore
    }

    private var clientStreaming: Bool
    private var reader: MessageReader
    private var held: ByteBuffer?

    init(clientStreaming: Bool, maxMessageBytes: Int) {
        self.clientStreaming = clientStreaming
        reader = MessageReader(maxMessageBytes: maxMessageBytes)
    }

    /// Begins anew for another call.
    mutating func renew(clientStreaming: Bool) {
        self.clientStreaming = clientStreaming
        discard()
    }

    /// Lets go of what it holds.
    mutating func discard() {
        reader.discard()
        held = nil
    }

    /// Bytes kept of a message that is not whole yet.
    var bufferedBytes: Int { reader.bufferedBytes }

    /// Takes the next step off `chunk`. Call until it answers `.needsMore` or `.failure`.
    mutating func next(from chunk: inout ByteBuffer) -> Step {
        while true {
            switch reader.next(from: &chunk) {
            case .needsMore: return .needsMore
            case .failure(let status): return .failure(status)
            case .message(let message):
                if clientStreaming { return .message(message) }
                guard held == nil else {
                    return .failure(GRPCStatus(.internal, "the method takes one message and got a second"))
                }
                held = message
            }
        }
    }

    /// The client has half-closed.
    mutating func end() -> Step {
        if reader.isWithinMessage { return .failure(GRPCStatus(.internal, "the request ended within a message")) }
        if clientStreaming { return .end }
        guard let message = held.take() else {
            return .failure(GRPCStatus(.internal, "the method takes one message and got none"))
        }
        return .message(message)
    }
}
