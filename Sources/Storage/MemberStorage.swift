import Raft

/// Whose data a directory holds.
public struct MemberIdentity: Sendable, Equatable {
    public var clusterID: UInt64
    public var memberID: MemberID

    public init(clusterID: UInt64, memberID: MemberID) {
        self.clusterID = clusterID
        self.memberID = memberID
    }

    /// The version of the directory's layout that this code writes and reads.
    static let layoutVersion: UInt32 = 1

    var encoded: [UInt8] {
        var content: [UInt8] = []
        content.appendLittleEndian(Self.layoutVersion)
        content.appendLittleEndian(clusterID)
        content.appendLittleEndian(memberID.rawValue)
        return SealedNote.seal(content)
    }

    /// Reads the identity file at `path`.
    init(contentsOf path: String) throws {
        guard let content = SealedNote.open(try Files.read(path)) else {
            throw DatabaseInspection.damaged(path, "it does not match its checksum")
        }
        let values: (UInt32, UInt64, UInt64)? = content.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            guard let version: UInt32 = reader.littleEndian(), let cluster: UInt64 = reader.littleEndian(),
                let member: UInt64 = reader.littleEndian()
            else { return nil }
            return (version, cluster, member)
        }
        guard let values, values.0 == Self.layoutVersion else {
            throw StorageError(
                .unknownFormat, path,
                "\(path) has layout version \(values.map { "\($0.0)" } ?? "(none)"), and this program knows "
                    + "\(Self.layoutVersion); run the version that wrote it")
        }
        self.init(clusterID: values.1, memberID: MemberID(values.2))
    }
}

/// What a member starts with, after its log and its state were checked against each other.
public struct MemberRecovery: Sendable {
    /// True in a directory that was made just now.
    public var isNew: Bool
    /// The log's content. Its hard state's commit index lies between the applied index and the log's end.
    public var log: RecoveredLog
    /// How far the state is applied. The log begins at or before the entry after it, so that what follows can be
    /// replayed.
    public var applied: AppliedMark
    /// Sentences for the operator about what was repaired.
    public var notices: [String] { log.notices }
}

/// A member's data directory, open and locked.
///
/// Creation is crash-safe: the identity file is written last, and a directory without one holds nothing yet.
public final class MemberStorage: Sendable {
    public let identity: MemberIdentity
    public let log: RaftLog
    public let states: StateDirectory
    private let lock: DirectoryLock

    private init(identity: MemberIdentity, log: RaftLog, states: StateDirectory, lock: DirectoryLock) {
        self.identity = identity
        self.log = log
        self.states = states
        self.lock = lock
    }

    /// Whose data is in a data directory; nil when it holds no member. Changes nothing and takes no lock, so that a
    /// mismatch can be refused before anything is touched.
    public static func storedIdentity(dataDirectory: String) throws -> MemberIdentity? {
        let path = dataDirectory + "/member/identity"
        return Files.exists(path) ? try MemberIdentity(contentsOf: path) : nil
    }

    /// Opens what is stored, or makes a new member's storage under `newIdentity`. An identity that is already
    /// stored stays; whether it is the right one is the caller's question, answered by `storedIdentity` before or
    /// `identity` after. One that is refused leaves the files as they were.
    ///
    /// - Parameters:
    ///   - initialConfiguration: what a new member's state begins with at index 0.
    ///   - walDirectory: where the log is, if not in the data directory.
    ///   - durability: of the log; `.unsynced` is for tests that must lose data.
    ///   - logSettings: more of RocksDB's settings for the log, for tests that need many small files.
    ///   - checks: all but in the tests of the checks.
    package static func open(
        dataDirectory: String, walDirectory: String? = nil, newIdentity: MemberIdentity,
        initialConfiguration: ConfState = ConfState(), durability: RaftLog.Durability = .synced,
        logSettings: String = "", checks: StorageChecks = .all
    ) throws -> (MemberStorage, MemberRecovery) {
        let places = MemberPlaces(dataDirectory: dataDirectory, walDirectory: walDirectory)
        try places.refuseForeignData()
        try Files.makeDirectory(places.member)
        let lock = try DirectoryLock(places.lock, of: dataDirectory)
        let stored = try storedIdentity(dataDirectory: dataDirectory)
        let logCopy = places.log.copy
        let witness = try places.log.witness()
        let state = try StateDirectory.live(in: places.states)
        let stateCopy = StateDirectory.copyPath(of: state)
        let scans = checks.contains(.scan)
        let logInspection = try DatabaseOpening.inspect(places.log.records, copyPath: logCopy, scans: scans)
        let stateInspection = try DatabaseOpening.inspect(state, copyPath: stateCopy, scans: scans)
        if stored != nil {
            try places.refuseIfMissing(log: logInspection, witness, state: stateInspection, state)
        } else if logInspection.isNew {
            try places.log.refuseIfMissed(witness)
        }

        let logOpening = try DatabaseOpening(places.log.records, copyPath: logCopy, logInspection)
        let stateOpening: DatabaseOpening
        var opened: Opened
        do {
            stateOpening = try DatabaseOpening(state, copyPath: stateCopy, stateInspection)
            do {
                opened = try read(
                    places, stateOpening, stored: stored, newIdentity: newIdentity,
                    initialConfiguration: initialConfiguration, checks: checks
                ) {
                    try RaftLog.recover(
                        places.log, witness: witness, durability: durability, settings: logSettings, checks: checks
                    ) { if let stored { try places.refuseForeignLog($0, of: stored) } }
                }
            } catch {
                stateOpening.takeBack()
                throw error
            }
        } catch {
            logOpening.takeBack()
            throw error
        }
        // From here on a failure leaves the copies, and the next opening begins with them.
        opened.recovered.notices = try logOpening.finish() + stateOpening.finish() + opened.recovered.notices
        try opened.log.begin()
        try opened.states.removeLeftovers()
        // Last, when all that it speaks of is there to stay.
        let identity = stored ?? newIdentity
        if stored == nil { try Files.replace(places.identity, with: identity.encoded) }
        return (
            MemberStorage(identity: identity, log: opened.log, states: opened.states, lock: lock),
            MemberRecovery(isNew: stored == nil, log: opened.recovered, applied: opened.applied)
        )
    }

