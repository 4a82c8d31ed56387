import CGuard
import Glibc

/// A guard at work: one child, its pipes, and a loop that sleeps in poll() until something is to be done.
///
/// Single-threaded on purpose: the child's PR_SET_PDEATHSIG is tied to the thread that forked it.
struct GuardProcess: ~Copyable {
    /// What poll waits for, in this order; the pipes by `ChildPipes.Use` from `pipes` on.
    private enum Slot {
        static let signals = 0
        static let deadline = 1
        static let grace = 2
        static let pipes = 3
        static let count = 6
    }

    /// How soon a failed writing of `child` is tried again.
    private static let retryMilliseconds: CInt = 500

    private let run: RunDirectory
    private let lock: RunLock
    private let signals: Descriptor
    private let deadlineTimer: Descriptor
    private let graceTimer: Descriptor
    private let outcomeFile: ReservedFile
    private let childFile: ReservedFile
    /// What `child` is to hold, until it could be written.
    private var unwrittenChild: RunRecord?
    /// When it is tried again; nil if it has not failed.
    private var retryAt: BootTime?
    private var log: LogWriter
    private var buffer = [UInt8](repeating: 0, count: 16 << 10)
    private var polled = [pollfd](repeating: pollfd(fd: -1, events: Int16(POLLIN), revents: 0), count: Slot.count)
    private var deadline: BootTime?
    private var cause = Cause.byItself
    private var isStopping = false

    /// The run's guard. `lock` is the run's, held; `signals` a descriptor of `cguard_take_signals`.
    init(_ run: RunDirectory, lock: consuming RunLock, signals: consuming Descriptor) throws(GuardError) {
        let deadlineTimer = try Descriptor(cguard_timer(), cannot: "create", "the guard's timers")
        let graceTimer = try Descriptor(cguard_timer(), cannot: "create", "the guard's timers")
        let outcomeFile = try ReservedFile(run.file("exit"))
        let childFile = try ReservedFile(run.file("child"))
        self.run = run
        self.lock = lock
        self.signals = signals
        self.deadlineTimer = deadlineTimer
        self.graceTimer = graceTimer
        self.outcomeFile = outcomeFile
        self.childFile = childFile
        log = LogWriter(directory: run.path, limitBytes: run.specification.logLimitBytes)
    }

    /// Runs the child to its end, and records that when nothing of the run lives any more.
    mutating func main() throws(GuardError) {
        var ending: Ending
        do throws(StartFailure) {
            ending = try runChild()
        } catch {
            ending = .notStarted(errno: error.errno, message: error.message)
        }
        log.finish()
        let outcome = RunOutcome(ending: ending, cause: cause, endedAt: wallClockMilliseconds())
        // A disk that does not take it now may do so soon; after a minute the run counts as lost.
        var attempts = 60
        while true {
            do throws(GuardError) {
                return try outcomeFile.write(outcome.record, durable: true)
            } catch {
                attempts -= 1
                if attempts == 0 { throw error }
            }
            sleep(1)
        }
    }

    private mutating func runChild() throws(StartFailure) -> Ending {
        let start = try ChildStart(run.specification)
        var pipes = try ChildPipes()
        if fileExists(run.file("stop")) {
            cause = .stopRequested
            throw StartFailure(errno: 0, message: "it was stopped before it was started")
        }
        // Last, so that no time passes between this look and the fork.
        do throws(GuardError) { deadline = try run.deadline() } catch {
            throw StartFailure(errno: EINVAL, message: error.description)
        }
        if let deadline, deadline <= .now {
            cause = .deadlinePassed
            throw StartFailure(errno: 0, message: "its deadline had passed before it was started")
        }
        let pid = try start.fork(
            startPipe: pipes.writing[ChildPipes.Use.start.rawValue],
            output: pipes.writing[ChildPipes.Use.output.rawValue],
            errors: pipes.writing[ChildPipes.Use.errors.rawValue])
        pipes.closeWriting()
        var failure: cguard_start_failure?
        let death = untilDead(pid, &pipes, &failure)
        // The group while the dead child still keeps its number from being given to another.
        kill(-pid, SIGKILL)
        _ = cguard_reap(pid)
        endDescendants()
        drain(&pipes, .output)
        drain(&pipes, .errors)
        if let failure { throw start.failure(failure) }
        return death.signalled == 0 ? .exited(code: death.status) : .signalled(death.status)
    }

    /// The loop: until the child is dead, not yet reaped.
    private mutating func untilDead(
        _ pid: pid_t, _ pipes: inout ChildPipes, _ failure: inout cguard_start_failure?
    ) -> cguard_death {
        polled[Slot.signals].fd = signals.number
        polled[Slot.deadline].fd = deadlineTimer.number
        polled[Slot.grace].fd = graceTimer.number
        judgeDeadline(pid)
        while true {
            for use in ChildPipes.Use.allCases { polled[Slot.pipes + use.rawValue].fd = pipes.reading[use.rawValue] }
            let count = poll(&polled, nfds_t(Slot.count), unwrittenChild == nil ? -1 : Self.retryMilliseconds)
            if let retryAt, retryAt <= .now { writeChild() }
            guard count > 0 else { continue }
            // Before the signals: a child that could not start is dead at once.
            if isReady(Slot.pipes + ChildPipes.Use.start.rawValue) {
                failure = pipes.takeStartFailure()
                if failure == nil { tellRunning(pid) }
            }
            for use in [ChildPipes.Use.output, .errors] where isReady(Slot.pipes + use.rawValue) {
                takeOutput(&pipes, use)
            }
            if isReady(Slot.deadline) { judgeDeadline(pid) }
            if isReady(Slot.grace) {
                _ = cguard_timer_set(graceTimer.number, 0)
                killChild(pid, SIGKILL)
            }
            if isReady(Slot.signals), let death = takeSignals(pid) {
                if let late = pipes.takeStartFailure() { failure = late }
                return death
            }
        }
    }

