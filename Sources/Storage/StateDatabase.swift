import Raft
import RocksDB
import Store

/// Up to where the log is applied in a state, and the configuration then: stored in the same batch as the data.
public struct AppliedMark: Sendable, Equatable {
    public var index: LogIndex
    public var term: Term
    public var configuration: ConfState

    public init(index: LogIndex = .zero, term: Term = .zero, configuration: ConfState = ConfState()) {
        self.index = index
        self.term = term
        self.configuration = configuration
    }
}

/// When the state's memory is due to be written to table files, so that the log can be trimmed and a restart
/// has little to replay.
public struct FlushPolicy: Sendable {
    /// Log entries applied since the last flush.
    public var entries: UInt64
    /// Bytes written since the last flush.
    public var bytes: Int

    public init(entries: UInt64 = 50_000, bytes: Int = 24 << 20) {
        self.entries = entries
        self.bytes = bytes
    }
}

/// The state's history on disk. Belongs to the apply thread; `reader()`, `flusher` and snapshots go anywhere.
///
/// Keys, in one ordered space:
///
///     'k' main(8) '_' sub(8)        an event's encoded KeyValue (etcd's own 17-byte revision key)
///     'k' main(8) '_' sub(8) 't'    a deletion's
///     'n' key                       a note
///     's'                           the applied mark
///     'si'                          the mark of the snapshot it was installed from, if it was
///
/// The history comes first, so that a new table file, which holds the newest revisions and the marks, overlaps
/// no older one but the last. Every value begins with a format byte that readers of this type do not see.
/// Nothing is written to a log: a batch becomes durable with the next flush, whole, and in order.
public final class StateDatabase: HistoryLog {
    /// The open files, shared with all readers.
    public let files: StateFiles
    /// The mark of the last commit.
    public private(set) var applied: AppliedMark
    private let policy: FlushPolicy
    private let batch = WriteBatch()
    private var pending = PendingBatch()
    private var flushedIndex: LogIndex
    private var bytesSinceFlush = 0
    private var encodedConfiguration: [UInt8]

    /// The writer of an open state. There is one at a time.
    public init(_ files: StateFiles, policy: FlushPolicy = FlushPolicy()) throws {
        self.files = files
        self.policy = policy
        applied = try files.applied()
        flushedIndex = applied.index
        encodedConfiguration = applied.configuration.encoded
    }

    public func reader() -> StateReader { StateReader(files) }

    // MARK: Writing

    public func append(_ revision: Revision, tombstone: Bool, record: [UInt8]) {
        let key = HistoryKey(revision, tombstone: tombstone)
        key.withBytes { key in
            StateFormat.withFormatByte { format in record.withUnsafeBytes { batch.put(key, format, $0) } }
        }
        pending.append(key, record)
    }

    public func remove(_ revision: Revision, tombstone: Bool) {
        let key = HistoryKey(revision, tombstone: tombstone)
        key.withBytes { batch.delete($0) }
        pending.remove(key)
    }

    public func setNote(_ key: [UInt8], _ value: [UInt8]?) {
        if let value {
            batch.put(StateFormat.noteKey(key), [StateFormat.version] + value)
        } else {
            batch.delete(StateFormat.noteKey(key))
        }
        pending.notes[key] = .some(value)
    }

    /// Applies everything since the last commit as one batch, together with how far the log is applied with it.
    public func commit(applied index: LogIndex, term: Term, configuration: ConfState) throws {
        precondition(
            index >= applied.index, "commit at \(index.rawValue), behind the applied \(applied.index.rawValue)")
        if configuration != applied.configuration { encodedConfiguration = configuration.encoded }
        applied = AppliedMark(index: index, term: term, configuration: configuration)
        batch.put(StateFormat.markKey, applied.encoded(configuration: encodedConfiguration))
        Database.disableTimersOnThisThread()
        try files.database.write(batch, .unlogged)
        bytesSinceFlush += batch.byteCount
        batch.clear()
        pending.clear()
    }

    // MARK: Flushing

    /// Whether the policy asks for a flush now. Start one with `flusher` on a thread of its own, and call
    /// `flushStarted`.
    public var needsFlush: Bool {
        applied.index.rawValue - flushedIndex.rawValue >= policy.entries || bytesSinceFlush >= policy.bytes
    }

