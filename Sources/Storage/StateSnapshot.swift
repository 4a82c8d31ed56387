import Raft
import RocksDB
import Synchronization

/// The state at one applied index, to be streamed to another member. Holds that moment on disk while it lives.
///
/// The stream is a sequence of chunks, each of which checks on its own and knows its place:
///
///     format     1 byte, 1
///     checksum   4, CRC-32C of all that follows
///     sequence   8, from 0
///     kind       1
///     content    mark (kind 0, the first): the applied mark
///                data (kind 1): pairs of key length 4, value length 4, key, value, in key order
///                end  (kind 2, the last): the number of pairs 8, CRC-32C of all former chunks' checksums 4
public final class StateSnapshot: Sendable {
    /// What the snapshot stands for.
    public let mark: AppliedMark
    private let stream: Mutex<Stream>

    init(_ snapshot: Snapshot, of files: StateFiles, mark: AppliedMark) {
        self.mark = mark
        stream = Mutex(Stream(snapshot, of: files.database, mark: mark))
    }

    /// The next chunk, of about `maxBytes` at most, but with at least one record in it; nil after the last.
    /// Callable from any thread; waits for the disk.
    public func nextChunk(maxBytes: Int = 1 << 20) throws -> [UInt8]? {
        try stream.withLock { try $0.next(maxBytes: maxBytes) }
    }

    private struct Stream: ~Copyable {
        private let mark: AppliedMark
        private var cursor: Cursor
        private var framing = SnapshotFraming()
        private var pairs: UInt64 = 0
        private var phase = Phase.mark
        private enum Phase { case mark, data, end, done }

        init(_ snapshot: Snapshot, of database: Database, mark: AppliedMark) {
            self.mark = mark
            cursor = database.cursor(from: [], to: StateFormat.markKey + [0], of: snapshot, fillCache: false)
        }

        mutating func next(maxBytes: Int) throws -> [UInt8]? {
            switch phase {
            case .mark:
                phase = .data
                return framing.seal(.mark, mark.encoded(configuration: mark.configuration.encoded))
            case .data:
                var content: [UInt8] = []
                content.reserveCapacity(maxBytes)
                while content.count < maxBytes {
                    guard try cursor.advance() else {
                        phase = .end
                        if content.isEmpty { return try next(maxBytes: maxBytes) }
                        break
                    }
                    pairs += 1
                    cursor.withEntry { key, value in
                        content.appendLittleEndian(UInt32(key.count))
                        content.appendLittleEndian(UInt32(value.count))
                        content.append(contentsOf: key)
                        content.append(contentsOf: value)
                    }
                }
                return framing.seal(.data, content)
            case .end:
                phase = .done
                var content: [UInt8] = []
                content.appendLittleEndian(pairs)
                content.appendLittleEndian(framing.chain)
                return framing.seal(.end, content)
            case .done:
                return nil
            }
        }
    }
}

/// The frame around each chunk, kept in step on both sides.
struct SnapshotFraming {
    enum Kind: UInt8 { case mark, data, end }
    static let format: UInt8 = 1
    private static let headerSize = 14

    private var sequence: UInt64 = 0
    /// CRC-32C of the checksums of all chunks so far.
    private(set) var chain: UInt32 = 0

    mutating func seal(_ kind: Kind, _ content: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headerSize + content.count)
        bytes.append(Self.format)
        bytes.appendLittleEndian(UInt32(0))
        bytes.appendLittleEndian(sequence)
        bytes.append(kind.rawValue)
        bytes.append(contentsOf: content)
        let checksum = bytes.withUnsafeMutableBytes { bytes in
            let checksum = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[5...]))
            bytes.storeBytes(of: checksum.littleEndian, toByteOffset: 1, as: UInt32.self)
            return checksum
        }
        advance(past: checksum)
        return bytes
    }

    /// The content of the next chunk, or in words what is wrong with it.
    mutating func open(_ bytes: UnsafeRawBufferPointer) -> Result<(kind: Kind, content: UnsafeRawBufferPointer), Flaw> {
        var reader = ByteReader(bytes)
        guard let format: UInt8 = reader.littleEndian(), let checksum: UInt32 = reader.littleEndian() else {
            return .failure(Flaw("a chunk is too short"))
        }
        guard format == Self.format else { return .failure(Flaw("a chunk has the unknown format \(format)")) }
        guard CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[reader.offset...])) == checksum else {
            return .failure(Flaw("chunk \(sequence) does not match its checksum"))
        }
        guard let number: UInt64 = reader.littleEndian(), let kind: UInt8 = reader.littleEndian(),
            let kind = Kind(rawValue: kind), let content = reader.take(reader.remaining)
        else { return .failure(Flaw("chunk \(sequence) is malformed")) }
        guard number == sequence else { return .failure(Flaw("chunk \(number) came where chunk \(sequence) was due")) }
        advance(past: checksum)
        return .success((kind, content))
    }

    struct Flaw: Error {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private mutating func advance(past checksum: UInt32) {
        sequence += 1
        chain = withUnsafeBytes(of: checksum.littleEndian) { CRC32C.checksum($0, continuing: chain) }
    }
}
