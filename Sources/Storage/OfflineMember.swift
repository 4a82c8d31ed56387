import Glibc
import Raft
import RocksDB

/// A stopped member's data directory, looked at without changing it: every check that an opening makes, and what it
/// would find. Holds the directory's lock, so that no member starts on it meanwhile.
public final class OfflineMember: Sendable {
    /// A file that was checked.
    public struct File: Sendable, Equatable {
        public var path: String
        public var size: Int
    }

    public let identity: MemberIdentity
    public let log: RecoveredLog
    /// How far the log had once been synced, by the note beside it; nil without one.
    public let witness: LogWitness?
    /// How far the state is applied, and the configuration then.
    public let applied: AppliedMark
    /// Of the log, the state and our own notes, in this order.
    public let files: [File]
    /// What an opening would say to its operator.
    public let notices: [String]
    /// The state as it is on the disk. It has no writer: what is appended to it stays in memory.
    public let state: StateFiles
    private let lock: DirectoryLock?
    private let scratch: ScratchDirectory?

    /// Checks log and state, and reads all of the log. Throws `StorageError` for what an opening would refuse.
    ///
    /// - Parameter walDirectory: where the log is, if not in the data directory.
    public init(dataDirectory: String, walDirectory: String? = nil) throws {
        let places = MemberPlaces(dataDirectory: dataDirectory, walDirectory: walDirectory)
        try places.refuseForeignData()
        guard Files.exists(places.member) else {
            throw StorageError(
                .unknownFormat, dataDirectory,
                "there is no member's data in \(dataDirectory): it has no directory member; look at --data-dir")
        }
        lock = Files.exists(places.lock) ? try DirectoryLock(existing: places.lock, of: dataDirectory) : nil
        guard let identity = try MemberStorage.storedIdentity(dataDirectory: dataDirectory) else {
            throw places.missingIdentity()
        }
        self.identity = identity

        // An opening that was interrupted will be begun again from the files as they were.
        func current(_ path: String, copy: String) -> String { Files.exists(copy) ? copy : path }
        let records = current(places.log.records, copy: places.log.copy)
        let live = try StateDirectory.live(in: places.states)
        let statePath = current(live, copy: StateDirectory.copyPath(of: live))
        let note = try places.log.witness()
        let logInspection = try DatabaseInspection(records)
        let stateInspection = try DatabaseInspection(statePath)
        try places.refuseIfMissing(log: logInspection, note, state: stateInspection, statePath)

        let torn = logInspection.torn + stateInspection.torn
        var notices = torn.map { $0.notice(size: (try? Files.size(of: $0.path)) ?? $0.offset) }
        let scratch = torn.isEmpty ? nil : try ScratchDirectory()
        self.scratch = scratch
        let readableLog = try scratch?.view(of: records, without: logInspection.torn, named: "log") ?? records
        log = try RaftLog.read(places.log, from: readableLog, witness: note) {
            try places.refuseForeignLog($0, of: identity)
        }
        let readableState = try scratch?.view(of: statePath, without: stateInspection.torn, named: "state") ?? statePath
        state = try StateFiles(path: readableState, access: .readOnly)
        if try state.isBlank() { throw places.missingState(statePath) }
        applied = try state.applied()
        notices += log.notices
        if try !MemberStorage.leads(log, to: state, applied: applied) {
            notices.append(
                "the state is a snapshot whose installation was interrupted before the log was reset; the next start does that"
            )
        }
        self.notices = notices
        if case .valid(let note) = note { witness = LogWitness(note) } else { witness = nil }
        files =
            try logInspection.checked.map { records + "/" + $0 }.map(File.init)
            + stateInspection.checked.map { statePath + "/" + $0 }.map(File.init)
            + [places.identity, places.log.witnessPath].filter(Files.exists).map(File.init)
    }

    /// Reads all of the state and checks its form. Answers how many events and notes it has.
    public func readState() throws -> (events: Int, notes: Int) {
        var events = 0
        var notes = 0
        try state.readAll { isEvent in if isEvent { events += 1 } else { notes += 1 } }
        return (events, notes)
    }
}

extension OfflineMember.File {
    init(_ path: String) throws { self.init(path: path, size: try Files.size(of: path)) }
}

/// What the witness note says: the last entry that was synced, and the last vote.
public struct LogWitness: Sendable, Equatable {
    public var lastTerm: Term
    public var lastIndex: LogIndex
    public var voteTerm: Term
    public var vote: MemberID

    init(_ note: WitnessNote) {
        lastTerm = note.lastTerm
        lastIndex = note.lastIndex
        voteTerm = note.hardStateTerm
        vote = note.vote
    }
}

/// A place for views of databases whose torn records are cut off, which an opening would do to the files themselves.
private final class ScratchDirectory: Sendable {
    private let path: String

    init() throws {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array((parent + "/gulp-check.XXXXXX").utf8CString)
        guard let made = mkdtemp(&template) else { throw Files.error("make a temporary directory in", parent) }
        path = String(cString: made)
    }

    deinit { try? Files.remove(path) }

    /// A directory of links to a database's files, but with the torn ones copied up to where they are whole.
    func view(of database: String, without torn: [DatabaseInspection.TornFile], named name: String) throws -> String {
        let view = path + "/" + name
        try Files.makeDirectory(view)
        for name in try Files.list(database) {
            if let file = torn.first(where: { $0.name == name }) {
                try Files.write([UInt8](Files.read(file.path).prefix(file.offset)), to: view + "/" + name)
            } else {
                let target = try Files.absolute(database) + "/" + name
                guard symlink(target, view + "/" + name) == 0 else { throw Files.error("link \(target) to", view) }
            }
        }
        return view
    }
}
