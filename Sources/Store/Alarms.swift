/// Something is wrong with a member, and the whole cluster has to heed it until an operator clears it.
public struct Alarm: Sendable, Hashable {
    /// etcd's numbers.
    public enum Kind: UInt8, Sendable, CaseIterable {
        /// The member's state has outgrown its quota: nothing that grows is accepted.
        case noSpace = 1
        /// The member's state is not that of the others: nothing is changed.
        case corrupt = 2
    }
    public var kind: Kind
    public var member: UInt64

    public init(_ kind: Kind, member: UInt64) {
        self.kind = kind
        self.member = member
    }
}

/// Raises an alarm or clears it; doing so twice changes nothing.
public struct AlarmCommand: Sendable, Equatable {
    public enum Action: UInt8, Sendable {
        case activate = 1
        case deactivate = 2
    }
    public var action: Action
    public var alarm: Alarm
    public init(_ action: Action, _ alarm: Alarm) {
        self.action = action
        self.alarm = alarm
    }
}

/// The active alarms, and what they forbid.
struct AlarmTable: Sendable {
    /// By kind, then by member.
    private(set) var active: [Alarm] = []

    func contains(_ kind: Alarm.Kind) -> Bool { active.contains { $0.kind == kind } }

    mutating func activate(_ alarm: Alarm) {
        func precedes(_ a: Alarm, _ b: Alarm) -> Bool { (a.kind.rawValue, a.member) < (b.kind.rawValue, b.member) }
        guard !active.contains(alarm) else { return }
        active.insert(alarm, at: active.firstIndex { precedes(alarm, $0) } ?? active.endIndex)
    }

    /// - Returns: whether it was active.
    mutating func deactivate(_ alarm: Alarm) -> Bool {
        guard let position = active.firstIndex(of: alarm) else { return false }
        active.remove(at: position)
        return true
    }

    /// Why a command is refused now. As in etcd 3.5: for want of space what could add to the state, whatever a
    /// transaction would come to; for corruption whatever could change it, the end of a lease too.
    func refusal(of command: StoreCommand) -> StoreError? {
        if active.isEmpty { return nil }
        switch command {
        case .alarm, .leaseCheckpoint: return nil
        default: if contains(.corrupt) { return .corrupt }
        }
        switch command {
        case .put, .leaseGrant: return .noSpace
        case .transaction(let transaction): return transaction.puts ? .noSpace : nil
        case .deleteRange, .compact, .leaseRevoke, .leaseCheckpoint, .alarm: return nil
        }
    }
}

extension TransactionCommand {
    /// Whether either branch puts a key, at any depth.
    var puts: Bool {
        (success + failure).contains { operation in
            switch operation {
            case .put: true
            case .range, .deleteRange: false
            case .transaction(let nested): nested.puts
            }
        }
    }
}

extension StoreCore {
    /// - Returns: the alarm if it is, or was, active.
    mutating func apply(_ command: AlarmCommand) -> [Alarm] {
        switch command.action {
        case .activate:
            alarms.activate(command.alarm)
            notes.append((StoreNote.alarm(command.alarm), StoreNote.alarmValue))
            return [command.alarm]
        case .deactivate:
            guard alarms.deactivate(command.alarm) else { return [] }
            notes.append((StoreNote.alarm(command.alarm), nil))
            return [command.alarm]
        }
    }
}
