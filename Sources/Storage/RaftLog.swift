import Raft
import RocksDB
import Synchronization

/// What a log held when it was opened.
public struct RecoveredLog: Sendable {
    public var hardState = HardState()
    /// The entry before `entries[0]`: the last one trimmed, or a snapshot's. (0, 0) in a log that was never trimmed.
    public var base: (index: LogIndex, term: Term) = (.zero, .zero)
    /// Contiguous, from `base.index + 1`.
    public var entries: [Entry] = []
    /// What `setMetadata` stored, if anything: whose log it is.
    public var metadata: [UInt8]?
    /// Sentences for the operator about what was repaired, such as a torn record that was dropped.
    public var notices: [String] = []

    public var last: (index: LogIndex, term: Term) { entries.last.map { ($0.index, $0.term) } ?? base }
}

/// The Raft log on disk.
///
/// Belongs to the log thread: its calls are made one after another, and block for the disk. The lock inside only
/// keeps that rule's violation from being a data race; it is never contended.
///
/// Each append is one record under the key of its first index (`LogRecord`), written with one `fdatasync`. An entry
/// that replaces another cuts the suffix in the same batch; a record that is cut in its middle stays as it is, and
/// its successor's first index says where it ends.
public final class RaftLog: Sendable {
    /// Whether an append waits for the disk.
    package enum Durability: Sendable {
        case synced
        /// Breaks the log's promise on purpose, for the test that shows why the sync is there: what was
        /// acknowledged is lost when the machine stops.
        case unsynced
    }

    private let contents: Mutex<Contents>

    private init(_ contents: sending Contents) { self.contents = Mutex(contents) }

    /// Opens the log in a directory, made if missing, and returns all that it holds.
    ///
    /// Throws `StorageError` when the files are damaged anywhere but in a torn last write, or hold less than they
    /// once did, and then leaves them as they were.
    package static func open(
        directory: String, durability: Durability = .synced
    ) throws -> (RaftLog, RecoveredLog) {
        let files = LogFiles(directory)
        let witness = try files.witness()
        let inspection = try DatabaseOpening.inspect(files.records, copyPath: files.copy)
        if inspection.isNew { try files.refuseIfMissed(witness) }
        let opening = try DatabaseOpening(files.records, copyPath: files.copy, inspection)
        var (log, recovered): (RaftLog, RecoveredLog)
        do {
            (log, recovered) = try recover(files, witness: witness, durability: durability)
        } catch {
            opening.takeBack()
            throw error
        }
        recovered.notices = try opening.finish() + recovered.notices
        try log.begin()
        return (log, recovered)
    }

    /// Opens the database and reads it all. `vet` says first whether it is the right one, since the witness is of that.
    /// The opening can still be taken back when the log is let go.
    static func recover(
        _ files: LogFiles, witness: LogFiles.Witness, durability: Durability, settings: String = "",
        checks: StorageChecks = .all, vet: @Sendable (RecoveredLog) throws -> Void = { _ in }
    ) throws -> (RaftLog, RecoveredLog) {
        var recovered = RecoveredLog()
        let contents = try Contents(
            files, durability: durability, settings: settings, witness: witness, checks: checks, vet: vet,
            recovered: &recovered)
        return (RaftLog(contents), recovered)
    }

    /// Reads a log that is not to be changed, and that was inspected, from its database at `path`.
    static func read(
        _ files: LogFiles, from path: String, witness: LogFiles.Witness, vet: @Sendable (RecoveredLog) throws -> Void
    ) throws -> RecoveredLog {
        var recovered = RecoveredLog()
        _ = try Contents(
            files, path: path, durability: .synced, access: .readOnly, witness: witness, vet: vet,
            recovered: &recovered)
        return recovered
    }

    /// Takes the witness note into use, once the opening is finished.
    func begin() throws { try contents.withLock { try $0.begin() } }

    /// Makes the hard state and the entries durable, in one synced write. Entries are contiguous, follow the base,
    /// and leave no gap; those at or before the last index replace it and everything after. An error is the disk's:
    /// what is stored is unknown then, and the log is not to be used again.
    public func append(hardState: HardState?, entries: [Entry]) throws {
        try contents.withLock { try $0.append(hardState: hardState, entries: entries) }
    }

