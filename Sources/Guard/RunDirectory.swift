import CGuard
import Glibc

/// The directory of one run, through which it is prepared, launched, watched and ended by whoever holds its path.
///
/// A value without state of its own: all is in the files, and several processes may hold the same run. Paths are
/// absolute. What each file is for: see `GuardFormat`.
public struct RunDirectory: Hashable, Sendable {
    /// The absolute path.
    public let path: String
    /// What the run runs.
    public let specification: RunSpecification

    /// Prepares a run: makes the directory (its parent must be there, itself not). With no deadline it may run for
    /// ever; with one it is killed at it unless `renew` moves it on, and never started after it.
    public static func create(
        at path: String, _ specification: RunSpecification, deadline: BootTime?
    ) throws(GuardError) -> RunDirectory {
        try specification.validate()
        let path = absolute(path)
        guard mkdir(path, 0o700) == 0 else { throw GuardError(cannot: "create", path) }
        let run = RunDirectory(path: path, specification: specification)
        try replaceFile(run.file("deadline"), DeadlineFile.content(deadline))
        try replaceFile(run.file("lock"), [])
        // Last: a directory that has it is complete.
        try replaceFile(run.file("specification"), specification.record.encoded)
        return run
    }

    /// Takes up a run that another process prepared or launched. Throws if the directory is none of a run, damaged, or
    /// of a newer format.
    public init(adopting path: String) throws(GuardError) {
        let path = Self.absolute(path)
        guard let record = try Self.record("specification", in: path) else {
            throw GuardError("\(path) has no specification: it is no run's directory, or was never finished; remove it")
        }
        self.init(path: path, specification: try RunSpecification(record))
        _ = try deadline()
        _ = try guardIdentity()
    }

    private init(path: String, specification: RunSpecification) {
        self.path = path
        self.specification = specification
    }

    /// Where the run is in its life. Throws if a file is damaged or cannot be read.
    ///
    /// `lost` is judged by the guard's lock being free while there is no outcome, never by a pid.
    public func status() throws(GuardError) -> RunStatus {
        if let outcome = try outcome() { return .ended(outcome) }
        if try isLocked() {
            guard let record = try record("child") else { return .preparing }
            return .running(
                pid: try record.number("pid"), startedAt: try record.number("started-at"),
                stopping: fileExists(file("stop")))
        }
        // The guard may have written the outcome and gone since the first look.
        if let outcome = try outcome() { return .ended(outcome) }
        // Without `guard` none got so far as to start a child.
        if try guardIdentity() == nil { return .preparing }
        return .ended(RunOutcome(ending: .lost, cause: .byItself, endedAt: wallClockMilliseconds()))
    }

    /// The moment at which the run is killed; nil if never. A deadline that was set before the machine's last boot
    /// counts as long passed.
    public func deadline() throws(GuardError) -> BootTime? {
        try DeadlineFile(file("deadline")).deadline()
    }

    /// Moves the deadline to a later moment. An earlier one changes nothing, and a run without a deadline gets none.
    /// The guard is not woken: it reads the file when the deadline that it knows is there. A full disk does not matter.
    public func renew(until moment: BootTime) throws(GuardError) {
        let file = try DeadlineFile(file("deadline"))
        guard let present = try file.deadline(), present < moment else { return }
        try file.write(moment)
    }

    /// What the guard said on its standard error, for the reason of a `lost` run; nil if nothing.
    public func guardComplaint() throws(GuardError) -> String? {
        guard let bytes = try readFile(file("guard-errors")), !bytes.isEmpty else { return nil }
        return String(decoding: bytes.last == UInt8(ascii: "\n") ? bytes.dropLast() : bytes, as: UTF8.self)
    }

    /// Deletes the directory with the logs in it. Throws while the run lives; what is left of one whose guard died is
    /// killed first.
    public func remove() throws(GuardError) {
        if try outcome() == nil, try isLocked() {
            throw GuardError("\(path) cannot be removed: the guard of \(specification.runID) runs; stop it first")
        }
        // For the guard that recorded the outcome and is about to go, too.
        if try guardIdentity() != nil { try killNow() }
        try Self.removeFiles(path)
    }
}

extension RunDirectory {
    func file(_ name: String) -> String { "\(path)/\(name)" }

    func record(_ kind: String) throws(GuardError) -> RunRecord? {
        try Self.record(kind, in: path)
    }

    static func record(_ kind: String, in path: String) throws(GuardError) -> RunRecord? {
        guard let bytes = try readFile("\(path)/\(kind)") else { return nil }
        return try RunRecord(bytes, kind: kind, origin: "\(path)/\(kind)")
    }

    func outcome() throws(GuardError) -> RunOutcome? {
        guard let record = try record("exit") else { return nil }
        return try RunOutcome(record)
    }

    /// The guard's process, living or not; nil if none was launched.
    func guardIdentity() throws(GuardError) -> ProcessIdentity? {
        guard let record = try record("guard") else { return nil }
        return try ProcessIdentity(record)
    }

    func write(guard identity: ProcessIdentity) throws(GuardError) {
        var record = RunRecord(kind: "guard")
        identity.add(to: &record)
        try replaceFile(file("guard"), record.encoded)
    }

    /// The child's process, living or not; nil if its start was not recorded.
    func childIdentity() throws(GuardError) -> ProcessIdentity? {
        guard let record = try record("child") else { return nil }
        return try ProcessIdentity(record)
    }

    static func record(child identity: ProcessIdentity, startedAt: Int64) -> RunRecord {
        var record = RunRecord(kind: "child")
        identity.add(to: &record)
        record.add("started-at", String(startedAt))
        return record
    }

    /// Only for the holder of the lock, when nothing of the run lives.
    func write(outcome: RunOutcome) throws(GuardError) {
        try replaceFile(file("exit"), outcome.record.encoded, durable: true)
    }

    /// Whether a guard lives (or one is being launched, or a dead run being settled, at this moment).
    func isLocked() throws(GuardError) -> Bool {
        // Not for writing: that would wait for a frozen file system.
        let lock = try openLock(O_RDONLY)
        let held = cguard_lock_is_held(lock.number)
        guard held >= 0 else { throw GuardError(cannot: "look at the lock", file("lock")) }
        return held == 1
    }

    /// The lock, taken; nil if another holds it.
    func takeLock() throws(GuardError) -> RunLock? {
        let lock = try openLock(O_RDWR)
        if cguard_lock(lock.number) == 0 { return RunLock(lock) }
        guard errno == EAGAIN || errno == EACCES else { throw GuardError(cannot: "lock", file("lock")) }
        return nil
    }

    private func openLock(_ access: CInt) throws(GuardError) -> Descriptor {
        try Descriptor(open(file("lock"), access | O_CLOEXEC), cannot: "open", file("lock"))
    }

    /// Deletes the files of a run's directory (there are no folders in it) and the directory.
    static func removeFiles(_ path: String) throws(GuardError) {
        for name in try names(in: path) where unlink("\(path)/\(name)") != 0 && errno != ENOENT {
            throw GuardError(cannot: "remove", "\(path)/\(name)")
        }
        guard rmdir(path) == 0 || errno == ENOENT else { throw GuardError(cannot: "remove", path) }
    }

    static func absolute(_ path: String) -> String {
        var path = path
        while path.count > 1 && path.hasSuffix("/") { path.removeLast() }
        guard !path.hasPrefix("/"), let here = getcwd(nil, 0) else { return path }
        defer { free(here) }
        return "\(String(cString: here))/\(path)"
    }
}
