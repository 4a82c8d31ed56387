/// The store: a multi-version map from keys to values with etcd's semantics, deterministic and without I/O of its own.
///
/// ```
///   StoreCommand ──apply──▶ StoreCore ──rows, notes──▶ History (RocksDB or memory)
///                             │  index: key → newest and older revisions, newest records
///                             │  leases
///                             └─events──▶ WatchHub
///   RangeQuery ──range──▶ index, and the history for what is not cached
/// ```
///
/// Every member applies the same commands in the same order and comes to the same state: nothing here reads a clock or a
/// source of randomness, or depends on the order of a `Dictionary` or `Set`. What `apply` writes gathers in the history's batch;
/// its owner commits it together with the applied index. A thrown error is the disk's (or a damaged record) and fatal for the
/// member; what a client did wrong is an outcome.
///
/// One thread owns a store. Others read through a `StoreView`.
public struct Store<History: HistoryLog> {
    public var history: History
    var core: StoreCore

    /// Rebuilds the index, the leases and the marks from what the history holds.
    ///
    /// - Parameter cacheBytes: the most memory that the newest records may take.
    /// - Throws: what the history throws; `CodecError` for a record that is none.
    public init(history: History, cacheBytes: Int = 64 << 20) throws {
        self.history = history
        core = StoreCore()
        core.cacheLimit = cacheBytes
        try core.rebuild(from: history)
    }

    /// The newest main revision; 1 for an empty store.
    public var revision: Int64 { core.revision }

    /// Reads below it are refused; -1 when never compacted.
    public var compactedRevision: Int64 { core.compactedRevision }

    /// The number of keys that live now.
    public var keyCount: Int { core.index.liveCount }

    /// The leases. Time passes for them through this, on the leader; what the log decides (grants, revocations,
    /// checkpoints, attached keys) comes through `apply` alone.
    public var leases: LeaseTable {
        _read { yield core.leases }
        _modify { yield &core.leases }
    }

    /// The active alarms, by kind, then by member.
    public var alarms: [Alarm] { core.alarms.active }

    /// Applies a command. The static rules (`StoreCommand.validate`) were checked before it was proposed.
    public mutating func apply(_ command: StoreCommand) throws -> CommandOutcome {
        let first = core.events.count
        let outcome = try Self.apply(command, &core, history)
        for index in first..<core.events.count {
            let event = core.events[index]
            history.append(event.revision, tombstone: event.isDelete, record: event.record)
        }
        writeNotes()
        return outcome
    }

    // Apart from `apply`, so that the closure borrows the history while the core is changed.
    private static func apply(_ command: StoreCommand, _ core: inout StoreCore, _ history: History) throws
        -> CommandOutcome
    {
        try core.apply(command) { try history.record(at: $0, tombstone: false) }
    }

    private mutating func writeNotes() {
        if core.notes.isEmpty { return }
        for (key, value) in core.notes { history.setNote(key, value) }
        core.notes.removeAll(keepingCapacity: true)
    }

    /// The changes applied since this was last called, in order of revision. They are kept until taken.
    public mutating func takeEvents() -> [StoreEvent] {
        let taken = core.events
        core.events = []
        return taken
    }

    /// Answers a read. Its revision is that of the last applied command.
    public func range(_ query: RangeQuery) throws -> Result<RangeResult, StoreError> {
        try core.read(at: core.revision)(query) { try history.record(at: $0, tombstone: false) }
    }

    /// Answers a transaction that writes nothing (`TransactionCommand.isReadOnly`), without a log entry.
    public func readTransaction(_ transaction: TransactionCommand) throws -> Result<TransactionResult, StoreError> {
        precondition(transaction.isReadOnly, "a transaction that writes goes through the log")
        var copy = core
        var write = StoreCore.Write(begin: core.revision)
        return try copy.transact(transaction, &write) { try history.record(at: $0, tombstone: false) }
    }

    /// A view of the store as it is now, for reads from any thread. Take it after the history's batch was committed: the view
    /// reads what was committed. Making one is cheap, keeping it is not: while it lives, the first change to each index node copies
    /// that node, so hold a view for a batch of reads and let it go.
    public func view() -> StoreView<History.Reader> {
        StoreView(read: core.read(at: core.revision), history: history.reader())
    }

    /// Puts records that a read brought from the history into the cache, as far as they still are their keys' newest.
    public mutating func remember(_ records: [[UInt8]]) throws { try core.remember(records) }

    /// True while a compaction has records left to remove.
    public var isCompacting: Bool { core.compaction.cursor != nil }

    /// Removes a slice of what the last compaction made unreachable: at most `budget` records. How far it has come is no part of
    /// the state that members agree on; after a restart it goes on.
    ///
    /// - Returns: true if there is more to do.
    public mutating func compactStep(budget: Int) -> Bool {
        precondition(budget > 0)
        for (revision, tombstone) in core.compactStep(budget: budget) {
            history.remove(revision, tombstone: tombstone)
        }
        writeNotes()
        return isCompacting
    }

    /// The checksum of the state at a revision (0: the newest), equal to what etcd computes for the same history.
    public func hashKV(revision: Int64 = 0) throws -> Result<HashKVResult, StoreError> {
        try core.read(at: core.revision).hashKV(revision) { try history.scan(from: $0, through: $1, $2) }
    }

    /// The record at a revision, for an event's `prev_kv`; nil when compacted.
    func record(at revision: Revision) throws -> [UInt8]? { try history.record(at: revision, tombstone: false) }
}

extension Store: Sendable where History: Sendable {}

/// The store as of one moment, readable from any thread.
public struct StoreView<Reader: HistoryReader>: Sendable {
    let read: RangeRead
    let history: Reader

    public var revision: Int64 { read.currentRevision }
    public var compactedRevision: Int64 { read.compactedRevision }

    /// As `Store.range`. A compaction after the view was made may have removed what it points to: then `compacted`, also for
    /// revision 0, and a new view has the answer.
    public func range(_ query: RangeQuery) throws -> Result<RangeResult, StoreError> {
        try read(query) { try history.record(at: $0, tombstone: false) }
    }

    /// As `Store.hashKV`. Void if the store was compacted while it ran: compare `compactedRevision` with a newer view's.
    public func hashKV(revision: Int64 = 0) throws -> Result<HashKVResult, StoreError> {
        try read.hashKV(revision) { try history.scan(from: $0, through: $1, $2) }
    }
}
