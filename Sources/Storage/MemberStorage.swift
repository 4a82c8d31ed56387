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
    /// `identity` after.
    ///
    /// - Parameters:
    ///   - initialConfiguration: what a new member's state begins with at index 0.
    ///   - walDirectory: where the log is, if not in the data directory.
    ///   - durability: of the log; `.unsynced` is for tests that must lose data.
    package static func open(
        dataDirectory: String, walDirectory: String? = nil, newIdentity: MemberIdentity,
        initialConfiguration: ConfState = ConfState(), durability: RaftLog.Durability = .synced
    ) throws -> (MemberStorage, MemberRecovery) {
        let member = dataDirectory + "/member"
        // etcd's own layout begins with the same name.
        guard !Files.exists(member + "/snap"), !Files.exists(member + "/wal") else {
            throw StorageError(
                .unknownFormat, dataDirectory,
                "the data directory \(dataDirectory) holds the data of an etcd member, which this program does not read; "
                    + "use an empty --data-dir")
        }
        try Files.makeDirectory(member)
        let lock = try DirectoryLock(member + "/lock", of: dataDirectory)
        let logPath = walDirectory ?? member + "/log"
        let identityPath = member + "/identity"
        let stored = try storedIdentity(dataDirectory: dataDirectory)
        let identity = stored ?? newIdentity

        if stored != nil, !Files.exists(logPath + "/records") {
            throw StorageError(
                .missingEntries, logPath,
                "the log of the member in \(dataDirectory) is not in \(logPath); give the --wal-dir that it was made with. If it "
                    + "is lost, remove this member from the cluster, and add it again with an empty data directory")
        }
        var (log, recovered) = try RaftLog.open(directory: logPath, durability: durability)
        if stored != nil, recovered.metadata != identity.encoded {
            throw StorageError(
                .missingEntries, logPath,
                "the log in \(logPath) is not that of the member in \(dataDirectory); give the --wal-dir that it was made with"
            )
        }
        let states = try StateDirectory(path: member + "/state")
        if stored == nil {
            // An interrupted creation left nothing but emptiness; anything else is somebody's.
            guard recovered.last == (.zero, .zero), recovered.hardState == HardState(),
                try states.files.applied().index == .zero
            else {
                throw StorageError(
                    .unknownFormat, dataDirectory,
                    "the data directory \(dataDirectory) has no identity file, but its log (\(logPath)) or its state holds data; "
                        + "restore \(identityPath), or use an empty --data-dir (and --wal-dir)")
            }
            let state = try StateDatabase(states.files)
            try state.commit(applied: .zero, term: .zero, configuration: initialConfiguration)
            try state.flush()
            try log.setMetadata(identity.encoded)
            try Files.replace(identityPath, with: identity.encoded)
        }
        let applied = try states.files.applied()
        try reconcile(log, &recovered, with: states.files, applied: applied)
        return (
            MemberStorage(identity: identity, log: log, states: states, lock: lock),
            MemberRecovery(isNew: stored == nil, log: recovered, applied: applied)
        )
    }

    /// Checks log and state against each other, and finishes a snapshot's installation that was interrupted.
    private static func reconcile(
        _ log: RaftLog, _ recovered: inout RecoveredLog, with state: StateFiles, applied: AppliedMark
    ) throws {
        let base = recovered.base
        let last = recovered.last
        guard base.index <= applied.index else {
            throw StorageError(
                .missingEntries, state.path,
                "the state in \(state.path) is too old: it is applied up to index \(applied.index.rawValue), but the log was "
                    + "trimmed up to \(base.index.rawValue), which the state once held; \(StorageError.rejoin)")
        }
        let held = recovered.term(at: applied.index)
        if held != applied.term {
            // Entries are applied after they are in the log, so only a snapshot brings a state that the log does
            // not lead to.
            guard try state.installed() == applied else {
                let found = held.map { "has term \($0.rawValue) there" } ?? "ends at index \(last.index.rawValue)"
                throw StorageError(
                    .missingEntries, state.path,
                    "acknowledged entries are missing from the log: the state in \(state.path) is applied up to index "
                        + "\(applied.index.rawValue) of term \(applied.term.rawValue), but the log \(found). This member must "
                        + "not vote: \(StorageError.rejoin)")
            }
            try log.reset(toSnapshot: applied.index, term: applied.term)
            recovered.base = (applied.index, applied.term)
            recovered.entries = []
        }
        // What is applied is committed. A commit index past the log's end is of another log, a snapshot's that never
        // came say, and proves nothing about the entries that are here: Raft finds out again.
        let commit = recovered.hardState.commit
        recovered.hardState.commit = commit <= recovered.last.index ? max(applied.index, commit) : applied.index
    }
}

extension RecoveredLog {
    /// The term of an entry, or of the base; nil for an index the log does not hold.
    func term(at index: LogIndex) -> Term? {
        if index == base.index { return base.term }
        guard index > base.index, index <= last.index else { return nil }
        return entries[Int(index.rawValue - base.index.rawValue) - 1].term
    }
}
