import CRocksDB
import Synchronization

/// An open RocksDB database. Closed when the last reference to it, or to a cursor or snapshot of it, goes.
///
/// Sendable because a `rocksdb_t` may be used from any number of threads at once (RocksDB's documented
/// guarantee), and the pointers held here are set once and only read until `deinit`.
public final class Database: @unchecked Sendable {
    public enum Access: Sendable {
        /// Opening recovers what is in the write-ahead log into tables; a missing database is made.
        case readWrite
        /// Changes nothing on the disk; what is in the write-ahead log is recovered into memory.
        case readOnly
    }

    public struct Options: Sendable {
        public var access: Access
        /// RocksDB's option string, `name=value;…`; an unknown name is an error.
        public var settings: String

        public init(settings: String, access: Access = .readWrite) {
            self.settings = settings
            self.access = access
        }
    }

    /// How far a write has gone when `write` returns.
    public enum Durability: Sendable {
        /// In the write-ahead log, and on the disk (`fdatasync`).
        case synced
        /// In the write-ahead log: survives the process, not the machine.
        case logged
        /// In memory only, until the next flush.
        case unlogged
    }

    public enum ReadTier: Sendable {
        case all
        /// Only what would survive a crash: flushed data when the writes skip the log.
        case persisted
    }

    public let path: String
    let handle: OpaquePointer
    private let options: OpaquePointer
    private let readOptions: OpaquePointer
    private let persistedReadOptions: OpaquePointer
    private let writeOptions: [OpaquePointer]
    private let isDestroyedWhenClosed = Atomic(false)

    public init(path: String, options settings: Options) throws(RocksDBError) {
        self.path = path
        let base: OpaquePointer = rocksdb_options_create()
        defer { rocksdb_options_destroy(base) }
        let options: OpaquePointer = rocksdb_options_create()
        do throws(RocksDBError) {
            try checked(path, "read the options of") {
                rocksdb_get_options_from_string(base, settings.settings, options, &$0)
            }
            rocksdb_options_set_create_if_missing(options, settings.access == .readWrite ? 1 : 0)
            handle = try checkedPointer(path, "open") {
                settings.access == .readWrite
                    ? rocksdb_open(options, path, &$0) : rocksdb_open_for_read_only(options, path, 0, &$0)
            }
        } catch {
            rocksdb_options_destroy(options)
            throw error
        }
        self.options = options
        readOptions = rocksdb_readoptions_create()
        rocksdb_readoptions_set_verify_checksums(readOptions, 1)
        persistedReadOptions = rocksdb_readoptions_create()
        rocksdb_readoptions_set_verify_checksums(persistedReadOptions, 1)
        rocksdb_readoptions_set_read_tier(persistedReadOptions, 2)
        writeOptions = [Durability.synced, .logged, .unlogged].map {
            let options: OpaquePointer = rocksdb_writeoptions_create()
            rocksdb_writeoptions_set_sync(options, $0 == .synced ? 1 : 0)
            rocksdb_writeoptions_disable_WAL(options, $0 == .unlogged ? 1 : 0)
            return options
        }
    }

    deinit {
        // Data written without a log is flushed by RocksDB as it closes.
        rocksdb_close(handle)
        if isDestroyedWhenClosed.load(ordering: .relaxed) {
            // What cannot be removed now is found and removed by whoever owns the directory's parent.
            var message: UnsafeMutablePointer<CChar>?
            rocksdb_destroy_db(options, path, &message)
            rocksdb_free(message)
        }
        for options in writeOptions { rocksdb_writeoptions_destroy(options) }
        rocksdb_readoptions_destroy(persistedReadOptions)
        rocksdb_readoptions_destroy(readOptions)
        rocksdb_options_destroy(options)
    }

    /// Removes the database's files once nothing uses them any more.
    public func destroyWhenClosed() { isDestroyedWhenClosed.store(true, ordering: .relaxed) }

    /// Switches RocksDB's per-thread timers off for the calling thread; they cost a quarter of a small write.
    public static func disableTimersOnThisThread() { rocksdb_set_perf_level(1) }

    /// Applies the batch as a whole. The batch is left as it was and may be cleared and used again.
    public func write(_ batch: WriteBatch, _ durability: Durability) throws(RocksDBError) {
        let options: OpaquePointer
        switch durability {
        case .synced: options = writeOptions[0]
        case .logged: options = writeOptions[1]
        case .unlogged: options = writeOptions[2]
        }
        try checked(path, "write to") { rocksdb_write(handle, options, batch.handle, &$0) }
    }

