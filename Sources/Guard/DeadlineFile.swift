import Glibc

/// The file of a run's deadline: two slots, each a padded record that is whole or shows its damage.
///
/// A renewal overwrites one slot in place, which takes no room on the disk: a full disk does not end a run whose lease
/// is fine. (On a file system that never overwrites, such as btrfs, it may.) The deadline only ever moves to later, so
/// the later whole slot is the valid one, and a renewal writes over the other: if it is torn, the deadline is as before.
struct DeadlineFile {
    static let slotBytes = 512
    private static let slotCount = 2

    private let path: String
    /// What the slots say; an error where one is damaged.
    private var slots: [Result<Moment, GuardError>]

    private enum Moment {
        case never
        case at(BootTime)
    }

    /// The content of a new file.
    static func content(_ deadline: BootTime?) -> [UInt8] {
        let slot = slot(deadline, boot: ProcessIdentity.currentBoot)
        return slot + slot
    }

    /// One slot's bytes.
    static func slot(_ deadline: BootTime?, boot: String) -> [UInt8] {
        var record = RunRecord(kind: "deadline")
        if let deadline {
            record.add("nanoseconds", String(deadline.nanoseconds))
            record.add("boot", boot)
        } else {
            record.add("never", "")
        }
        let bytes = record.encoded
        return bytes + [UInt8](repeating: 0, count: slotBytes - bytes.count)
    }

    /// Reads the file. Throws if there is none.
    init(_ path: String) throws(GuardError) {
        guard let bytes = try readFile(path) else {
            throw GuardError("\(path) is missing; the run cannot be judged by it")
        }
        self.path = path
        slots = (0..<Self.slotCount).map { index in
            let slot = bytes.dropFirst(index * Self.slotBytes).prefix(Self.slotBytes)
            return Result { () throws(GuardError) in try Self.moment(Array(slot), origin: path) }
        }
    }

    private static func moment(_ slot: [UInt8], origin: String) throws(GuardError) -> Moment {
        let end = slot.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
        let record = try RunRecord(Array(slot[..<end]), kind: "deadline", origin: origin)
        if record.first("never") != nil { return .never }
        guard try record.text("boot") == ProcessIdentity.currentBoot else { return .at(BootTime(nanoseconds: 0)) }
        return .at(BootTime(nanoseconds: try record.number("nanoseconds")))
    }

    /// The deadline; nil if there is none. One that was set before the machine's last boot counts as long passed.
    /// Throws if no slot is whole.
    func deadline() throws(GuardError) -> BootTime? {
        var latest: BootTime?
        var isNever = false
        for case .success(let moment) in slots {
            switch moment {
            case .never: isNever = true
            case .at(let moment): latest = max(latest ?? moment, moment)
            }
        }
        if latest == nil && !isNever { _ = try slots[0].get() }
        return latest
    }

    /// Writes a deadline that is later than the present one.
    func write(_ deadline: BootTime) throws(GuardError) {
        let present = try self.deadline()
        let index = slots.firstIndex { slot in
            guard case .success(.at(let moment)) = slot else { return true }
            return moment != present
        }
        let file = try Descriptor(open(path, O_WRONLY | O_CLOEXEC), cannot: "open", path)
        let bytes = Self.slot(deadline, boot: ProcessIdentity.currentBoot)
        // All slots say the same in a new file.
        let written = pwrite(file.number, bytes, bytes.count, off_t((index ?? 0) * Self.slotBytes))
        guard written == bytes.count else { throw GuardError(cannot: "write", path, written < 0 ? errno : ENOSPC) }
    }
}
