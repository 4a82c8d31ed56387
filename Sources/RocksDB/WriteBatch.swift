import CRocksDB

/// Changes that take effect together, in the order they were added (a put after a range deletion that covers it stays).
/// Used by one thread at a time; `clear` keeps its memory for the next round.
public final class WriteBatch {
    let handle: OpaquePointer

    public init() { handle = rocksdb_writebatch_create() }
    deinit { rocksdb_writebatch_destroy(handle) }

    /// The number of changes.
    public var count: Int { Int(rocksdb_writebatch_count(handle)) }
    public var isEmpty: Bool { count == 0 }

    /// The size of the encoded batch, in bytes.
    public var byteCount: Int {
        var size = 0
        _ = rocksdb_writebatch_data(handle, &size)
        return size
    }

    public func clear() { rocksdb_writebatch_clear(handle) }

    public func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        rocksdb_writebatch_put(handle, key.characters, key.count, value.characters, value.count)
    }

    public func put(_ key: [UInt8], _ value: [UInt8]) {
        key.withUnsafeBytes { key in value.withUnsafeBytes { put(key, $0) } }
    }

    /// Puts a value made of two parts, without joining them first.
    public func put(_ key: UnsafeRawBufferPointer, _ head: UnsafeRawBufferPointer, _ tail: UnsafeRawBufferPointer) {
        var keyBytes = key.characters
        var keyCount = key.count
        withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: 2) { parts in
            withUnsafeTemporaryAllocation(of: Int.self, capacity: 2) { counts in
                parts.initializeElement(at: 0, to: head.characters)
                parts.initializeElement(at: 1, to: tail.characters)
                counts.initializeElement(at: 0, to: head.count)
                counts.initializeElement(at: 1, to: tail.count)
                rocksdb_writebatch_putv(handle, 1, &keyBytes, &keyCount, 2, parts.baseAddress, counts.baseAddress)
            }
        }
    }

    public func delete(_ key: UnsafeRawBufferPointer) {
        rocksdb_writebatch_delete(handle, key.characters, key.count)
    }

    public func delete(_ key: [UInt8]) { key.withUnsafeBytes { delete($0) } }

    /// Deletes every key with `first <= key < end`.
    public func deleteRange(from first: [UInt8], to end: [UInt8]) {
        first.withUnsafeBytes { first in
            end.withUnsafeBytes { end in
                rocksdb_writebatch_delete_range(handle, first.characters, first.count, end.characters, end.count)
            }
        }
    }
}
