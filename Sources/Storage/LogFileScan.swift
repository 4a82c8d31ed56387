import RocksDB

/// A check of one file in RocksDB's log format (write-ahead logs and manifests), before RocksDB reads it.
///
/// The format: blocks of 32 KiB hold fragments; a fragment is a masked CRC-32C (4 bytes, over what follows the
/// length), a length (2), a type (1), for recycled files the file's number (4), and the payload. A record is one
/// fragment of type `full`, or a `first`, any number of `middle` and a `last`. Fewer than 7 bytes at a block's end
/// are padding. A write-ahead log's record begins with the sequence number of its first change (8) and how many
/// changes it makes (4), so that each says where the next has to begin, in the next file too.
///
/// RocksDB's own recovery drops whatever follows some kinds of damage and says nothing, and a record that is whole but
/// out of its place aborts the process by an assertion. Here damage is told apart by what is after it: each record was
/// synced before the next was begun, so only a record that nothing follows can be a write that the machine's stop
/// interrupted, and then it is cut short or has a sector that never arrived.
struct LogFileScan {
    enum Verdict: Equatable {
        case whole
        /// The last record, which begins at `offset`, was being written when the machine stopped.
        case torn(offset: Int)
        /// The record that begins at `offset` is not what was written.
        case damaged(offset: Int)
        /// The record that begins at `offset` is whole, but not the one that was written after what is before it.
        case misplaced(offset: Int, sequence: UInt64, due: UInt64)
    }

    /// What the records hold.
    enum Contents: Equatable {
        /// A manifest's changes to the list of files.
        case edits
        /// A write-ahead log's batches. The first is due at a sequence number, if that is known, or else after one.
        case batches(due: UInt64?, after: UInt64 = 0)
    }

    static let blockSize = 32768
    static let headerSize = 7
    private static let recyclableHeaderSize = 11
    private static let sectorSize = 512
    private static let batchHeaderSize = 12

    private let bytes: UnsafeRawBufferPointer

    /// Scans a file's bytes. `due` is where the batch after the file's last whole one has to begin; `edits` are a
    /// manifest's whole records.
    static func scan(
        _ bytes: UnsafeRawBufferPointer, _ contents: Contents
    ) -> (verdict: Verdict, due: UInt64?, edits: [[UInt8]]) {
        let scan = LogFileScan(bytes: bytes)
        var due: UInt64?
        var edits: [[UInt8]] = []
        switch contents {
        case .edits:
            let verdict = scan.verdict(keeping: .max) { edit, _ in
                edits.append(edit)
                return nil
            }
            return (verdict, nil, edits)
        case .batches(let first, let after):
            due = first
            let verdict = scan.verdict(keeping: batchHeaderSize) { head, offset in
                guard let (sequence, count) = batchHeader(head) else { return .damaged(offset: offset) }
                if due.map({ $0 != sequence }) ?? (sequence <= after) {
                    return .misplaced(offset: offset, sequence: sequence, due: due ?? after + 1)
                }
                due = sequence + UInt64(count)
                return nil
            }
            return (verdict, due, [])
        }
    }

    private enum Fragment {
        case padding(end: Int)
        case valid(starts: Bool, ends: Bool, payload: Range<Int>)
        /// The header, if it can be believed, says where the fragment ends; past the file's end for one cut short.
        case invalid(end: Int?)
    }

    /// Follows the records, and shows each one's first bytes, up to `limit`, to `judge`, which may find it wrong.
    private func verdict(
        keeping limit: Int, _ judge: (_ head: [UInt8], _ offset: Int) -> Verdict?
    ) -> Verdict {
        var offset = 0
        var recordStart: Int?
        var head: [UInt8] = []
        while offset < bytes.count {
            switch fragment(at: offset) {
            case .padding(let end):
                offset = end
            case .valid(let starts, let ends, let payload):
                // A fragment must begin a record exactly when none is open.
                guard starts == (recordStart == nil) else { return verdict(onDamageAt: recordStart ?? offset) }
                let start = recordStart ?? offset
                head.append(contentsOf: bytes[payload].prefix(limit - head.count))
                offset = payload.upperBound
                recordStart = ends ? nil : start
                guard ends else { continue }
                if let wrong = judge(head, start) { return wrong }
                head.removeAll(keepingCapacity: true)
            case .invalid:
                return verdict(onDamageAt: recordStart ?? offset)
            }
        }
        return recordStart.map { verdict(onDamageAt: $0) } ?? .whole
    }

