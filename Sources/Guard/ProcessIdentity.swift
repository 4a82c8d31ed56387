import CGuard
import Glibc

/// A process, told from any other that gets its pid later: by its start time within the boot, and the boot.
struct ProcessIdentity: Hashable, Sendable {
    let pid: pid_t
    /// Clock ticks after the boot, as /proc/PID/stat has it.
    let startTicks: UInt64
    let boot: String

    /// The identifier that the kernel made for this boot; empty if it does not say.
    static let currentBoot: String = {
        guard let bytes = try? readFile("/proc/sys/kernel/random/boot_id") else { return "" }
        return String(decoding: bytes.prefix { $0 > UInt8(ascii: " ") }, as: UTF8.self)
    }()

    init(pid: pid_t, startTicks: UInt64, boot: String) {
        self.pid = pid
        self.startTicks = startTicks
        self.boot = boot
    }

    /// The process that has this pid now (a zombie too); nil if there is none.
    init?(of pid: pid_t) {
        guard let stat = ProcessStat(of: pid) else { return nil }
        self = stat.identity
    }

    init(_ record: RunRecord) throws(GuardError) {
        self.init(
            pid: try record.number("pid"), startTicks: try record.number("start-ticks"), boot: try record.text("boot"))
        guard pid > 0 else { throw record.damaged("pid") }
    }

    func add(to record: inout RunRecord) {
        record.add("pid", String(pid))
        record.add("start-ticks", String(startTicks))
        record.add("boot", boot)
    }

    /// A pidfd of this very process; nil if it is gone, whoever has its pid now.
    func open() -> CInt? {
        guard boot == Self.currentBoot else { return nil }
        let descriptor = cguard_pidfd_open(pid)
        guard descriptor >= 0 else { return nil }
        // In this order: what the pid meant when the pidfd was made cannot have been replaced before it is read.
        guard ProcessIdentity(of: pid) == self else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    /// Sends a signal to this very process; false if it is gone or the signal is not allowed.
    @discardableResult
    func signal(_ signal: CInt) -> Bool {
        guard let descriptor = open() else { return false }
        defer { close(descriptor) }
        return cguard_pidfd_kill(descriptor, signal) == 0
    }
}
