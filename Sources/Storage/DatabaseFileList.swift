/// The files of which a database consists, by its manifest: what RocksDB would look for, and name badly or not at all
/// when it is missing or cut short.
///
/// A manifest's record is a list of fields, each a tag (a varint) and a value whose form the tag decides; later records
/// amend earlier ones. Only what our databases have is understood here: one column family, and no blob files.
struct DatabaseFileList: Equatable {
    /// Tables in use and their sizes in bytes, by number.
    private(set) var tables: [UInt64: UInt64] = [:]
    /// Write-ahead logs that were synced when a newer one was begun, and how far, in bytes.
    private(set) var syncedLogs: [UInt64: UInt64] = [:]
    /// Logs with lower numbers are not read any more.
    private(set) var firstLog: UInt64 = 0
    /// The highest sequence number in a table: the logs' begin after it.
    private(set) var highestSequence: UInt64 = 0
    /// Logs with lower numbers were deleted. What a later record says of them comes too late: their sync was still
    /// being noted while a flush let them go.
    private var firstUndeletedLog: UInt64 = 0

    private enum Tag {
        static let comparator: UInt64 = 1
        static let logNumber: UInt64 = 2
        static let nextFileNumber: UInt64 = 3
        static let lastSequence: UInt64 = 4
        static let deletedFile: UInt64 = 6
        static let previousLogNumber: UInt64 = 9
        static let lowestLogToKeep: UInt64 = 10
        static let newFile: UInt64 = 103
        static let highestColumnFamily: UInt64 = 203
        /// From here on a value has its length before it, so that it can be passed over.
        static let skippable: UInt64 = 1 << 13
        static let logAddition: UInt64 = skippable + 7
        static let logDeletion: UInt64 = skippable + 8
        /// The last of the fields of a file's or a log's, which have tags of their own.
        static let end: UInt64 = 1
        static let syncedSize: UInt64 = 2
    }

    /// Reads a manifest's records; nil when one has a field that is not known here.
    init?(_ records: [[UInt8]]) {
        for record in records {
            let isUnderstood = record.withUnsafeBytes { bytes in
                var reader = ByteReader(bytes)
                while reader.remaining > 0 { guard read(&reader) else { return false } }
                return true
            }
            guard isUnderstood else { return nil }
        }
    }

    private mutating func read(_ reader: inout ByteReader) -> Bool {
        guard let tag = reader.varint() else { return false }
        switch tag {
        case Tag.comparator:
            return reader.prefixed() != nil
        case Tag.logNumber:
            guard let number = reader.varint() else { return false }
            firstLog = max(firstLog, number)
        case Tag.nextFileNumber, Tag.lastSequence, Tag.previousLogNumber, Tag.lowestLogToKeep, Tag.highestColumnFamily:
            return reader.varint() != nil
        case Tag.deletedFile:
            guard reader.varint() != nil, let number = reader.varint() else { return false }
            tables[number] = nil
        case Tag.newFile:
            return readTable(&reader)
        case Tag.skippable...:
            guard let value = reader.prefixed() else { return false }
            var fields = ByteReader(value)
            if tag == Tag.logAddition { return readLog(&fields) }
            if tag == Tag.logDeletion {
                guard let number = fields.varint() else { return false }
                firstUndeletedLog = max(firstUndeletedLog, number)
                syncedLogs = syncedLogs.filter { $0.key >= number }
            }
        default:
            return false
        }
        return true
    }

    private mutating func readTable(_ reader: inout ByteReader) -> Bool {
        guard reader.varint() != nil, let number = reader.varint(), let size = reader.varint(),
            reader.prefixed() != nil, reader.prefixed() != nil, reader.varint() != nil,
            let highest = reader.varint()
        else { return false }
        while let field = reader.varint() {
            if field == Tag.end {
                tables[number] = size
                highestSequence = max(highestSequence, highest)
                return true
            }
            guard reader.prefixed() != nil else { return false }
        }
        return false
    }

    private mutating func readLog(_ reader: inout ByteReader) -> Bool {
        guard let number = reader.varint() else { return false }
        while let field = reader.varint(), field != Tag.end {
            guard field == Tag.syncedSize, let size = reader.varint() else { return false }
            if number >= firstUndeletedLog { syncedLogs[number] = size }
        }
        return true
    }
}

extension ByteReader {
    /// A number in groups of seven bits, the lowest first; the highest bit of a byte says that more follow.
    mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte: UInt8 = littleEndian() else { return nil }
            value |= UInt64(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return value }
        }
        return nil
    }

    /// Bytes with their number before them.
    mutating func prefixed() -> UnsafeRawBufferPointer? {
        guard let count = varint(), count <= UInt64(remaining) else { return nil }
        return take(Int(count))
    }
}
