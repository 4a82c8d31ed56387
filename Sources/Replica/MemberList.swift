/// The members as the log has decided them: who stands in the configuration, how each presents itself, and whose ids
/// are used up. Every change is judged and made when its entry is applied, on every member alike.
struct MemberList: Sendable {
    /// Sorted by id.
    private(set) var members: [MemberAttributes]
    private(set) var configuration: ConfState
    /// The ids of members that were removed, sorted: none is used again, lest two disks answer to one name.
    private(set) var removed: [MemberID]

    /// What the history holds.
    init(_ history: some HistoryLog, configuration: ConfState) throws {
        members = try MemberNotes.members(in: history)
        removed = try MemberNotes.removed(in: history)
        self.configuration = configuration
    }

    subscript(id: MemberID) -> MemberAttributes? { members.first { $0.id == id } }

    /// Those a cluster begins with.
    mutating func found(_ founders: [MemberAttributes], _ history: inout some HistoryLog) {
        for member in founders { record(member, &history) }
        configuration = ConfState(voters: members.map(\.id))
    }

    /// A member's name and client URLs; those of a member that stands in no configuration are nobody's business.
    /// - Returns: whether it is one.
    mutating func publish(_ member: MemberAttributes, _ history: inout some HistoryLog) -> Bool {
        guard var known = self[member.id] else { return false }
        known.name = member.name
        known.clientURLs = member.clientURLs
        record(known, &history)
        return true
    }

    // MARK: Changes

    /// Makes a change, or says why it changes nothing.
    /// - Returns: who is no member any more.
    mutating func apply(
        _ changes: [MemberListChange], as change: ConfChangeV2, _ history: inout some HistoryLog
    ) throws -> Result<[MemberID], MembershipError> {
        // Each change is judged by the members it will meet, and while joint there are two sets of them.
        guard configuration.votersOutgoing.isEmpty else { return .failure(.inTransition) }
        var new = members
        for change in changes {
            if let error = apply(change, to: &new) { return .failure(error) }
        }
        let after = try configuration.applying(change)
        let movesNobody = change.changes.allSatisfy { $0.kind == .update }
        // Everything else was checked: what consensus still finds wrong is that nobody could vote.
        guard movesNobody || after != configuration else { return .failure(.noVoters) }
        return .success(follow(after, new, &history))
    }

    /// Consensus leaves the joint configuration that a change of several members went through.
    /// - Returns: who is no member any more.
    mutating func leaveJoint(_ change: ConfChangeV2, _ history: inout some HistoryLog) throws -> [MemberID] {
        follow(try configuration.applying(change), members, &history)
    }

    /// Whoever stands in the configuration is a member, an outgoing voter still among them: it is needed until it has gone.
    private mutating func follow(
        _ after: ConfState, _ list: [MemberAttributes], _ history: inout some HistoryLog
    ) -> [MemberID] {
        configuration = after
        let standing = Set(after.voters + after.learners + after.votersOutgoing)
        var gone: [MemberID] = []
        for var member in list {
            guard standing.contains(member.id) else {
                gone.append(member.id)
                continue
            }
            member.isLearner = after.learners.contains(member.id)
            if self[member.id] != member { record(member, &history) }
        }
        for id in gone {
            members.removeAll { $0.id == id }
            history.setNote(MemberNotes.key(id), nil)
            removed.insert(id, at: removed.firstIndex { $0 > id } ?? removed.endIndex)
            history.setNote(MemberNotes.removedKey(id), MemberNotes.removedValue)
        }
        return gone
    }

    private func apply(_ change: MemberListChange, to list: inout [MemberAttributes]) -> MembershipError? {
        func position(_ id: MemberID) -> Int? { list.firstIndex { $0.id == id } }
        func isTaken(_ urls: [String], except id: MemberID) -> Bool {
            list.contains { $0.id != id && $0.peerURLs.contains(where: urls.contains) }
        }
        switch change {
        case .add(let member):
            if removed.contains(member.id) { return .memberRemoved }
            if member.id == .none || position(member.id) != nil { return .memberExists }
            if isTaken(member.peerURLs, except: member.id) { return .peerURLExists }
            list.append(member)
        case .promote(let id):
            guard let position = position(id) else { return absence(of: id) }
            guard list[position].isLearner else { return .notLearner }
            list[position].isLearner = false
        case .demote(let id):
            guard let position = position(id) else { return absence(of: id) }
            guard !list[position].isLearner else { return .notVoter }
            list[position].isLearner = true
        case .remove(let id):
            // It stays listed until the configuration lets it go.
            guard position(id) != nil else { return absence(of: id) }
        case .update(let id, let peerURLs):
            guard let position = position(id) else { return absence(of: id) }
            if isTaken(peerURLs, except: id) { return .peerURLExists }
            list[position].peerURLs = peerURLs
        }
        return nil
    }

    private func absence(of id: MemberID) -> MembershipError {
        removed.contains(id) ? .memberRemoved : .memberNotFound
    }

    private mutating func record(_ member: MemberAttributes, _ history: inout some HistoryLog) {
        members.removeAll { $0.id == member.id }
        members.insert(member, at: members.firstIndex { $0.id > member.id } ?? members.endIndex)
        history.setNote(MemberNotes.key(member.id), MemberNotes.value(member))
    }
}

/// How members lie among the state's notes: under their ids, big-endian, so that a scan is in their order.
private enum MemberNotes {
    private static let prefix = Array("member/".utf8)
    private static let removedPrefix = Array("removed/".utf8)
    /// A format byte.
    static let removedValue: [UInt8] = [1]

    static func key(_ member: MemberID) -> [UInt8] { key(prefix, member) }
    static func removedKey(_ member: MemberID) -> [UInt8] { key(removedPrefix, member) }

    private static func key(_ prefix: [UInt8], _ member: MemberID) -> [UInt8] {
        withUnsafeBytes(of: member.rawValue.bigEndian) { prefix + $0 }
    }

    static func value(_ member: MemberAttributes) -> [UInt8] {
        var out: [UInt8] = []
        member.encode(into: &out)
        return out
    }

    static func members(in history: some HistoryLog) throws -> [MemberAttributes] {
        var members: [MemberAttributes] = []
        try history.scanNotes(prefix: prefix) { _, value in
            members.append(try MemberAttributes(decoding: value))
            return true
        }
        return members
    }

    static func removed(in history: some HistoryLog) throws -> [MemberID] {
        var removed: [MemberID] = []
        try history.scanNotes(prefix: removedPrefix) { key, value in
            guard key.count == removedPrefix.count + 8, value == removedValue else {
                throw StateNoteError.unreadable(note: "a removed member")
            }
            removed.append(MemberID(key[removedPrefix.count...].reduce(0) { $0 << 8 | UInt64($1) }))
            return true
        }
        return removed
    }
}

/// A note beside the state's history that this version cannot read; it stops the member.
public enum StateNoteError: Error, Equatable, CustomStringConvertible {
    case unreadable(note: String)

    public var description: String {
        switch self {
        case .unreadable(let note):
            "the state's note of \(note) is damaged or of a format that this version does not know; run the version that "
                + "wrote it, or remove this member from the cluster and add it again with an empty data directory"
        }
    }
}
