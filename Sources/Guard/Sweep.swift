import CGuard
import Glibc

/// Finds and kills the processes of a run whose guard cannot tell them any more: those that carry the run's marker in
/// their environment, and those in the session that its child began.
///
/// A process shows its environment as long as it lives, but may overwrite it; its session it can only leave. A zombie
/// does not count, nor does the caller.
///
/// A session has the number of its first process, and the kernel gives that number to no other process before the
/// session is empty. So a process is taken for one of the child's session only if it started in this boot and not
/// before the child, and if no other process has the child's pid by now. What remains is a stranger's session that got
/// the same number after the run's was empty and whose first process has ended too: all pids must have been given
/// once between the guard's death and the sweep, which a watch that is there does at once.
struct Sweep {
    private let marker: [UInt8]
    private let child: ProcessIdentity?

    /// `child` is the run's, living or not, if it is known.
    init(runID: String, child: ProcessIdentity? = nil) {
        marker = Array("\(RunSpecification.marker)=\(runID)".utf8)
        self.child = child
    }

    /// Sends SIGKILL to every process of the run that is seen in one walk through /proc, and answers these; not to the
    /// `spared`, if it is given.
    @discardableResult
    func pass(sparing spared: pid_t? = nil) throws(GuardError) -> [pid_t] {
        var found: [pid_t] = []
        for name in try names(in: "/proc") {
            guard let pid = pid_t(name), pid != getpid(), pid != spared, isOfRun(pid) else { continue }
            let descriptor = cguard_pidfd_open(pid)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            // Again, now that the pid can mean no other process.
            guard isOfRun(pid) else { continue }
            found.append(pid)
            _ = cguard_pidfd_kill(descriptor, SIGKILL)
        }
        return found
    }

    /// How many empty passes on end mean that nothing is left. One is not enough: a process that was listed and ended
    /// before it was looked at may have started one that is not in the list.
    static let passesOfNone = 2

    /// Kills like `pass`, and says whether nothing is left.
    func isEmpty() throws(GuardError) -> Bool {
        for _ in 0..<Self.passesOfNone where try !pass().isEmpty { return false }
        return true
    }

    private func isOfRun(_ pid: pid_t) -> Bool {
        isInSession(pid) || carriesMarker(pid)
    }

    /// Whether the process belongs to the child's session, without any doubt that can be had.
    private func isInSession(_ pid: pid_t) -> Bool {
        guard let child, !child.boot.isEmpty, child.boot == ProcessIdentity.currentBoot,
            let stat = ProcessStat(of: pid), !stat.isZombie,
            stat.session == child.pid, stat.startTicks >= child.startTicks
        else { return false }
        return ProcessIdentity(of: child.pid).map { $0 == child } ?? true
    }

    /// Whether the marker is one whole variable of the process's environment.
    private func carriesMarker(_ pid: pid_t) -> Bool {
        guard let environment = try? readFile("/proc/\(pid)/environ") else { return false }
        return environment.split(separator: 0).contains { $0.elementsEqual(marker) }
    }
}
