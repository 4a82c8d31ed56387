import CGuard
import Glibc

/// The program gulp-guard.
public enum GuardProgram {
    /// Guards the run whose directory is the one argument, until it is over. The exit status: 0 when the outcome is
    /// recorded, 1 when that failed (the reason is on the standard error), 2 for a wrong call.
    public static func main(_ arguments: [String]) -> Int32 {
        guard arguments.count == 2, arguments[1] != "--help" else {
            complain("usage: gulp-guard RUN-DIRECTORY (gulpd prepares the directory and starts this program)")
            return 2
        }
        do throws(GuardError) {
            try hold(arguments[1])
            return 0
        } catch {
            complain("gulp-guard: \(error)")
            return 1
        }
    }

    private static func hold(_ path: String) throws(GuardError) {
        // Before anything can be seen from outside: who reads `guard` may signal at once.
        let signals = try Descriptor(cguard_take_signals(), cannot: "take", "signals")
        _ = cguard_close_on_exec_from(3)
        let run = try RunDirectory(adopting: path)
        let lock = try inheritedLock(of: run)
        guard try run.outcome() == nil else { throw GuardError("\(run.path) is over; prepare another run") }
        guard let identity = ProcessIdentity(of: getpid()) else { throw GuardError("/proc is not mounted; mount it") }
        try run.write(guard: identity)
        guard cguard_become_subreaper() == 0 else { throw GuardError(cannot: "become", "subreaper") }
        guard chdir("/") == 0 else { throw GuardError(cannot: "change to", "/") }
        var process = try GuardProcess(run, lock: lock, signals: signals)
        try process.main()
    }

    /// The run's lock: the one that was taken by who launched this guard and handed on as descriptor 3, or, when it was
    /// started by hand, taken now.
    private static func inheritedLock(of run: RunDirectory) throws(GuardError) -> RunLock {
        let handed: CInt = 3
        var mine = stat()
        var its = stat()
        if fstat(handed, &mine) == 0, stat(run.file("lock"), &its) == 0, mine.st_ino == its.st_ino,
            mine.st_dev == its.st_dev, cguard_lock(handed) == 0
        {
            return RunLock(try Descriptor(handed, cannot: "take", run.file("lock")))
        }
        guard let lock = try run.takeLock() else {
            throw GuardError("another guard runs \(run.specification.runID)")
        }
        return lock
    }
}

/// Writes a line to the standard error.
func complain(_ message: String) {
    let line = Array("\(message)\n".utf8)
    _ = write(2, line, line.count)
}