    private static func batchHeader(_ head: [UInt8]) -> (sequence: UInt64, count: UInt32)? {
        head.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            // Sequence numbers have 56 bits.
            guard let sequence: UInt64 = reader.littleEndian(), let count: UInt32 = reader.littleEndian(),
                sequence >> 56 == 0
            else { return nil }
            return (sequence, count)
        }
    }

    private func verdict(onDamageAt start: Int) -> Verdict {
        if validRecordBegins(after: start) { return .damaged(offset: start) }
        return hasZeroedSector(from: start) || isCutShort(from: start) ? .torn(offset: start) : .damaged(offset: start)
    }

    private func fragment(at offset: Int) -> Fragment {
        let blockEnd = offset - offset % Self.blockSize + Self.blockSize
        guard offset + Self.headerSize <= blockEnd else { return .padding(end: blockEnd) }
        guard offset + Self.headerSize <= bytes.count else { return .invalid(end: blockEnd) }
        let stored = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        let length = Int(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt16.self)))
        let type = bytes[offset + 6]
        if stored == 0, length == 0, type == 0, blockEnd - offset < Self.recyclableHeaderSize {
            return .padding(end: blockEnd)
        }
        // 1...4: full, first, middle, last; 5...8: the same in a recycled file; 9: the file's compression, a record
        // of its own, which our logs do not have.
        let headerSize = (5...8).contains(type) ? Self.recyclableHeaderSize : Self.headerSize
        let end = offset + headerSize + length
        guard (1...8).contains(type), end <= blockEnd else { return .invalid(end: nil) }
        guard end <= bytes.count,
            CRC32C.masked(CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[offset + 6..<end]))) == stored
        else { return .invalid(end: end) }
        let kind = (type - 1) % 4 + 1
        return .valid(starts: kind <= 2, ends: kind == 1 || kind == 4, payload: offset + headerSize..<end)
    }

    /// Whether any record begins after `start` and checks. Where headers cannot be followed, every byte is tried.
    private func validRecordBegins(after start: Int) -> Bool {
        var offset = start
        while offset < bytes.count {
            switch fragment(at: offset) {
            case .padding(let end): offset = end
            case .valid(let starts, _, let payload):
                if starts, offset > start { return true }
                offset = payload.upperBound
            case .invalid: offset += 1
            }
        }
        return false
    }

    /// Whether a disk sector, or the part of one, that the record takes is all zeros: written to the file's length,
    /// but not to the disk.
    private func hasZeroedSector(from start: Int) -> Bool {
        var offset = start
        while offset < bytes.count {
            let end = min(offset - offset % Self.sectorSize + Self.sectorSize, bytes.count)
            if bytes[offset..<end].allSatisfy({ $0 == 0 }) { return true }
            offset = end
        }
        return false
    }

    /// Whether the record's headers, followed from one to the next, lead past the end of the file, or end before
    /// its last fragment.
    private func isCutShort(from start: Int) -> Bool {
        var offset = start
        var isOpen = false
        while offset < bytes.count {
            switch fragment(at: offset) {
            case .padding(let end): offset = end
            case .valid(_, let ends, let payload): (isOpen, offset) = (!ends, payload.upperBound)
            case .invalid(let end):
                guard let end else { return false }
                if end > bytes.count { return true }
                (isOpen, offset) = (false, end)
            }
        }
        return isOpen
    }
}
