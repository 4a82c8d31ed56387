import NIOCore

/// The unit a connection carries after its handshake:
///
///     length u32   kind u8   CRC-32C u32   payload (length bytes)
///
/// in network byte order; the checksum covers the kind and the payload. TCP's own is too weak for what a flipped bit
/// in a log entry would do.
struct Frame: Equatable {
    /// Raw values are the protocol's and never change meaning.
    enum Kind: UInt8 {
        /// A Raft message (`MessageCodec`).
        case raft = 1
        /// A request between members, and its answer: an id, then a body.
        case request = 2
        case response = 3
        /// The answer to a query (`ClusterReport`).
        case report = 4
        /// A snapshot: the Raft message it belongs to, chunks of its bytes, and their number at the end.
        case snapshotBegin = 5
        case snapshotChunk = 6
        case snapshotEnd = 7
        /// The receiver's last word on a snapshot: kept, or not and why.
        case snapshotAccepted = 8
        case snapshotRefused = 9
    }

    static let headerBytes = 9

    var kind: Kind
    var payload: ByteBuffer

    /// Appends a frame to `buffer`, the payload as `write` writes it.
    static func write(_ kind: Kind, into buffer: inout ByteBuffer, _ write: (inout ByteBuffer) -> Void) {
        let start = buffer.writerIndex
        buffer.writeRepeatingByte(0, count: headerBytes)
        write(&buffer)
        let length = buffer.writerIndex - start - headerBytes
        let checksum = buffer.withUnsafeReadableBytes { bytes in
            let payloadStart = bytes.count - length
            return Self.checksum(kind.rawValue, UnsafeRawBufferPointer(rebasing: bytes[payloadStart...]))
        }
        buffer.setInteger(UInt32(length), at: start)
        buffer.setInteger(kind.rawValue, at: start + 4)
        buffer.setInteger(checksum, at: start + 5)
    }

    fileprivate static func checksum(_ kind: UInt8, _ payload: UnsafeRawBufferPointer) -> UInt32 {
        let first = withUnsafeBytes(of: kind) { CRC32C.extend(0, over: $0) }
        return CRC32C.extend(first, over: payload)
    }
}

/// Takes frames off a stream of bytes.
struct FrameReader {
    private let maxPayloadBytes: Int
    private var buffer = ByteBuffer()

    init(maxPayloadBytes: Int) { self.maxPayloadBytes = maxPayloadBytes }

    /// The bytes that make no whole frame yet.
    var pendingBytes: Int { buffer.readableBytes }

    mutating func append(_ bytes: ByteBuffer) {
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            buffer.discardReadBytes()
            buffer.writeImmutableBuffer(bytes)
        }
    }

    /// The next whole frame; nil while it has not arrived.
    mutating func next() throws(WireError) -> Frame? {
        guard let (length, kindByte, checksum) = buffer.peekMultipleIntegers(as: (UInt32, UInt8, UInt32).self) else {
            return nil
        }
        guard Int(length) <= maxPayloadBytes else {
            throw WireError("a frame of \(length) bytes, over the limit of \(maxPayloadBytes)")
        }
        guard let kind = Frame.Kind(rawValue: kindByte) else { throw WireError("a frame of unknown kind \(kindByte)") }
        guard buffer.readableBytes >= Frame.headerBytes + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: Frame.headerBytes)
        guard let payload = buffer.readSlice(length: Int(length)) else { return nil }
        guard payload.withUnsafeReadableBytes({ Frame.checksum(kindByte, $0) }) == checksum else {
            throw WireError("a frame whose checksum does not match")
        }
        return Frame(kind: kind, payload: payload)
    }
}
