import CGuard
import Glibc

/// What /proc/PID/stat tells of a process.
struct ProcessStat {
    let pid: pid_t
    let parent: pid_t
    /// The pid that the session's first process has or had.
    let session: pid_t
    /// Clock ticks after the boot.
    let startTicks: UInt64
    /// It runs nothing any more and only waits to be reaped.
    let isZombie: Bool

    /// The process that has this pid now; nil if there is none.
    init?(of pid: pid_t) {
        // "pid (name) state ppid pgrp session …": the name may hold anything, so fields count from the last
        // parenthesis. By proc(5), the state is field 3 and the start time field 22.
        guard let bytes = try? readFile("/proc/\(pid)/stat"), let name = bytes.lastIndex(of: UInt8(ascii: ")")) else {
            return nil
        }
        let fields = bytes[(name + 1)...].split(separator: UInt8(ascii: " "), maxSplits: 20)
        func number<Number: FixedWidthInteger>(_ field: Int) -> Number? {
            Number(String(decoding: fields[field - 3], as: UTF8.self))
        }
        guard fields.count > 19, let parent: pid_t = number(4), let session: pid_t = number(6),
            let startTicks: UInt64 = number(22)
        else { return nil }
        self.pid = pid
        self.parent = parent
        self.session = session
        self.startTicks = startTicks
        isZombie = [UInt8(ascii: "Z"), UInt8(ascii: "X")].contains(fields[0].first)
    }

    var identity: ProcessIdentity {
        ProcessIdentity(pid: pid, startTicks: startTicks, boot: ProcessIdentity.currentBoot)
    }

    /// All processes, in one walk through /proc. One that is started during the walk may be missing.
    static func all() throws(GuardError) -> [ProcessStat] {
        try names(in: "/proc").compactMap { pid_t($0) }.compactMap { ProcessStat(of: $0) }
    }
}

extension ProcessIdentity {
    /// Kills all that descends from this process, which must be a subreaper and stopped: as long as it is there, the
    /// orphans below it become its children, so none gets out of sight. Answers the descendants; each was sent SIGKILL,
    /// but may take a moment to die.
    func killDescendants() throws(GuardError) -> Set<ProcessIdentity> {
        var killed: Set<ProcessIdentity> = []
        var quietPasses = 0
        // A process that was sent SIGKILL forks no more, but one may have been forked before and be missing in the
        // walk: none new in two walks means that there is none. Zombies count as new, since they show that something
        // was alive, and are not reaped while this process is stopped. The bound is for what forks faster than that.
        for _ in 0..<50 where quietPasses < 2 {
            let found = try descendants().filter { killed.insert($0).inserted }
            for process in found { process.signal(SIGKILL) }
            quietPasses = found.isEmpty ? quietPasses + 1 : 0
        }
        return killed
    }

    /// The processes below this one, zombies too; none if it is gone.
    private func descendants() throws(GuardError) -> [ProcessIdentity] {
        let byParent = Dictionary(grouping: try ProcessStat.all(), by: \.parent)
        // Only now is it sure that the children that were seen are not those of another that got its pid.
        guard ProcessIdentity(of: pid) == self else { return [] }
        var found: [ProcessIdentity] = []
        var parents = [pid]
        while let parent = parents.popLast() {
            for child in byParent[parent] ?? [] where child.pid != getpid() {
                parents.append(child.pid)
                found.append(child.identity)
            }
        }
        return found
    }

    /// Whether this very process is there and no zombie.
    var isAlive: Bool {
        guard boot == Self.currentBoot, let stat = ProcessStat(of: pid) else { return false }
        return stat.startTicks == startTicks && !stat.isZombie
    }

    /// Sends SIGKILL to this very process, the leader of its process group, and the group; to nobody if it is gone.
    func killGroup() {
        guard let descriptor = open() else { return }
        defer { close(descriptor) }
        // What holds the pid holds the group's number as well.
        kill(-pid, SIGKILL)
        _ = cguard_pidfd_kill(descriptor, SIGKILL)
    }
}
