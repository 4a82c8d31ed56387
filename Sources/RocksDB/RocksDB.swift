/// RocksDB in Swift: a thin layer over its C API (7.8.3) that makes lifetimes and errors safe.
///
///     Database ──┬── WriteBatch      changes that take effect together, reusable
///                ├── Cursor          an ordered walk; keeps the database open, reports its error at the end
///                ├── Snapshot        a point in time; keeps the database open
///                └── get, flush, checkpoint, properties
///
/// What it promises: no handle outlives the database it belongs to (each keeps it alive, and the last one
/// released closes it), every failure is a `RocksDBError` that names the database's path, and borrowed bytes
/// do not leave the closure they were lent to.
///
/// A database has one column family, RocksDB's default one. With several, writes that skip the write-ahead log
/// may come back from a crash at different points in each, and the C API can flush only one at a time; and
/// `rocksdb_close` aborts while a column family handle is alive, so none is ever made.

/// A failed call of RocksDB.
public struct RocksDBError: Error, Sendable, CustomStringConvertible {
    /// The database's directory.
    public let path: String
    /// What was being done, as a verb: "open", "write".
    public let operation: String
    /// RocksDB's own words. They name the damaged file when it knows it.
    public let message: String

    public var description: String { "could not \(operation) the database \(path): \(message)" }
    /// The bytes on disk are not what was written. (RocksDB's status code `Corruption`.)
    public var isCorruption: Bool { message.hasPrefix("Corruption") }
}
