import GRPC
import NIOCore

/// Writes protobuf fields straight into a buffer, for the answers that are too frequent to build as messages first.
/// Fields at their default are left out, as proto3 has it.
extension ByteBuffer {
    @inline(__always)
    mutating func writeVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        writeInteger(UInt8(truncatingIfNeeded: rest))
    }

    /// - Parameter field: the field's number, at most 15 (one tag byte).
    @inline(__always)
    mutating func writeVarintField(_ field: UInt8, _ value: UInt64) {
        guard value != 0 else { return }
        writeInteger(field << 3)
        writeVarint(value)
    }

    @inline(__always)
    mutating func writeBytesField(_ field: UInt8, _ bytes: [UInt8]) {
        writeInteger(field << 3 | 2)
        writeVarint(UInt64(bytes.count))
        writeBytes(bytes)
    }
}

/// `etcdserverpb.ResponseHeader`.
struct ResponseHeader: Sendable {
    var clusterID: UInt64
    var memberID: UInt64
    var revision: Int64
    var term: UInt64

    private var encodedCount: Int {
        func field(_ value: UInt64) -> Int { value == 0 ? 0 : 1 + varintCount(value) }
        return field(clusterID) + field(memberID) + field(UInt64(bitPattern: revision)) + field(term)
    }

    /// As field 1 of an answer.
    func write(into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt8(1 << 3 | 2))
        buffer.writeVarint(UInt64(encodedCount))
        buffer.writeVarintField(1, clusterID)
        buffer.writeVarintField(2, memberID)
        buffer.writeVarintField(3, UInt64(bitPattern: revision))
        buffer.writeVarintField(4, term)
    }
}

private func varintCount(_ value: UInt64) -> Int {
    value == 0 ? 1 : (64 - value.leadingZeroBitCount + 6) / 7
}

/// Reads the fields of one protobuf message from bytes that nobody vouches for.
struct ProtoReader {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    /// - Parameter bytes: must outlive the reader.
    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    enum Value {
        case varint(UInt64)
        case bytes(UnsafeRawBufferPointer)
        /// A fixed-width field: of no message here, skipped as unknown.
        case fixed
    }

    /// The next field, or nil at the end.
    mutating func next() throws(GRPCStatus) -> (field: UInt64, value: Value)? {
        guard position < bytes.count else { return nil }
        let tag = try varint()
        let field = tag >> 3
        guard field != 0 else { throw .malformed }
        switch tag & 7 {
        case 0: return (field, .varint(try varint()))
        case 1: return (field, try skip(8))
        case 2:
            let count = try varint()
            guard count <= UInt64(bytes.count - position) else { throw .malformed }
            let start = position
            position += Int(count)
            return (field, .bytes(UnsafeRawBufferPointer(rebasing: bytes[start..<position])))
        case 5: return (field, try skip(4))
        default: throw .malformed
        }
    }

    private mutating func skip(_ count: Int) throws(GRPCStatus) -> Value {
        guard bytes.count - position >= count else { throw .malformed }
        position += count
        return .fixed
    }

    private mutating func varint() throws(GRPCStatus) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < bytes.count, shift < 64 {
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw .malformed
    }
}
