import NIOCore

/// What a stream still has to send: framed messages in order, then the way it ends.
struct OutgoingBody {
    /// How the sending side of a stream ends after its last message.
    enum End: Equatable {
        /// The last DATA frame closes the stream (a client's half close).
        case halfClose
        /// Trailers with this status follow (a server's answer).
        case trailers(GRPCStatus)
    }

    enum Pulled: Equatable {
        case bytes(Int)
        /// `bytes` were the last ones.
        case lastBytes(Int, End)
        /// Nothing to send now; more may be appended.
        case nothing
    }

    private var buffer = ByteBuffer()
    private(set) var end: End?

    /// Bytes appended and not yet pulled.
    var bufferedBytes: Int { buffer.readableBytes }
    var isEmpty: Bool { buffer.readableBytes == 0 }

    /// Appends one message: the prefix and what `write` adds to the buffer.
    mutating func append(_ write: (inout ByteBuffer) -> Void) {
        precondition(end == nil, "a message after the end of the stream")
        if buffer.readerIndex > 0 { reclaim() }
        let start = buffer.writerIndex
        buffer.writeMultipleIntegers(UInt8(0), UInt32(0))
        write(&buffer)
        let length = buffer.writerIndex - start - MessageReader.prefixBytes
        buffer.setInteger(UInt32(length), at: start + 1)
    }

    mutating func finish(_ end: End) {
        precondition(self.end == nil, "a stream ends once")
        self.end = end
    }

    /// Copies the next bytes to `destination`.
    mutating func pull(into destination: UnsafeMutableRawBufferPointer) -> Pulled {
        let count = min(buffer.readableBytes, destination.count)
        if count > 0 {
            buffer.withUnsafeReadableBytes { destination.copyMemory(from: .init(rebasing: $0[..<count])) }
            buffer.moveReaderIndex(forwardBy: count)
        }
        if buffer.readableBytes == 0, let end { return .lastBytes(count, end) }
        return count > 0 ? .bytes(count) : .nothing
    }

    /// Drops everything unsent and releases the memory.
    mutating func discard() { buffer = ByteBuffer() }

    /// Begins anew for another stream; the memory stays if it is little.
    mutating func renew() {
        end = nil
        if buffer.capacity <= 4096 { buffer.clear() } else { discard() }
    }

    private mutating func reclaim() {
        if buffer.readableBytes == 0 {
            buffer.clear()
        } else if buffer.readerIndex > 1 << 16 && buffer.readerIndex > buffer.readableBytes {
            buffer.discardReadBytes()
        }
    }
}
