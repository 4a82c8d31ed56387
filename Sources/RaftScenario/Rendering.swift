import Raft

/// How the scenario files write the core's values.

func describe(_ configuration: ClusterConfiguration) -> String {
    var text = "voters=" + list(configuration.voters.incoming.voters)
    if configuration.isJoint { text += "&&" + list(configuration.voters.outgoing.voters) }
    if !configuration.learners.isEmpty { text += " learners=" + list(configuration.learners) }
    if !configuration.learnersNext.isEmpty { text += " learners_next=" + list(configuration.learnersNext) }
    if configuration.autoLeave { text += " autoleave" }
    return text
}

private func numbers(_ members: [MemberID]) -> String { members.map { String($0.rawValue) }.joined(separator: " ") }
private func list(_ members: [MemberID]) -> String { "(" + numbers(members) + ")" }

func describe(_ progress: Progress) -> String {
    let state =
        switch progress.state {
        case .probe: "StateProbe"
        case .replicate: "StateReplicate"
        case .snapshot: "StateSnapshot"
        }
    var text = "\(progress.id.rawValue): \(state) match=\(progress.match) next=\(progress.next)"
    if progress.isLearner { text += " learner" }
    if progress.isPaused { text += " paused" }
    if progress.pendingSnapshot > .zero { text += " pendingSnap=\(progress.pendingSnapshot)" }
    if !progress.isRecentlyActive { text += " inactive" }
    if progress.inflights.count > 0 {
        text += " inflight=\(progress.inflights.count)"
        if progress.inflights.isFull { text += "[full]" }
    }
    return text
}

func describe(_ role: Role) -> String {
    switch role {
    case .follower: "StateFollower"
    case .preCandidate: "StatePreCandidate"
    case .candidate: "StateCandidate"
    case .leader: "StateLeader"
    }
}

func describe(_ state: HardState) -> String {
    let vote = state.vote == .none ? "" : " Vote:\(state.vote.rawValue)"
    return "Term:\(state.term)\(vote) Commit:\(state.commit)"
}

func describe(_ entry: Entry) -> String {
    let position = "\(entry.term)/\(entry.index)"
    switch entry.kind {
    case .normal: return "\(position) EntryNormal \(quoted(entry.payload))"
    case .confChange: return "\(position) EntryConfChange \(changes(entry))"
    case .confChangeV2: return "\(position) EntryConfChangeV2 \(changes(entry))".withoutTrailingSpace
    }
}

func describe(_ state: ReadState) -> String { "Index:\(state.index) Context:\(quoted(state.context))" }

/// In quotes, with what would break them or does not print escaped, as Go's `%q` does it.
private func quoted(_ bytes: [UInt8]) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
        return "\"" + bytes.map { "\\x" + hexadecimal(UInt32($0)) }.joined() + "\""
    }
    var quoted = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"", "\\": quoted += "\\\(scalar)"
        case "\n": quoted += "\\n"
        case "\r": quoted += "\\r"
        case "\t": quoted += "\\t"
        case _ where scalar.value < 32 || scalar.value == 127: quoted += "\\x" + hexadecimal(scalar.value)
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}

private func hexadecimal(_ value: UInt32) -> String { (value < 16 ? "0" : "") + String(value, radix: 16) }

private func changes(_ entry: Entry) -> String {
    guard let change = try? ConfChangeV2(entry) else { return "<malformed>" }
    return change.changes.map { change in
        let kind =
            switch change.kind {
            case .addVoter: "v"
            case .addLearner: "l"
            case .remove: "r"
            case .update: "u"
            }
        return kind + String(change.member.rawValue)
    }.joined(separator: " ")
}

func describe(_ snapshot: SnapshotMetadata) -> String {
    let members = snapshot.configuration
    return "Index:\(snapshot.index) Term:\(snapshot.term) ConfState:Voters:[\(numbers(members.voters))]"
        + " VotersOutgoing:[\(numbers(members.votersOutgoing))] Learners:[\(numbers(members.learners))]"
        + " LearnersNext:[\(numbers(members.learnersNext))] AutoLeave:\(members.autoLeave)"
}