    /// Forgets the entries up to and including `index`, which the log holds. The state must have them durably.
    public func truncatePrefix(upTo index: LogIndex) throws {
        try contents.withLock { try $0.truncatePrefix(upTo: index) }
    }

    /// Empties the log, which from now on begins after a snapshot's (index, term).
    public func reset(toSnapshot index: LogIndex, term: Term) throws {
        try contents.withLock { try $0.reset(index: index, term: term) }
    }

    /// Stores a note about whose log this is, durably.
    public func setMetadata(_ metadata: [UInt8]) throws {
        try contents.withLock { try $0.setMetadata(metadata) }
    }
}

/// The log's database and the outline of what it holds: enough to chain the next record and to cut anywhere.
private struct Contents {
    private let files: LogFiles
    private let database: Database
    private let batch = WriteBatch()
    private let durability: Database.Durability
    private let checks: StorageChecks
    private var witnessFile: WitnessFile?
    private var witness = WitnessNote()

    private var base: (index: LogIndex, term: Term) = (.zero, .zero)
    private var lastIndex = LogIndex.zero
    /// The checksum of the record before `records[0]`.
    private var rootChecksum: UInt32 = 0
    /// The stored records in order; each ends where the next begins.
    private var records: [(first: LogIndex, checksum: UInt32)] = []
    /// Where each term begins, after the base.
    private var termStarts: [(first: LogIndex, term: Term)] = []

    // Keys of marks begin with 0xff, after all records: an index never reaches 2^56.
    private static let hardStateKey: [UInt8] = [0xff, UInt8(ascii: "h")]
    private static let trimMarkKey: [UInt8] = [0xff, UInt8(ascii: "t")]
    private static let metadataKey: [UInt8] = [0xff, UInt8(ascii: "m")]
    private static let firstRecordKey = [UInt8](repeating: 0, count: 8)
    private static let endOfRecords: [UInt8] = [0xff]

    /// No compression: entries are short-lived. Memtable writes come from one thread. The write buffer bounds both
    /// the memory that the log's memtable holds and the size of a WAL file, which is scanned at start.
    private static let settings = """
        compression=kNoCompression;allow_concurrent_memtable_write=false;enable_pipelined_write=false;\
        wal_recovery_mode=kTolerateCorruptedTailRecords;track_and_verify_wals_in_manifest=true;\
        write_buffer_size=33554432;max_write_buffer_number=3;keep_log_file_num=4;info_log_level=WARN_LEVEL;\
        paranoid_checks=true;max_background_jobs=2
        """

    init(
        _ files: LogFiles, path: String? = nil, durability: RaftLog.Durability, access: Database.Access = .readWrite,
        settings: String = "", witness noted: LogFiles.Witness, checks: StorageChecks = .all,
        vet: @Sendable (RecoveredLog) throws -> Void, recovered: inout RecoveredLog
    ) throws {
        self.files = files
        self.durability = durability == .synced ? .synced : .logged
        self.checks = checks
        database = try openDatabase(
            path ?? files.records, settings: Self.settings + settings, access: access, named: "log")
        do {
            try recover(&recovered)
        } catch let error as RocksDBError {
            throw StorageError(reading: "log", error)
        }
        try vet(recovered)
        if case .valid(let noted) = noted, checks.contains(.witness) {
            if !witness.covers(noted) { throw noted.missing(from: files.records, holding: witness) }
            if let notice = witness.notice(ofLosing: noted, in: files.records) { recovered.notices.append(notice) }
        } else if case .damaged = noted {
            recovered.notices.append(noticeOfOpeningUnwitnessed("does not check"))
        } else if case .missing = noted, lastIndex != .zero {
            recovered.notices.append(noticeOfOpeningUnwitnessed("is missing"))
        }
    }

    private func noticeOfOpeningUnwitnessed(_ reason: String) -> String {
        "\(files.witnessPath) \(reason); the log was opened without it, and whether it is all that was acknowledged is not "
            + "known. A new note was made"
    }

