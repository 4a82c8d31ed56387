import CGuard
import Glibc

/// Finds and kills the processes that carry a run's marker in their environment.
///
/// A process shows its environment as long as it lives; a zombie shows none and does not count, nor does the caller.
struct Sweep {
    private let marker: [UInt8]

    init(runID: String) {
        marker = Array("\(RunSpecification.marker)=\(runID)".utf8)
    }

    /// Sends SIGKILL to every process of the run that is seen in one walk through /proc, and answers these. None
    /// seen means that none is left, since a process that starts another during the walk was there to be seen itself.
    func pass() throws(GuardError) -> [pid_t] {
        var found: [pid_t] = []
        for name in try names(in: "/proc") {
            guard let pid = pid_t(name), pid != getpid(), carriesMarker(pid) else { continue }
            let descriptor = cguard_pidfd_open(pid)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            // Again, now that the pid can mean no other process.
            guard carriesMarker(pid) else { continue }
            found.append(pid)
            _ = cguard_pidfd_kill(descriptor, SIGKILL)
        }
        return found
    }

    /// Whether the marker is one whole variable of the process's environment.
    private func carriesMarker(_ pid: pid_t) -> Bool {
        guard let environment = try? readFile("/proc/\(pid)/environ") else { return false }
        return environment.split(separator: 0).contains { $0.elementsEqual(marker) }
    }
}
