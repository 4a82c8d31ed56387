import Raft
import RocksDB
import Store

/// The open database of a state: reads that are safe from any thread, shared by its writer and all its readers.
public final class StateFiles: Sendable {
    let database: Database
    /// The directory, one of the state's generations.
    public var path: String { database.path }

    /// Compaction keeps up with one writer on few cores; the write buffer bounds memory and the flush's burst.
    private static let settings = """
        compression=kNoCompression;allow_concurrent_memtable_write=false;write_buffer_size=33554432;\
        max_write_buffer_number=4;keep_log_file_num=4;info_log_level=WARN_LEVEL;paranoid_checks=true;\
        max_background_jobs=2;target_file_size_base=67108864;\
        block_based_table_factory={block_cache=33554432;format_version=5}
        """

    /// Opens the state at `path`, made if missing. A state that is only being received need not be flushed when it
    /// is closed.
    init(path: String, access: Database.Access = .readWrite, flushesWhenClosed: Bool = true) throws {
        let settings = Self.settings + (flushesWhenClosed ? "" : ";avoid_flush_during_shutdown=true")
        database = try openDatabase(path, settings: settings, access: access, named: "state")
    }

    /// The applied mark as committed; index 0 in a fresh state.
    public func applied() throws -> AppliedMark { try mark(StateFormat.markKey) ?? AppliedMark() }

    /// Whether nothing was ever committed here. A member's state has a mark from its making on.
    func isBlank() throws -> Bool { try mark(StateFormat.markKey) == nil }

    /// The applied mark as a crash would leave it.
    public func durableApplied() throws -> AppliedMark {
        try mark(StateFormat.markKey, tier: .persisted) ?? AppliedMark()
    }

    /// The mark of the snapshot that the state was installed from; nil in one that grew from nothing.
    func installed() throws -> AppliedMark? { try mark(StateFormat.installedKey) }

    /// Bytes on disk and in memory that the state takes, and of these what is not waiting to be deleted: an estimate.
    public var size: (total: Int, inUse: Int) {
        func property(_ name: String) -> Int { Int(database.integerProperty("rocksdb." + name) ?? 0) }
        let memory = property("cur-size-all-mem-tables")
        return (property("total-sst-files-size") + memory, property("live-sst-files-size") + memory)
    }

    func record(_ key: HistoryKey) throws -> [UInt8]? {
        try reading {
            try key.withBytes { bytes in
                try database.get(bytes) { value in try value.map { [UInt8](try content($0)) } }
            }
        }
    }

    func scan(
        from first: Revision, through last: Revision,
        _ body: (_ key: HistoryKey, _ record: UnsafeRawBufferPointer) throws -> Bool
    ) throws {
        guard first <= last else { return }
        // The smallest key after everything at `last`.
        let end = HistoryKey(last, tombstone: true).bytes + [0]
        var cursor = database.cursor(from: HistoryKey(first, tombstone: false).bytes, to: end)
        while try reading({ try cursor.advance() }) {
            let goesOn = try cursor.withEntry { key, value in
                guard let key = HistoryKey(key) else { throw damaged("a key of its history is malformed") }
                return try body(key, try content(value))
            }
            if !goesOn { return }
        }
    }

    func note(_ key: [UInt8]) throws -> [UInt8]? {
        try reading {
            try StateFormat.noteKey(key).withUnsafeBytes { key in
                try database.get(key) { value in try value.map { [UInt8](try content($0)) } }
            }
        }
    }

    func scanNotes(prefix: [UInt8], _ body: (_ key: [UInt8], _ value: [UInt8]) throws -> Bool) throws {
        let prefix = StateFormat.noteKey(prefix)
        var cursor = database.cursor(from: prefix, to: StateFormat.end(ofPrefix: prefix))
        while try reading({ try cursor.advance() }) {
            let goesOn = try cursor.withEntry { key, value in
                try body([UInt8](key.dropFirst()), [UInt8](try content(value)))
            }
            if !goesOn { return }
        }
    }

    /// Reads everything, in order, and checks each key's and value's form.
    func readAll(_ body: (_ isEvent: Bool) -> Void) throws {
        var cursor = database.cursor(from: [], to: [0xff], fillCache: false)
        while try reading({ try cursor.advance() }) {
            try cursor.withEntry { key, value in
                _ = try content(value)
                switch key.first {
                case StateFormat.historyPrefix:
                    guard HistoryKey(key) != nil else { throw damaged("a key of its history is malformed") }
                    body(true)
                case StateFormat.notePrefix:
                    body(false)
                default:
                    guard key.elementsEqual(StateFormat.markKey) || key.elementsEqual(StateFormat.installedKey) else {
                        throw damaged("it has a key of no known kind")
                    }
                }
            }
        }
    }

    private func mark(_ key: [UInt8], tier: Database.ReadTier = .all) throws -> AppliedMark? {
        try reading {
            try key.withUnsafeBytes { key in
                try database.get(key, tier: tier) { value in
                    guard let value else { return nil }
                    guard let mark = AppliedMark(decoding: try content(value)) else {
                        throw damaged("a mark of it is malformed")
                    }
                    return mark
                }
            }
        }
    }

    /// RocksDB's errors, with what to do.
    private func reading<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try body() } catch let error as RocksDBError { throw StorageError(reading: "state", error) }
    }

    /// A stored value without its format byte.
    private func content(_ value: UnsafeRawBufferPointer) throws -> UnsafeRawBufferPointer {
        guard let format = value.first else { throw damaged("a value is empty") }
        guard format == StateFormat.version else {
            throw StorageError(
                .unknownFormat, path,
                "the state in \(path) has a value of format \(format); it was written by a newer version, which must be run on it"
            )
        }
        return UnsafeRawBufferPointer(rebasing: value.dropFirst())
    }

    private func damaged(_ what: String) -> StorageError {
        StorageError(
            .corruption, path,
            "the state in \(path) is damaged: \(what); \(StorageError.rejoin)")
    }
}