    /// Takes the witness note into use, so that it says what the log holds now.
    mutating func begin() throws {
        let file = try WitnessFile(path: files.witnessPath)
        if witness != WitnessNote() { try file.write(witness) }
        try file.sync()
        if files.formerWitnessPath != files.witnessPath { try Files.remove(files.formerWitnessPath) }
        witnessFile = file
    }

    // MARK: Writing

    mutating func append(hardState: HardState?, entries: [Entry]) throws {
        guard hardState != nil || !entries.isEmpty else { return }
        batch.clear()
        if let hardState {
            var content: [UInt8] = []
            for value in [hardState.term.rawValue, hardState.vote.rawValue, hardState.commit.rawValue] {
                content.appendLittleEndian(value)
            }
            batch.put(Self.hardStateKey, SealedNote.seal(content))
            witness.hardStateTerm = hardState.term
            witness.vote = hardState.vote
        }
        if let first = entries.first, let last = entries.last {
            precondition(first.index > base.index, "entry \(first.index.rawValue) is before the log's start")
            precondition(first.index.rawValue <= lastIndex.rawValue + 1, "entry \(first.index.rawValue) leaves a gap")
            precondition(
                last.index.rawValue - first.index.rawValue == UInt64(entries.count - 1),
                "the entries are not contiguous")
            if first.index <= lastIndex {
                batch.deleteRange(from: LogRecord.key(first.index), to: Self.endOfRecords)
                forget(from: first.index)
            }
            let record = LogRecord.encode(
                entries, predecessorChecksum: records.last?.checksum ?? rootChecksum,
                predecessorTerm: termStarts.last?.term ?? base.term)
            batch.put(LogRecord.key(first.index), record.bytes)
            note(entries, checksum: record.checksum)
        }
        try commit()
    }

    mutating func truncatePrefix(upTo index: LogIndex) throws {
        guard index > base.index else { return }
        precondition(index <= lastIndex, "cannot trim to \(index.rawValue), past the log's end \(lastIndex.rawValue)")
        let term = term(at: index)
        // A record goes when its last entry does.
        let kept =
            records.firstIndex { $0.first > index }.map { records[$0].first == index + 1 ? $0 : $0 - 1 }
            ?? (index == lastIndex ? records.count : records.count - 1)
        if kept > 0 { rootChecksum = records[kept - 1].checksum }
        let end = kept < records.count ? records[kept].first : lastIndex + 1
        records.removeFirst(kept)
        base = (index, term)
        termStarts.removeAll { $0.first <= index }
        if lastIndex > index, termStarts.first.map({ $0.first > index + 1 }) ?? true {
            termStarts.insert((index + 1, term), at: 0)
        }
        batch.clear()
        batch.deleteRange(from: Self.firstRecordKey, to: LogRecord.key(end))
        putTrimMark()
        try commit()
    }

    mutating func reset(index: LogIndex, term: Term) throws {
        batch.clear()
        batch.deleteRange(from: Self.firstRecordKey, to: Self.endOfRecords)
        base = (index, term)
        lastIndex = index
        rootChecksum = 0
        records = []
        termStarts = []
        putTrimMark()
        try commit()
    }

    mutating func setMetadata(_ metadata: [UInt8]) throws {
        batch.clear()
        batch.put(Self.metadataKey, SealedNote.seal(metadata))
        try commit()
    }

    private mutating func commit() throws {
        Database.disableTimersOnThisThread()
        try database.write(batch, durability)
        seeEnd()
        try witnessFile?.write(witness)
    }

    /// Notes where the log ends now.
    private mutating func seeEnd() {
        witness.lastIndex = lastIndex
        witness.lastTerm = termStarts.last?.term ?? base.term
        witness.changes = database.latestSequence
    }

    private func putTrimMark() {
        var content: [UInt8] = []
        content.appendLittleEndian(base.index.rawValue)
        content.appendLittleEndian(base.term.rawValue)
        content.appendLittleEndian(rootChecksum)
        batch.put(Self.trimMarkKey, SealedNote.seal(content))
    }

    // MARK: The outline