/// A message on its way in a scenario. The threads that write and apply are addressed like members.
struct Envelope {
    static let appendThread = MemberID(.max)
    static let applyThread = MemberID(.max - 1)

    var message: Message
    /// What the addressed thread sends when it is done.
    var responses: [Envelope] = []
    /// On an append thread's response: the write it reports held entries.
    var reportsEntries = false
    /// On work for the append thread: what it writes besides the message's entries, and whether that must be synced.
    var hardState: HardState?
    var mustSync = false
    /// On work for the apply thread: how many writes must be done before.
    var afterAppend = 0

    var isLocal: Bool {
        [message.from, message.to].contains { $0 == Self.appendThread || $0 == Self.applyThread }
            || message.from == message.to
    }

    /// The lines a scenario shows for it.
    var lines: [String] {
        var head = "\(name(message.from))->\(name(message.to)) \(message.kind.scenarioName)"
        head += " Term:\(message.term) Log:\(message.logTerm)/\(message.index)"
        if message.reject { head += " Rejected (Hint: \(message.rejectHint))" }
        if message.commit > .zero { head += " Commit:\(message.commit)" }
        if message.vote != .none { head += " Vote:\(message.vote.rawValue)" }
        var lines: [String] = []
        if message.entries.count == 1 {
            head += " Entries:[\(describe(message.entries[0]))]"
        } else if message.entries.count > 1 {
            lines = [head + " Entries:["] + message.entries.map { "  " + describe($0) }
            head = "]"
        }
        if let snapshot = message.snapshot {
            lines += [head]
            head = "  Snapshot: " + describe(snapshot)
        }
        if !responses.isEmpty {
            lines += [head + " Responses:["] + responses.flatMap { $0.lines.map { "  " + $0 } }
            head = "]"
        }
        return lines + [head]
    }

    private func name(_ member: MemberID) -> String {
        switch member {
        case Self.appendThread: "AppendThread"
        case Self.applyThread: "ApplyThread"
        default: String(member.rawValue, radix: 16)
        }
    }
}

/// A member's line of `raft-state`.
func describe(_ member: ScenarioMember) -> String {
    if member.isDown { return "\(member.id.rawValue): down" }
    let status = member.node.status
    let isVoter = (status.configuration.voters + status.configuration.votersOutgoing).contains(member.id)
    return "\(member.id.rawValue): \(describe(status.role)) (\(isVoter ? "Voter" : "Non-Voter"))"
        + " Term:\(status.term) Lead:\(status.leader.rawValue)"
}

extension Message.Kind {
    var scenarioName: String {
        switch self {
        case .hup: "MsgHup"
        case .beat: "MsgBeat"
        case .propose: "MsgProp"
        case .append: "MsgApp"
        case .appendResponse: "MsgAppResp"
        case .vote: "MsgVote"
        case .voteResponse: "MsgVoteResp"
        case .snapshot: "MsgSnap"
        case .heartbeat: "MsgHeartbeat"
        case .heartbeatResponse: "MsgHeartbeatResp"
        case .unreachable: "MsgUnreachable"
        case .snapshotStatus: "MsgSnapStatus"
        case .checkQuorum: "MsgCheckQuorum"
        case .transferLeader: "MsgTransferLeader"
        case .timeoutNow: "MsgTimeoutNow"
        case .readIndex: "MsgReadIndex"
        case .readIndexResponse: "MsgReadIndexResp"
        case .preVote: "MsgPreVote"
        case .preVoteResponse: "MsgPreVoteResp"
        case .storageAppend: "MsgStorageAppend"
        case .storageAppendResponse: "MsgStorageAppendResp"
        case .storageApply: "MsgStorageApply"
        case .storageApplyResponse: "MsgStorageApplyResp"
        case .forgetLeader: "MsgForgetLeader"
        }
    }
}
