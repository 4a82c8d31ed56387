import CGuard
import Glibc

extension RunDirectory {
    /// How long `killNow` waits for a guard to be gone after SIGKILL: only a system call that hangs takes longer.
    static let killPatience: Duration = .seconds(10)

    /// Starts the guard, once: the program at `executable`, in a session of its own, with no descriptor of the caller's.
    /// Returns when its process is there; `status` tells how it goes on. Throws if the run was launched before; after
    /// any other error `killNow` makes sure that nothing was started.
    ///
    /// Give the run to a `GuardWatch` afterwards: it also reaps the guard, which is the caller's child.
    public func launch(guard executable: String) throws(GuardError) {
        // The guard is given the lock that is taken here: there is no moment between in which nobody holds it.
        guard var lock = try takeLock() else {
            throw GuardError("\(specification.runID) is launched already: its guard runs or is being started")
        }
        let launched = try guardIdentity() != nil
        let over = try outcome() != nil
        if launched || over {
            throw GuardError("\(specification.runID) was launched before; a run is launched once: create another")
        }
        var pid: pid_t = 0
        let error = withCStrings([executable, path]) { arguments in
            withCStrings(["\(RunSpecification.marker)=\(specification.runID)"]) { environment in
                cguard_spawn(executable, arguments, environment, lock.number, file("guard-errors"), &pid)
            }
        }
        guard error == 0 else { throw GuardError(cannot: "start the guard", executable, error) }
        lock.isHandedOver = true
        // The guard writes the same. It is written here too so that a guard that dies at once is seen to be lost.
        if let identity = ProcessIdentity(of: pid) { try write(guard: identity) }
    }

    /// Asks for a graceful end: SIGTERM to the child's process group, SIGKILL after the grace. Asking again changes
    /// nothing; a guard that is not up yet sees it when it comes up, and starts nothing.
    public func requestStop() throws(GuardError) {
        if !fileExists(file("stop")) { try replaceFile(file("stop"), []) }
        // In this order: a guard writes `guard` before it looks for `stop`, so one of the two sees the other.
        try guardIdentity()?.signal(SIGUSR1)
    }

    /// Ends the run at once, whatever guard and child do (a guard stopped by SIGSTOP dies as well), and returns when
    /// nothing of it is left and the outcome is recorded. A run that was not launched cannot be launched any more.
    /// Blocks, mostly for some milliseconds; throws after ten seconds if a process does not die (its system call hangs).
    ///
    /// `cause` is what the outcome will say.
    public func killNow(cause: Cause = .stopRequested) throws(GuardError) {
        if cause == .stopRequested, try outcome() == nil { try requestStop() }
        let giveUp = BootTime.now + Self.killPatience
        while try !settle(cause: cause) {
            guard BootTime.now < giveUp else {
                throw GuardError(
                    "\(specification.runID) was sent SIGKILL \(Self.killPatience) ago and lives; its system call hangs "
                        + "(see the processes in state D), try again")
            }
            usleep(2000)
        }
    }

    /// Sends SIGKILL to every process whose environment holds GULP_RUN with this run's id, the guard included, and to
    /// those of the child's session, and returns when none is left; the number of them. Throws like `killNow` if one
    /// does not die.
    @discardableResult
    public func sweep() throws(GuardError) -> Int {
        try Self.sweep(runID: specification.runID, child: try? childIdentity())
    }

    /// The same for a run whose directory is lost or damaged, so that nothing is known of its child's session.
    @discardableResult
    public static func sweep(runID: String) throws(GuardError) -> Int {
        try sweep(runID: runID, child: nil)
    }

    private static func sweep(runID: String, child: ProcessIdentity?) throws(GuardError) -> Int {
        let sweep = Sweep(runID: runID, child: child)
        let giveUp = BootTime.now + killPatience
        var seen: Set<pid_t> = []
        var emptyPasses = 0
        while true {
            let left = try sweep.pass()
            emptyPasses = left.isEmpty ? emptyPasses + 1 : 0
            if emptyPasses == Sweep.passesOfNone { return seen.count }
            if left.isEmpty { continue }
            seen.formUnion(left)
            guard BootTime.now < giveUp else {
                throw GuardError("processes \(left) of \(runID) were sent SIGKILL \(killPatience) ago and live")
            }
            usleep(2000)
        }
    }

    /// One step of ending a run by force: kills what is seen of it. True when it is over and recorded, and its guard gone.
    ///
    /// `killGuard` sends SIGKILL to the guard's pidfd; in a test, a guard whose system call hangs does not die of it.
    func settle(
        cause: Cause, killGuard: (CInt) -> Void = { _ = cguard_pidfd_kill($0, SIGKILL) }
    ) throws(GuardError) -> Bool {
        var killed: Set<ProcessIdentity> = []
        if let identity = try guardIdentity(), let descriptor = identity.open() {
            defer { close(descriptor) }
            killed = identity.endGuard(descriptor, isOver: (try? outcome()) != nil, killGuard)
            // Its death takes a moment, and its lock is free before it can be reaped.
            var dying = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&dying, 1, 5) > 0 else {
                // It hangs in a system call and will do nothing more, but it must not shield the others.
                let child = try? childIdentity()
                child?.killGroup()
                try Sweep(runID: specification.runID, child: child).pass(sparing: identity.pid)
                return false
            }
            cguard_pidfd_reap(descriptor)
        }
        let child = try childIdentity()
        child?.killGroup()
        guard let lock = try takeLock() else { return false }
        defer { withExtendedLifetime(lock) {} }
        if try outcome() != nil { return true }
        guard try Sweep(runID: specification.runID, child: child).isEmpty(), child?.isAlive != true,
            !killed.contains(where: \.isAlive)
        else { return false }
        try write(outcome: RunOutcome(ending: .lost, cause: cause, endedAt: wallClockMilliseconds()))
        return true
    }
}

extension ProcessIdentity {
    /// Kills this guard, whose pidfd is `descriptor`, and before it all that descends from it, unless its run `isOver`.
    /// Answers the descendants.
    ///
    /// It is stopped first, so that it does not record the child's death as the child's own: once SIGSTOP is sent it
    /// returns from no system call any more.
    @discardableResult
    func endGuard(
        _ descriptor: CInt, isOver: Bool, _ killGuard: (CInt) -> Void = { _ = cguard_pidfd_kill($0, SIGKILL) }
    ) -> Set<ProcessIdentity> {
        var killed: Set<ProcessIdentity> = []
        if !isOver {
            _ = cguard_pidfd_kill(descriptor, SIGSTOP)
            killed = (try? killDescendants()) ?? []
        }
        killGuard(descriptor)
        return killed
    }
}

/// Calls `body` with the texts as C has arguments: an array of pointers that ends with null.
func withCStrings<Result>(
    _ texts: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    let pointers = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: texts.count + 1)
    pointers.initialize(repeating: nil, count: texts.count + 1)
    for (index, text) in texts.enumerated() { pointers[index] = strdup(text) }
    defer {
        for index in texts.indices { free(pointers[index]) }
        pointers.deallocate()
    }
    return body(pointers)
}
