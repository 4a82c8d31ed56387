import Raft
import RocksDB

/// One record of the log: the entries of one append.
///
///     format        1 byte, 1
///     checksum      4, CRC-32C of all that follows
///     first index   8
///     count         4
///     predecessor   4, the checksum of the record before; 0 for a log's first
///     term before   8, the term of the entry before the first
///     entries       each: term 8, kind 1, length 4, payload
///
/// Integers are little-endian. The predecessor's checksum and term chain the records: indexes alone would still
/// look whole when a truncation and its rewrite were lost between two older and newer records.
struct LogRecord {
    var checksum: UInt32
    var predecessorChecksum: UInt32
    var predecessorTerm: Term
    var entries: [Entry]

    static let format: UInt8 = 1
    private static let headerSize = 29
    private static let entryHeaderSize = 13

    /// The key that a record with this first index is stored under.
    static func key(_ first: LogIndex) -> [UInt8] {
        var key: [UInt8] = []
        key.appendBigEndian(first.rawValue)
        return key
    }

    /// The record's bytes and its checksum. `entries` is not empty.
    static func encode(
        _ entries: [Entry], predecessorChecksum: UInt32, predecessorTerm: Term
    ) -> (bytes: [UInt8], checksum: UInt32) {
        let size = entries.reduce(headerSize) { $0 + entryHeaderSize + $1.payload.count }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size)
        bytes.append(format)
        bytes.appendLittleEndian(UInt32(0))
        bytes.appendLittleEndian(entries[0].index.rawValue)
        bytes.appendLittleEndian(UInt32(entries.count))
        bytes.appendLittleEndian(predecessorChecksum)
        bytes.appendLittleEndian(predecessorTerm.rawValue)
        for entry in entries {
            bytes.appendLittleEndian(entry.term.rawValue)
            bytes.append(entry.kind.rawValue)
            bytes.appendLittleEndian(UInt32(entry.payload.count))
            bytes.append(contentsOf: entry.payload)
        }
        let checksum = bytes.withUnsafeMutableBytes { bytes in
            let checksum = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[5...]))
            bytes.storeBytes(of: checksum.littleEndian, toByteOffset: 1, as: UInt32.self)
            return checksum
        }
        return (bytes, checksum)
    }

    enum DecodingFailure: Error, CustomStringConvertible {
        case unknownFormat(UInt8)
        case checksum, malformed
        var description: String {
            switch self {
            case .unknownFormat(let format): "has the unknown format \(format)"
            case .checksum: "does not match its checksum"
            case .malformed: "is malformed"
            }
        }
    }

    init(decoding bytes: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer) throws(DecodingFailure) {
        var reader = ByteReader(bytes)
        var keyReader = ByteReader(key)
        guard let format: UInt8 = reader.littleEndian() else { throw .malformed }
        guard format == Self.format else { throw .unknownFormat(format) }
        guard let checksum: UInt32 = reader.littleEndian() else { throw .malformed }
        guard CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[reader.offset...])) == checksum else {
            throw .checksum
        }
        guard let first: UInt64 = reader.littleEndian(), let count: UInt32 = reader.littleEndian(),
            let predecessorChecksum: UInt32 = reader.littleEndian(),
            let predecessorTerm: UInt64 = reader.littleEndian(),
            keyReader.bigEndian(UInt64.self) == first, keyReader.remaining == 0,
            count > 0, Int(count) <= reader.remaining / Self.entryHeaderSize, first > 0, first < UInt64(Int64.max)
        else { throw .malformed }
        self.checksum = checksum
        self.predecessorChecksum = predecessorChecksum
        self.predecessorTerm = Term(predecessorTerm)
        entries = []
        entries.reserveCapacity(Int(count))
        for position in 0..<UInt64(count) {
            guard let term: UInt64 = reader.littleEndian(), let kind: UInt8 = reader.littleEndian(),
                let kind = Entry.Kind(rawValue: kind), let length: UInt32 = reader.littleEndian(),
                let payload = reader.take(Int(length))
            else { throw .malformed }
            entries.append(
                Entry(term: Term(term), index: LogIndex(first + position), kind: kind, payload: [UInt8](payload)))
        }
        guard reader.remaining == 0 else { throw .malformed }
    }
}

/// A small value stored with a format byte and a checksum: marks and notes.
enum SealedNote {
    static let format: UInt8 = 1

    static func seal(_ content: [UInt8]) -> [UInt8] {
        var bytes = [format]
        bytes.appendLittleEndian(content.withUnsafeBytes { CRC32C.checksum($0) })
        return bytes + content
    }

    /// The content, or nil when the bytes are not what was sealed.
    static func open(_ bytes: [UInt8]) -> [UInt8]? {
        bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            guard reader.littleEndian(UInt8.self) == format, let checksum: UInt32 = reader.littleEndian(),
                let content = reader.take(reader.remaining), CRC32C.checksum(content) == checksum
            else { return nil }
            return [UInt8](content)
        }
    }
}
