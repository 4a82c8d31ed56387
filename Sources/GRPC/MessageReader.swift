import NIOCore

/// Cuts a call's body into gRPC messages: one byte of flags, four of length (big endian), the message.
///
/// DATA frames may split a message anywhere and may hold several. A message that lies within one
/// chunk is a slice of it, not a copy. A declared length is judged before any byte is reserved for it.
struct MessageReader {
    enum Element: Equatable {
        case message(ByteBuffer)
        /// The chunk is used up; the next one goes on where it ended.
        case needsMore
        /// The body cannot be read any further.
        case failure(GRPCStatus)
    }

    static let prefixBytes = 5

    /// The longest message accepted, in bytes.
    let maxMessageBytes: Int
    /// What has arrived of an element that no chunk held whole.
    private var partial: ByteBuffer?

    init(maxMessageBytes: Int) { self.maxMessageBytes = maxMessageBytes }

    /// Whether the body stops within a message.
    var isWithinMessage: Bool { partial != nil }

    /// Bytes kept of an unfinished message.
    var bufferedBytes: Int { partial?.readableBytes ?? 0 }

    /// Lets go of an unfinished message.
    mutating func discard() { partial = nil }

    /// Takes the next message off `chunk`. Call until it answers `.needsMore` or `.failure`.
    mutating func next(from chunk: inout ByteBuffer) -> Element {
        if partial != nil { return nextContinuingPartial(from: &chunk) }
        guard chunk.readableBytes > 0 else { return .needsMore }
        guard let flags = chunk.getInteger(at: chunk.readerIndex, as: UInt8.self),
            let declared = chunk.getInteger(at: chunk.readerIndex + 1, as: UInt32.self),
            chunk.readableBytes >= Self.prefixBytes
        else {
            partial = chunk.readSlice(length: chunk.readableBytes)
            return .needsMore
        }
        if let refusal = judge(flags: flags, declaredBytes: Int(declared)) { return .failure(refusal) }
        guard chunk.readableBytes >= Self.prefixBytes + Int(declared) else {
            // Copied: a slice would keep the whole read buffer alive until the rest arrives.
            var copy = ByteBufferAllocator().buffer(
                capacity: min(Self.prefixBytes + Int(declared), max(4096, 2 * chunk.readableBytes)))
            copy.writeBuffer(&chunk)
            partial = copy
            return .needsMore
        }
        chunk.moveReaderIndex(forwardBy: Self.prefixBytes)
        return chunk.readSlice(length: Int(declared)).map { .message($0) } ?? .needsMore
    }

    private mutating func nextContinuingPartial(from chunk: inout ByteBuffer) -> Element {
        guard var held = partial.take() else { return .needsMore }
        if held.readableBytes < Self.prefixBytes {
            move(upTo: Self.prefixBytes - held.readableBytes, from: &chunk, to: &held)
        }
        guard held.readableBytes >= Self.prefixBytes,
            let flags = held.getInteger(at: held.readerIndex, as: UInt8.self),
            let declared = held.getInteger(at: held.readerIndex + 1, as: UInt32.self)
        else {
            partial = held
            return .needsMore
        }
        if let refusal = judge(flags: flags, declaredBytes: Int(declared)) { return .failure(refusal) }
        let whole = Self.prefixBytes + Int(declared)
        move(upTo: whole - held.readableBytes, from: &chunk, to: &held)
        guard held.readableBytes == whole else {
            partial = held
            return .needsMore
        }
        held.moveReaderIndex(forwardBy: Self.prefixBytes)
        return .message(held)
    }

    private func move(upTo count: Int, from chunk: inout ByteBuffer, to held: inout ByteBuffer) {
        if var slice = chunk.readSlice(length: min(count, chunk.readableBytes)) { held.writeBuffer(&slice) }
    }

    /// The refusals are grpc-go's, code and text.
    private func judge(flags: UInt8, declaredBytes: Int) -> GRPCStatus? {
        switch flags {
        case 0: break
        // Encodings other than identity are refused with the headers, so this one lies.
        case 1: return GRPCStatus(.internal, "grpc: compressed flag set with identity or empty encoding")
        default: return GRPCStatus(.internal, "grpc: received unexpected payload format \(flags)")
        }
        if declaredBytes > maxMessageBytes {
            return GRPCStatus(
                .resourceExhausted,
                "grpc: received message larger than max (\(declaredBytes) vs. \(maxMessageBytes))")
        }
        return nil
    }
}