    /// Counts anew towards the next flush.
    public func flushStarted() {
        flushedIndex = applied.index
        bytesSinceFlush = 0
    }

    /// Flushes from any thread.
    public var flusher: StateFlusher { StateFlusher(files) }

    /// Flushes here, and waits for the disk.
    @discardableResult
    public func flush() throws -> AppliedMark {
        flushStarted()
        return try flusher.flush()
    }

    // MARK: Reading, the uncommitted batch included

    public func record(at revision: Revision, tombstone: Bool) throws -> [UInt8]? {
        let key = HistoryKey(revision, tombstone: tombstone)
        if let record = pending.record(key) { return record }
        if pending.removed.contains(key) { return nil }
        return try files.record(key)
    }

    public func scan(
        from first: Revision, through last: Revision,
        _ body: (_ revision: Revision, _ tombstone: Bool, _ record: UnsafeRawBufferPointer) throws -> Bool
    ) throws {
        var waiting = pending.records(from: first, through: last)
        func emitWaiting(before key: HistoryKey?) throws -> Bool {
            while let next = waiting.first, key.map({ next.key <= $0 }) ?? true {
                waiting = waiting.dropFirst()
                let goesOn = try next.record.withUnsafeBytes { try body(next.key.revision, next.key.tombstone, $0) }
                if !goesOn { return false }
            }
            return true
        }
        var stopped = false
        try files.scan(from: first, through: last) { key, record in
            let replaced = pending.record(key) != nil
            guard try emitWaiting(before: key) else {
                stopped = true
                return false
            }
            if replaced || pending.removed.contains(key) { return true }
            stopped = try !body(key.revision, key.tombstone, record)
            return !stopped
        }
        if !stopped { _ = try emitWaiting(before: nil) }
    }

    public func note(_ key: [UInt8]) throws -> [UInt8]? {
        if let value = pending.notes[key] { return value }
        return try files.note(key)
    }

    public func scanNotes(prefix: [UInt8], _ body: (_ key: [UInt8], _ value: [UInt8]) throws -> Bool) throws {
        var waiting = pending.notes.filter { $0.key.starts(with: prefix) }
            .sorted { $0.key.lexicographicallyPrecedes($1.key) }[...]
        func emitWaiting(before key: [UInt8]?) throws -> Bool {
            while let next = waiting.first,
                key.map({ next.key == $0 || next.key.lexicographicallyPrecedes($0) }) ?? true
            {
                waiting = waiting.dropFirst()
                if let value = next.value, try !body(next.key, value) { return false }
            }
            return true
        }
        var stopped = false
        try files.scanNotes(prefix: prefix) { key, value in
            stopped = try !emitWaiting(before: key)
            if stopped { return false }
            if pending.notes[key] != nil { return true }
            stopped = try !body(key, value)
            return !stopped
        }
        if !stopped { _ = try emitWaiting(before: nil) }
    }

    // MARK: Snapshots

    /// Everything as of the last commit, to be streamed from any thread.
    public func makeSnapshot() -> StateSnapshot {
        precondition(batch.isEmpty, "a snapshot is taken between commits")
        return StateSnapshot(files.database.snapshot(), of: files, mark: applied)
    }
}

/// Flushes a state from any thread, beside its writer.
public struct StateFlusher: Sendable {
    private let files: StateFiles
    public init(_ files: StateFiles) { self.files = files }

    /// Writes what is in memory to table files and answers how far the state is durable then: the log may be
    /// trimmed up to there.
    public func flush() throws -> AppliedMark {
        try files.database.flush()
        return try files.durableApplied()
    }
}

/// The state as committed, read from any thread. Keeps the files open.
public struct StateReader: HistoryReader {
    private let files: StateFiles
    init(_ files: StateFiles) { self.files = files }

    public func record(at revision: Revision, tombstone: Bool) throws -> [UInt8]? {
        try files.record(HistoryKey(revision, tombstone: tombstone))
    }

    public func scan(
        from first: Revision, through last: Revision,
        _ body: (_ revision: Revision, _ tombstone: Bool, _ record: UnsafeRawBufferPointer) throws -> Bool
    ) throws {
        try files.scan(from: first, through: last) { try body($0.revision, $0.tombstone, $1) }
    }
}