    private func isReady(_ slot: Int) -> Bool {
        polled[slot].fd >= 0 && polled[slot].revents != 0
    }

    /// Handles the signals that came; how the child died, if it did.
    private mutating func takeSignals(_ pid: pid_t) -> cguard_death? {
        while true {
            let signal = cguard_next_signal(signals.number)
            if signal == 0 { break }
            if signal == SIGTERM || signal == SIGUSR1 && fileExists(run.file("stop")) { beginStop(pid) }
        }
        var death = cguard_death()
        while cguard_find_dead(0, &death) > 0 {
            if death.pid == pid { return death }
            // An orphan of the child's that this guard inherited.
            _ = cguard_reap(death.pid)
        }
        return nil
    }

    private mutating func beginStop(_ pid: pid_t) {
        guard !isStopping else { return }
        isStopping = true
        if cause == .byItself { cause = .stopRequested }
        killChild(pid, SIGTERM)
        _ = cguard_timer_set(graceTimer.number, (BootTime.now + run.specification.stopGrace).nanoseconds)
    }

    /// Looks at the deadline as it is now, and kills the child or sets the timer anew.
    private mutating func judgeDeadline(_ pid: pid_t) {
        // What cannot be read has not moved the deadline that was.
        if let present = try? run.deadline() { deadline = present }
        guard let deadline else { return }
        if deadline <= .now {
            if cause == .byItself { cause = .deadlinePassed }
            _ = cguard_timer_set(deadlineTimer.number, 0)
            killChild(pid, SIGKILL)
        } else {
            _ = cguard_timer_set(deadlineTimer.number, deadline.nanoseconds)
        }
    }

    /// Signals the child's process group, or the child alone while it has none yet.
    private func killChild(_ pid: pid_t, _ signal: CInt) {
        if kill(-pid, signal) != 0 || signal == SIGKILL { kill(pid, signal) }
    }

    private mutating func tellRunning(_ pid: pid_t) {
        guard let identity = ProcessIdentity(of: pid) else { return }
        unwrittenChild = RunDirectory.record(child: identity, startedAt: wallClockMilliseconds())
        writeChild()
    }

    /// Without the file the run goes on, but seems to be preparing still.
    private mutating func writeChild() {
        guard let record = unwrittenChild else { return }
        do throws(GuardError) {
            try childFile.write(record, durable: false)
            unwrittenChild = nil
        } catch {
            if retryAt == nil { complain("\(error); it is tried again") }
            retryAt = .now + .milliseconds(Self.retryMilliseconds)
        }
    }

    private mutating func takeOutput(_ pipes: inout ChildPipes, _ use: ChildPipes.Use) {
        let count = read(pipes.reading[use.rawValue], &buffer, buffer.count)
        if count > 0 {
            buffer.withUnsafeBytes {
                log.append(UnsafeRawBufferPointer(rebasing: $0[..<count]), to: use == .output ? .stdout : .stderr)
            }
        } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
            pipes.close(use)
        }
    }

    /// Takes what is in a pipe when all of the run are dead. Not for ever: a process outside the run that was handed
    /// the pipe may hold it open, and may even write.
    private mutating func drain(_ pipes: inout ChildPipes, _ use: ChildPipes.Use) {
        let mostBytesInPipe = 1 << 20
        for _ in 0..<(mostBytesInPipe / buffer.count) {
            var waiting = pollfd(fd: pipes.reading[use.rawValue], events: Int16(POLLIN), revents: 0)
            guard waiting.fd >= 0, poll(&waiting, 1, 0) > 0 else { return }
            takeOutput(&pipes, use)
        }
    }

    /// Kills and reaps until no descendant is left. Each death hands the dead one's children to this guard, the
    /// subreaper, so killing the own children again and again reaches all.
    private func endDescendants() {
        var death = cguard_death()
        while true {
            for child in childProcesses() { kill(child, SIGKILL) }
            if cguard_find_dead(1, &death) < 0 { return }
            _ = cguard_reap(death.pid)
            while cguard_find_dead(0, &death) > 0 { _ = cguard_reap(death.pid) }
        }
    }

    /// The guard's children. Their pids are their own until this guard reaps them.
    private func childProcesses() -> [pid_t] {
        let own = getpid()
        if let list = try? readFile("/proc/self/task/\(own)/children") {
            return list.split(separator: UInt8(ascii: " ")).compactMap { pid_t(String(decoding: $0, as: UTF8.self)) }
        }
        // A kernel without CONFIG_PROC_CHILDREN.
        return ((try? names(in: "/proc")) ?? []).compactMap { pid_t($0) }.filter {
            (try? readFile("/proc/\($0)/status"))?.split(separator: UInt8(ascii: "\n"))
                .contains { $0.elementsEqual("PPid:\t\(own)".utf8) } ?? false
        }
    }
}