    private mutating func note(_ entries: [Entry], checksum: UInt32) {
        records.append((entries[0].index, checksum))
        for entry in entries where entry.term != termStarts.last?.term { termStarts.append((entry.index, entry.term)) }
        lastIndex = entries[entries.count - 1].index
    }

    private mutating func forget(from index: LogIndex) {
        while let last = records.last, last.first >= index { records.removeLast() }
        while let last = termStarts.last, last.first >= index { termStarts.removeLast() }
        lastIndex = LogIndex(index.rawValue - 1)
    }

    private func term(at index: LogIndex) -> Term {
        termStarts.last { $0.first <= index }?.term ?? base.term
    }

    // MARK: Recovery

    private mutating func recover(_ recovered: inout RecoveredLog) throws {
        if let content = try mark(Self.hardStateKey, "hard state") {
            let values = try numbers(in: content, count: 3, "hard state")
            recovered.hardState = HardState(
                term: Term(values[0]), vote: MemberID(values[1]), commit: LogIndex(values[2]))
        }
        if let content = try mark(Self.trimMarkKey, "trim mark") {
            let values = try numbers(in: content, count: 2, trailing: 4, "trim mark")
            base = (LogIndex(values[0]), Term(values[1]))
            rootChecksum = content.suffix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
        recovered.metadata = try mark(Self.metadataKey, "identity note")
        recovered.base = base
        lastIndex = base.index
        var cursor = database.cursor(from: Self.firstRecordKey, to: Self.endOfRecords, fillCache: false)
        while try cursor.advance() {
            let record = try cursor.withEntry { key, value in
                do throws(LogRecord.DecodingFailure) {
                    return try LogRecord(decoding: value, key: key)
                } catch {
                    throw damaged("the record after index \(lastIndex.rawValue) \(error)")
                }
            }
            try link(record, into: &recovered.entries)
        }
        witness.hardStateTerm = recovered.hardState.term
        witness.vote = recovered.hardState.vote
        seeEnd()
    }

    /// Checks that a record continues the log, cuts what it replaces, and adds its entries after the base.
    private mutating func link(_ record: LogRecord, into entries: inout [Entry]) throws {
        let first = record.entries[0].index
        if checks.contains(.chain) { try checkChain(record) }
        if first <= lastIndex, first > base.index {
            entries.removeLast(Int(lastIndex.rawValue - first.rawValue) + 1)
            forget(from: first)
        }
        guard
            first <= base.index || record.predecessorTerm == term(at: LogIndex(first.rawValue - 1))
                || !checks.contains(.chain)
        else { throw damaged("the term before index \(first.rawValue) is not the one its record was written after") }
        let fresh = record.entries.drop { $0.index <= base.index }
        guard !fresh.isEmpty else { throw damaged("it holds index \(first.rawValue), which had been trimmed") }
        note([Entry](fresh), checksum: record.checksum)
        records[records.count - 1].first = first
        entries.append(contentsOf: fresh)
    }

    private func checkChain(_ record: LogRecord) throws {
        let first = record.entries[0].index
        guard first.rawValue <= lastIndex.rawValue + 1, first > base.index || records.isEmpty else {
            throw damaged("the entries between index \(lastIndex.rawValue) and \(first.rawValue) are missing")
        }
        guard record.predecessorChecksum == records.last?.checksum ?? rootChecksum else {
            throw damaged("the record at index \(first.rawValue) was not written after the one before it")
        }
    }

    private func mark(_ key: [UInt8], _ name: String) throws -> [UInt8]? {
        guard let stored = try database.get(key) else { return nil }
        guard let content = SealedNote.open(stored) else { throw damaged("its \(name) does not match its checksum") }
        return content
    }

    private func numbers(in content: [UInt8], count: Int, trailing: Int = 0, _ name: String) throws -> [UInt64] {
        guard content.count == count * 8 + trailing else { throw damaged("its \(name) has the wrong length") }
        return content.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            return (0..<count).map { _ in reader.littleEndian() ?? 0 }
        }
    }

    private func damaged(_ what: String) -> StorageError {
        StorageError(
            .corruption, database.path,
            "the log in \(database.path) is damaged: \(what); \(StorageError.rejoin)")
    }
}
