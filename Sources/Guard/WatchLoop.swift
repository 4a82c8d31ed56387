import CGuard
import Glibc

/// The thread of a `GuardWatch`: what it knows of each run, and its loop. Confined to that thread.
final class WatchLoop {
    /// How soon a run is looked at again of which nothing can be awaited: its child is not up, or its rest is dying.
    static let soon: Duration = .milliseconds(10)
    /// The same after an error, or when that was so for a while.
    static let later: Duration = .seconds(1)

    private let mailbox: WatchMailbox
    private var entries: [Entry] = []

    init(_ mailbox: WatchMailbox) {
        self.mailbox = mailbox
    }

    func run() {
        while let arrived = mailbox.take() {
            entries += arrived.map { Entry($0) }
            let now = BootTime.now
            entries.removeAll { entry in
                if !entry.isDue, entry.lookAt.map({ $0 > now }) ?? true { return false }
                entry.isDue = false
                return !mailbox.isClosed && advance(entry)
            }
            sleep()
        }
    }

    /// Until a guard dies, a run is to be looked at, or something arrives.
    private func sleep() {
        let watched = entries.filter { $0.awaitsDeath }
        var polled = [
            pollfd(fd: mailbox.wake.number, events: Int16(POLLIN), revents: 0),
            pollfd(fd: mailbox.timer.number, events: Int16(POLLIN), revents: 0),
        ]
        polled += watched.map { pollfd(fd: $0.guardDescriptor ?? -1, events: Int16(POLLIN), revents: 0) }
        let next = entries.compactMap(\.lookAt).min()
        _ = cguard_timer_set(mailbox.timer.number, next.map { max(1, $0.nanoseconds) } ?? 0)
        guard poll(&polled, nfds_t(polled.count), -1) > 0 else { return }
        for (index, entry) in watched.enumerated() where polled[index + 2].revents != 0 {
            entry.isDue = true
            entry.awaitsDeath = false
        }
    }

    /// Looks at one run. True when its end was told.
    private func advance(_ entry: Entry) -> Bool {
        do throws(GuardError) {
            if let cause = entry.settling { return try settle(entry, cause) }
            let run = entry.watched.run
            if entry.guardDescriptor == nil, let identity = try run.guardIdentity(), let descriptor = identity.open() {
                entry.guardIdentity = identity
                entry.guardDescriptor = descriptor
                entry.awaitsDeath = true
                // A gulpd that died while it ended the run may have left the guard stopped.
                _ = cguard_pidfd_kill(descriptor, SIGCONT)
            }
            if let descriptor = entry.guardDescriptor, !entry.awaitsDeath { cguard_pidfd_reap(descriptor) }
            switch try run.status() {
            case .ended(let outcome):
                return try settle(entry, outcome.cause)
            case .running(let pid, let startedAt, _):
                if !entry.toldRunning { entry.watched.onRunning?(pid, startedAt) }
                entry.toldRunning = true
            case .preparing:
                break
            }
            entry.deadline = try run.deadline().map { $0 + mailbox.slack }
            let now = BootTime.now
            if let deadline = entry.deadline, deadline <= now { return try settle(entry, .deadlinePassed) }
            entry.lookAt = entry.deadline
            if !entry.toldRunning || !entry.awaitsDeath {
                let next = now + entry.pause
                entry.pause = Self.longer(entry.pause)
                entry.lookAt = min(entry.deadline ?? next, next)
            } else {
                entry.pause = Self.soon
            }
            return false
        } catch {
            return endUnreadable(entry)
        }
    }

    /// The pause after one in which nothing happened: a child that has not come up soon may never do so.
    static func longer(_ pause: Duration) -> Duration {
        min(pause * 2, later)
    }

    /// Ends what is left of a run and tells its end; false while something of it lives.
    private func settle(_ entry: Entry, _ cause: Cause) throws(GuardError) -> Bool {
        entry.settling = cause
        entry.awaitsDeath = false
        entry.settleAttempts += 1
        // What has not died after a hundred kills hangs in a system call.
        entry.lookAt = BootTime.now + (entry.settleAttempts < 100 ? Self.soon : Self.later)
        guard try entry.watched.run.settle(cause: cause), let outcome = try entry.watched.run.outcome() else {
            return false
        }
        entry.watched.onEnd(outcome)
        return true
    }

    /// A file of the run is damaged or cannot be read at present, or its directory has vanished. While its guard lives
    /// it is looked at again, and ended at the last deadline that was read. When it is dead and nothing is left of it,
    /// the run is told as lost.
    private func endUnreadable(_ entry: Entry) -> Bool {
        let now = BootTime.now
        let isOverdue = entry.settling != nil || entry.deadline.map { $0 <= now } ?? false
        entry.lookAt = now + Self.later
        if let deadline = entry.deadline, deadline > now { entry.lookAt = min(deadline, now + Self.later) }
        let run = entry.watched.run
        let sweep = Sweep(runID: run.specification.runID, child: try? run.childIdentity())
        if let descriptor = entry.guardDescriptor {
            if isOverdue { entry.guardIdentity?.endGuard(descriptor, isOver: false) }
            cguard_pidfd_reap(descriptor)
        }
        // A guard that does not die must not shield the others.
        if isOverdue { _ = try? sweep.pass() }
        guard isGuardGone(entry), (try? sweep.isEmpty()) == true else { return false }
        let cause = entry.settling ?? (isOverdue ? .deadlinePassed : .byItself)
        entry.watched.onEnd(RunOutcome(ending: .lost, cause: cause, endedAt: wallClockMilliseconds()))
        return true
    }

    /// Whether the guard of a run whose files cannot be read is surely dead, or (in a directory that has vanished) was
    /// never seen: the sweep finds that one.
    private func isGuardGone(_ entry: Entry) -> Bool {
        if let isLocked = try? entry.watched.run.isLocked() { return !isLocked }
        if let descriptor = entry.guardDescriptor {
            var dead = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            return poll(&dead, 1, 0) > 0
        }
        return !fileExists(entry.watched.run.path) && errno == ENOENT
    }
}

extension WatchLoop {
    /// A run on its way to its end.
    private final class Entry {
        let watched: WatchedRun
        /// The guard's pidfd, once it is known.
        var guardDescriptor: CInt?
        var guardIdentity: ProcessIdentity?
        /// Whether the guard was seen alive and its death is waited for.
        var awaitsDeath = false
        var toldRunning: Bool
        /// How long to wait before the next look while nothing can be awaited.
        var pause = WatchLoop.soon
        /// The last deadline that was read, and the slack.
        var deadline: BootTime?
        /// When to look at it whatever happens; nil when only its guard's death matters.
        var lookAt: BootTime?
        /// Its guard died, or it is new.
        var isDue = true
        /// Why the run is being ended by force; nil while it is not.
        var settling: Cause?
        var settleAttempts = 0

        init(_ watched: WatchedRun) {
            self.watched = watched
            toldRunning = watched.onRunning == nil
        }

        deinit {
            if let guardDescriptor { close(guardDescriptor) }
        }
    }
}
