import NIOCore
import Raft

/// What one member says to another.
public enum PeerMessage: Sendable, Equatable {
    /// A step of consensus. Its `to` and `from` are carried as they are.
    case raft(Message)
    /// Something asked of a member, and its answer, matched by an id that the asker chooses.
    case request(id: UInt64, body: [UInt8])
    case response(id: UInt64, body: [UInt8])

    /// Whether it may overtake the others. Appends and proposals may not: out of order they would be refused and sent
    /// again, or their order changed.
    var isUrgent: Bool {
        guard case .raft(let message) = self else { return false }
        return message.kind != .append && message.kind != .propose && message.kind != .snapshot
    }

    /// Roughly what it takes on the wire and in the queue.
    var estimatedBytes: Int {
        switch self {
        case .raft(let message): Frame.headerBytes + MessageCodec.estimatedBytes(message)
        case .request(_, let body), .response(_, let body): Frame.headerBytes + 8 + body.count
        }
    }

    func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .raft(let message):
            Frame.write(.raft, into: &buffer) { MessageCodec.encode(message, into: &$0) }
        case .request(let id, let body):
            Frame.write(.request, into: &buffer) {
                $0.writeInteger(id)
                $0.writeBytes(body)
            }
        case .response(let id, let body):
            Frame.write(.response, into: &buffer) {
                $0.writeInteger(id)
                $0.writeBytes(body)
            }
        }
    }

    /// - Throws: `WireError` for a frame that belongs on another kind of connection, or whose payload is malformed.
    init(_ frame: Frame) throws(WireError) {
        switch frame.kind {
        case .raft:
            self = .raft(try MessageCodec.decode(frame.payload))
        case .request, .response:
            var reader = WireReader(frame.payload)
            let id: UInt64 = try reader.integer("request id")
            let body = reader.remainder()
            self = frame.kind == .request ? .request(id: id, body: body) : .response(id: id, body: body)
        default:
            throw WireError("a frame of kind \(frame.kind) on a stream of messages")
        }
    }
}
