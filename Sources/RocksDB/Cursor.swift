import CRocksDB

/// An ordered walk over the keys `first <= key < end` of a database or one of its snapshots.
///
///     var cursor = database.cursor(from: first, to: end)
///     while try cursor.advance() { … cursor.key … cursor.value … }
///
/// A damaged block just ends RocksDB's iterator; `advance` tells that apart from the end of the data and throws.
public struct Cursor: ~Copyable {
    private let database: Database
    private let snapshot: Snapshot?
    private let iterator: OpaquePointer
    private let options: OpaquePointer
    /// RocksDB keeps a pointer to the bound for as long as the iterator lives.
    private let end: UnsafeMutableRawBufferPointer
    private var started = false

    fileprivate init(_ database: Database, snapshot: Snapshot?, first: [UInt8], end bound: [UInt8], fillCache: Bool) {
        precondition(snapshot == nil || snapshot?.database === database, "the snapshot belongs to another database")
        self.database = database
        self.snapshot = snapshot
        end = .allocate(byteCount: max(bound.count, 1), alignment: 1)
        end.copyBytes(from: bound)
        options = rocksdb_readoptions_create()
        rocksdb_readoptions_set_verify_checksums(options, 1)
        rocksdb_readoptions_set_fill_cache(options, fillCache ? 1 : 0)
        rocksdb_readoptions_set_iterate_upper_bound(options, UnsafeRawBufferPointer(end).characters, bound.count)
        if let snapshot { rocksdb_readoptions_set_snapshot(options, snapshot.handle) }
        iterator = rocksdb_create_iterator(database.handle, options)
        first.withUnsafeBytes { rocksdb_iter_seek(iterator, $0.characters, $0.count) }
    }

    deinit {
        rocksdb_iter_destroy(iterator)
        rocksdb_readoptions_destroy(options)
        end.deallocate()
    }

    /// Moves to the next key; the first call, to the first. False at the end.
    public mutating func advance() throws(RocksDBError) -> Bool {
        if started, rocksdb_iter_valid(iterator) != 0 { rocksdb_iter_next(iterator) }
        started = true
        if rocksdb_iter_valid(iterator) != 0 { return true }
        try checked(database.path, "read from") { rocksdb_iter_get_error(iterator, &$0) }
        return false
    }

    /// Lends the key and the value `advance` moved to.
    public func withEntry<Result>(
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        precondition(started && rocksdb_iter_valid(iterator) != 0, "the cursor is not at a key")
        var keyCount = 0
        var valueCount = 0
        let key = rocksdb_iter_key(iterator, &keyCount)
        let value = rocksdb_iter_value(iterator, &valueCount)
        return try body(
            UnsafeRawBufferPointer(start: key, count: keyCount), UnsafeRawBufferPointer(start: value, count: valueCount)
        )
    }
}

extension Database {
    /// A walk over `first <= key < end`, of the snapshot if one is given.
    /// With `fillCache` false the walk leaves the block cache to others, as one over everything should.
    public func cursor(
        from first: [UInt8], to end: [UInt8], of snapshot: Snapshot? = nil, fillCache: Bool = true
    ) -> Cursor {
        Cursor(self, snapshot: snapshot, first: first, end: end, fillCache: fillCache)
    }
}
