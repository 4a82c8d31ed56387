/// The store's revision: `main` counts the transactions that changed something, `sub` the
/// changes within one. The empty store is at main revision 1, as in etcd.
public struct Revision: Hashable, Comparable, Sendable {
    public var main: Int64
    public var sub: Int64
    @inlinable public init(main: Int64, sub: Int64 = 0) {
        self.main = main
        self.sub = sub
    }
    @inlinable public static func < (a: Revision, b: Revision) -> Bool {
        a.main != b.main ? a.main < b.main : a.sub < b.sub
    }
}

/// Reads of the stored history, safe from any thread. Sees what had been committed when it was made
/// and possibly more, never less; a record of a revision never changes, it can only be removed by compaction.
public protocol HistoryReader: Sendable {
    /// The encoded `mvccpb.KeyValue` stored at a revision; nil when there is none (compacted).
    func record(at revision: Revision, tombstone: Bool) throws -> [UInt8]?
    /// Calls `body` with each stored record with `first <= revision <= last`, in order, until it answers false.
    /// The bytes are borrowed for the duration of the call.
    func scan(
        from first: Revision, through last: Revision,
        _ body: (_ revision: Revision, _ tombstone: Bool, _ record: UnsafeRawBufferPointer) throws -> Bool
    ) throws
}

/// What the store appends to: the history of all events by revision, and a small table of notes
/// (leases, compaction marks). Two real implementations: RocksDB (`Storage`) and memory (tests, simulator).
///
/// Writes gather in a batch that its owner (the apply machine's driver) commits together with the applied index.
/// Reads through the log itself see the uncommitted batch. Errors thrown are the disk's and fatal for the member.
public protocol HistoryLog {
    associatedtype Reader: HistoryReader
    func reader() -> Reader
    mutating func append(_ revision: Revision, tombstone: Bool, record: [UInt8])
    func record(at revision: Revision, tombstone: Bool) throws -> [UInt8]?
    func scan(
        from first: Revision, through last: Revision,
        _ body: (_ revision: Revision, _ tombstone: Bool, _ record: UnsafeRawBufferPointer) throws -> Bool
    ) throws
    mutating func remove(_ revision: Revision, tombstone: Bool)
    /// A nil value removes the note.
    mutating func setNote(_ key: [UInt8], _ value: [UInt8]?)
    func note(_ key: [UInt8]) throws -> [UInt8]?
    func scanNotes(prefix: [UInt8], _ body: (_ key: [UInt8], _ value: [UInt8]) throws -> Bool) throws
}
