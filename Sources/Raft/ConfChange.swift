/// Membership changes as they stand in the log: their values and their bytes.

/// One step of a membership change.
public struct MemberChange: Sendable, Equatable {
    public enum Kind: UInt8, Sendable {
        /// Becomes a voter (a learner is promoted).
        case addVoter = 0
        case remove = 1
        /// Changes nothing here; carries a payload through the log.
        case update = 2
        /// Becomes a learner (a voter is demoted).
        case addLearner = 3
    }
    public var kind: Kind
    /// A change of member 0 is ignored.
    public var member: MemberID
    public init(_ kind: Kind, _ member: MemberID) {
        self.kind = kind
        self.member = member
    }
}

/// A single change, the payload of a `.confChange` entry.
public struct ConfChange: Sendable, Equatable {
    public var change: MemberChange
    /// Opaque to consensus.
    public var context: [UInt8]
    public init(_ change: MemberChange, context: [UInt8] = []) {
        self.change = change
        self.context = context
    }
    /// The same change in the general form.
    public var general: ConfChangeV2 { ConfChangeV2(changes: [change], context: context) }
}

/// Any number of changes at once, the payload of a `.confChangeV2` entry. Without changes it asks to
/// leave the joint configuration.
public struct ConfChangeV2: Sendable, Equatable {
    public enum Transition: UInt8, Sendable {
        /// Directly for a single change, else joint and left automatically.
        case auto = 0
        /// Joint, left automatically once the change is applied.
        case jointImplicit = 1
        /// Joint until an empty change asks to leave.
        case jointExplicit = 2
    }
    public var transition: Transition
    public var changes: [MemberChange]
    /// Opaque to consensus.
    public var context: [UInt8]
    public init(transition: Transition = .auto, changes: [MemberChange] = [], context: [UInt8] = []) {
        self.transition = transition
        self.changes = changes
        self.context = context
    }

    /// Whether this asks to leave the joint configuration.
    public var leavesJoint: Bool { changes.isEmpty && transition == .auto }
    /// Whether this goes through a joint configuration, and if so whether that is left automatically.
    public var entersJoint: (Bool, autoLeave: Bool) {
        (transition != .auto || changes.count > 1, autoLeave: transition != .jointExplicit)
    }
}

// The bytes: format, [transition, count of changes (2)], then per change kind (1) and member (8),
// then the context up to the end; numbers are little endian.
private let formatByte: UInt8 = 1

extension ConfChange {
    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = [formatByte]
        change.append(to: &bytes)
        bytes += context
        return bytes
    }

    public init(decoding bytes: [UInt8]) throws(RaftError) {
        var rest = try formatChecked(bytes)
        change = try MemberChange(takenFrom: &rest)
        context = Array(rest)
    }
}

extension ConfChangeV2 {
    /// - Precondition: at most 65,535 changes.
    public func encoded() -> [UInt8] {
        precondition(changes.count <= Int(UInt16.max), "too many changes in one membership change")
        var bytes: [UInt8] = [formatByte, transition.rawValue, UInt8(changes.count & 0xff), UInt8(changes.count >> 8)]
        for change in changes { change.append(to: &bytes) }
        bytes += context
        return bytes
    }

    /// No bytes at all stand for the empty change, which leaves the joint configuration.
    public init(decoding bytes: [UInt8]) throws(RaftError) {
        if bytes.isEmpty {
            self.init()
            return
        }
        var rest = try formatChecked(bytes)
        guard rest.count >= 3, let transition = Transition(rawValue: rest.removeFirst()) else {
            throw .malformedConfChange(reason: "no valid transition")
        }
        let count = Int(rest.removeFirst()) | Int(rest.removeFirst()) << 8
        var changes: [MemberChange] = []
        for _ in 0..<count { changes.append(try MemberChange(takenFrom: &rest)) }
        self.init(transition: transition, changes: changes, context: Array(rest))
    }

    /// The change an entry carries; nil for an entry that carries none.
    public init?(_ entry: Entry) throws(RaftError) {
        switch entry.kind {
        case .normal: return nil
        case .confChange: self = try ConfChange(decoding: entry.payload).general
        case .confChangeV2: try self.init(decoding: entry.payload)
        }
    }
}

private func formatChecked(_ bytes: [UInt8]) throws(RaftError) -> ArraySlice<UInt8> {
    guard bytes.first == formatByte else { throw .malformedConfChange(reason: "unknown format") }
    return bytes.dropFirst()
}

extension MemberChange {
    fileprivate func append(to bytes: inout [UInt8]) {
        bytes.append(kind.rawValue)
        for shift in stride(from: 0, to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: member.rawValue >> UInt64(shift)))
        }
    }

    fileprivate init(takenFrom bytes: inout ArraySlice<UInt8>) throws(RaftError) {
        guard bytes.count >= 9, let kind = Kind(rawValue: bytes.removeFirst()) else {
            throw .malformedConfChange(reason: "a change is cut short or of unknown kind")
        }
        var member: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 8) { member |= UInt64(bytes.removeFirst()) << UInt64(shift) }
        self.init(kind, MemberID(member))
    }
}