    private struct Opened {
        var log: RaftLog
        var recovered: RecoveredLog
        var states: StateDirectory
        var applied: AppliedMark
    }

    /// Reads log and state, checks them against each other, and makes them what they begin with if they are new.
    /// When it throws, nothing of them is open any more.
    private static func read(
        _ places: MemberPlaces, _ stateOpening: DatabaseOpening, stored: MemberIdentity?,
        newIdentity: MemberIdentity, initialConfiguration: ConfState, checks: StorageChecks,
        recoverLog: () throws -> (RaftLog, RecoveredLog)
    ) throws -> Opened {
        var (log, recovered) = try recoverLog()
        let states = try StateDirectory(opened: stateOpening)
        if stored == nil {
            // An interrupted creation left nothing but emptiness; anything else is somebody's.
            guard recovered.last == (.zero, .zero), recovered.hardState == HardState(),
                try states.files.applied().index == .zero
            else { throw places.missingIdentity() }
            let state = try StateDatabase(states.files)
            try state.commit(applied: .zero, term: .zero, configuration: initialConfiguration)
            try state.flush()
            try log.setMetadata(newIdentity.encoded)
        } else if try states.files.isBlank() {
            throw places.missingState(stateOpening.path)
        }
        let applied = try states.files.applied()
        if checks.contains(.reconciliation) {
            let isLed = try leads(recovered, to: states.files, applied: applied)
            if !isLed {
                try log.reset(toSnapshot: applied.index, term: applied.term)
                recovered.base = (applied.index, applied.term)
                recovered.entries = []
            }
            recovered.settleCommitIndex(applied: applied.index)
        }
        return Opened(log: log, recovered: recovered, states: states, applied: applied)
    }

    /// Checks log and state against each other. False if the state is a snapshot that the log does not lead to: its
    /// installation was interrupted before the log was reset.
    static func leads(_ recovered: RecoveredLog, to state: StateFiles, applied: AppliedMark) throws -> Bool {
        let base = recovered.base
        guard base.index <= applied.index else {
            throw StorageError(
                .missingEntries, state.path,
                "the state in \(state.path) is too old: it is applied up to index \(applied.index.rawValue), but the log was "
                    + "trimmed up to \(base.index.rawValue), which the state once held; \(StorageError.rejoin)")
        }
        let held = recovered.term(at: applied.index)
        if held == applied.term { return true }
        // Entries are applied after they are in the log, so only a snapshot brings a state that the log does not lead
        // to.
        guard try state.installed() == applied else {
            let found =
                held.map { "has term \($0.rawValue) there" } ?? "ends at index \(recovered.last.index.rawValue)"
            throw StorageError(
                .missingEntries, state.path,
                "acknowledged entries are missing from the log: the state in \(state.path) is applied up to index "
                    + "\(applied.index.rawValue) of term \(applied.term.rawValue), but the log \(found). This member must "
                    + "not vote: \(StorageError.rejoin)")
        }
        return false
    }
}

extension RecoveredLog {
    /// What is applied is committed. A commit index past the log's end is of another log, a snapshot's that never
    /// came say, and proves nothing about the entries that are here: Raft finds out again.
    mutating func settleCommitIndex(applied: LogIndex) {
        hardState.commit = hardState.commit <= last.index ? max(applied, hardState.commit) : applied
    }

    /// The term of an entry, or of the base; nil for an index the log does not hold.
    func term(at index: LogIndex) -> Term? {
        if index == base.index { return base.term }
        guard index > base.index, index <= last.index else { return nil }
        return entries[Int(index.rawValue - base.index.rawValue) - 1].term
    }
}
