/// A checksum over the state at a revision, by which members compare themselves.
public struct HashKVResult: Sendable, Equatable {
    public var hash: UInt32
    /// The compaction it was computed under: hashes compare only if these are equal. -1 for none.
    public var compactedRevision: Int64
    /// The revision it is of.
    public var hashRevision: Int64
    /// The store's revision, for the answer's header.
    public var revision: Int64
}

extension RangeRead {
    /// etcd's HashKV: CRC-32C over the bytes `key`, then over key and value of each stored row up to `revision`.
    /// A row's key is its main revision, `_`, its sub revision and, for a deletion, `t`. Of the rows that a compaction covers, only
    /// those count that are their key's state at `revision`, whether or not the others were already removed; if no key lives
    /// at `revision`, all count.
    func hashKV(
        _ revision: Int64,
        _ scan: (Revision, Revision, (Revision, Bool, UnsafeRawBufferPointer) throws -> Bool) throws -> Void
    ) throws -> Result<HashKVResult, StoreError> {
        if let error = Self.check(revision, current: currentRevision, compacted: compactedRevision) {
            return .failure(error)
        }
        let target = revision <= 0 ? currentRevision : revision
        var anyLives = false
        index.visit(KeyRange(key: [], rangeEnd: [0])) { _, entry in
            anyLives = entry.newest(atOrBelow: target).map { !$0.isTombstone } ?? false
            return !anyLives
        }
        var checksum = CRC32C()
        checksum.add(Array("key".utf8))
        var rowKey: [UInt8] = []
        try scan(Revision(main: 0), Revision(main: target, sub: .max)) { row, tombstone, record in
            if row.main <= compactedRevision, anyLives {
                if tombstone { return true }
                let key = Array(record[try KeyValueLayout(record).key])
                guard index.entry(key)?.newest(atOrBelow: target)?.revision == row else { return true }
            }
            rowKey.removeAll(keepingCapacity: true)
            ByteWriter.bigEndian(row.main, to: &rowKey)
            rowKey.append(UInt8(ascii: "_"))
            ByteWriter.bigEndian(row.sub, to: &rowKey)
            if tombstone { rowKey.append(UInt8(ascii: "t")) }
            checksum.add(rowKey)
            checksum.add(record)
            return true
        }
        return .success(
            HashKVResult(
                hash: checksum.value, compactedRevision: compactedRevision, hashRevision: target,
                revision: currentRevision))
    }
}

/// The Castagnoli CRC (polynomial 0x1EDC6F41, reflected), eight bytes at a step by tables.
struct CRC32C {
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for index in 0..<256 {
            var crc = UInt32(index)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
            tables[index] = crc
        }
        for index in 256..<tables.count {
            let before = tables[index - 256]
            tables[index] = before >> 8 ^ tables[Int(before & 0xff)]
        }
        return tables
    }()

    private var state: UInt32 = ~0

    var value: UInt32 { ~state }

    mutating func add(_ bytes: [UInt8]) { bytes.withUnsafeBytes { add($0) } }

    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        Self.tables.withUnsafeBufferPointer { tables in
            var crc = state
            var offset = 0
            while offset &+ 8 <= bytes.count {
                let word =
                    UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) ^ UInt64(crc)
                crc = 0
                for index in 0..<8 {
                    crc ^= tables[(7 &- index) &* 256 &+ (Int(truncatingIfNeeded: word >> UInt64(8 &* index)) & 0xff)]
                }
                offset &+= 8
            }
            while offset < bytes.count {
                crc = crc >> 8 ^ tables[Int(crc & 0xff) ^ Int(bytes[offset])]
                offset &+= 1
            }
            state = crc
        }
    }
}