    /// Lends the value of a key, without a copy, to `body`; nil when the key has none. Checksums are verified.
    public func get<Result>(
        _ key: UnsafeRawBufferPointer, tier: ReadTier = .all, _ body: (UnsafeRawBufferPointer?) throws -> Result
    ) throws -> Result {
        let options = tier == .all ? readOptions : persistedReadOptions
        let slice = try checked(path, "read from") {
            rocksdb_get_pinned(handle, options, key.characters, key.count, &$0)
        }
        guard let slice else { return try body(nil) }
        defer { rocksdb_pinnableslice_destroy(slice) }
        var count = 0
        let bytes = rocksdb_pinnableslice_value(slice, &count)
        return try body(UnsafeRawBufferPointer(start: bytes, count: count))
    }

    /// The value of a key, copied.
    public func get(_ key: [UInt8], tier: ReadTier = .all) throws -> [UInt8]? {
        try key.withUnsafeBytes { key in try get(key, tier: tier) { $0.map { [UInt8]($0) } } }
    }

    /// The state of the database now, for cursors.
    public func snapshot() -> Snapshot { Snapshot(self) }

    /// Writes all that is in memory to table files, and waits for it. May run beside writes; they go on.
    public func flush() throws(RocksDBError) {
        let options = rocksdb_flushoptions_create()
        defer { rocksdb_flushoptions_destroy(options) }
        rocksdb_flushoptions_set_wait(options, 1)
        try checked(path, "flush") { rocksdb_flush(handle, options, &$0) }
    }

    /// A copy of the database, openable on its own, in a directory that must not exist. Tables are hard links
    /// where the file system allows.
    public func checkpoint(to directory: String) throws(RocksDBError) {
        let checkpoint = try checkedPointer(path, "make a checkpoint of") {
            rocksdb_checkpoint_object_create(handle, &$0)
        }
        defer { rocksdb_checkpoint_object_destroy(checkpoint) }
        try checked(path, "make a checkpoint of") { rocksdb_checkpoint_create(checkpoint, directory, 0, &$0) }
    }

    /// The sequence number of the newest change: each change in a batch has one, and none is ever given twice.
    public var latestSequence: UInt64 { rocksdb_get_latest_sequence_number(handle) }

    /// One of RocksDB's named properties, `rocksdb.stats` and the like; nil when it has none of that name.
    public func property(_ name: String) -> String? {
        guard let text = rocksdb_property_value(handle, name) else { return nil }
        defer { rocksdb_free(text) }
        return String(cString: text)
    }

    /// A numeric property; nil when there is none of that name.
    public func integerProperty(_ name: String) -> UInt64? {
        var value: UInt64 = 0
        return rocksdb_property_int(handle, name, &value) == 0 ? value : nil
    }
}

/// The state of a database at one moment. Cursors made with it see that moment; holding it keeps old data on disk.
///
/// Sendable because it is immutable, and RocksDB allows a snapshot to be used and released from any thread.
public final class Snapshot: @unchecked Sendable {
    let database: Database
    let handle: OpaquePointer

    init(_ database: Database) {
        self.database = database
        handle = rocksdb_create_snapshot(database.handle)
    }

    deinit { rocksdb_release_snapshot(database.handle, handle) }
}

extension UnsafeRawBufferPointer {
    /// The bytes as C's `char`s. RocksDB reads nothing through it when the count is 0.
    var characters: UnsafePointer<CChar>? { baseAddress?.assumingMemoryBound(to: CChar.self) }
}

/// Runs a C call that reports failure through an error string, which this frees.
func checked<Result>(
    _ path: String, _ operation: String, _ call: (inout UnsafeMutablePointer<CChar>?) -> Result
) throws(RocksDBError) -> Result {
    var message: UnsafeMutablePointer<CChar>?
    let result = call(&message)
    if let message {
        defer { rocksdb_free(message) }
        throw RocksDBError(path: path, operation: operation, message: String(cString: message))
    }
    return result
}

/// The same for a call that makes an object.
func checkedPointer(
    _ path: String, _ operation: String, _ call: (inout UnsafeMutablePointer<CChar>?) -> OpaquePointer?
) throws(RocksDBError) -> OpaquePointer {
    guard let pointer = try checked(path, operation, call) else {
        throw RocksDBError(path: path, operation: operation, message: "RocksDB gave no reason")
    }
    return pointer
}
