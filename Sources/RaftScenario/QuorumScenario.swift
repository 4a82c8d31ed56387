import Raft

/// `committed` and `vote`: the values or votes given for the voters in order, and what they amount to.
func runQuorumStep(_ step: ScenarioStep) throws(ScenarioError) -> [String] {
    func fail(_ reason: String) -> ScenarioError { ScenarioError(line: step.line, reason: reason) }
    let known = ["cfg", "cfgj", "idx", "votes"]
    if let other = step.arguments.first(where: { !known.contains($0.key) }) {
        throw fail("\(step.command) has no argument '\(other.key)'")
    }
    func members(_ key: String) throws(ScenarioError) -> [UInt64] {
        guard let values = step.values(key), values != ["zero"] else { return [] }
        var ids: [UInt64] = []
        for value in values {
            guard let id = UInt64(value) else { throw fail("'\(value)' is no member") }
            ids.append(id)
        }
        return ids
    }
    let incoming = try members("cfg")
    let outgoing = try members("cfgj")
    let isJoint = step.values("cfgj") != nil
    let quorum = JointQuorum(incoming: .of(incoming), outgoing: .of(outgoing))

    // Each voter of either half takes the next value; "_" stands for none.
    var given: [(id: UInt64, value: String)] = []
    var values = (step.values("idx") ?? step.values("votes") ?? [])[...]
    for id in incoming + outgoing where !given.contains(where: { $0.id == id }) {
        guard let value = values.popFirst() else { throw fail("no value for voter \(id)") }
        given.append((id, value))
    }
    guard values.isEmpty else { throw fail("more values than voters") }
    func value(_ member: MemberID) -> String? {
        given.first { $0.id == member.rawValue && $0.value != "_" }?.value
    }

    switch step.command {
    case "committed":
        if let wrong = given.first(where: { $0.value != "_" && UInt64($0.value) == nil }) {
            throw fail("'\(wrong.value)' is no index")
        }
        let index = { (member: MemberID) in value(member).flatMap(UInt64.init) }
        let reached = isJoint ? quorum.reached(index) : quorum.incoming.reached(index)
        let ids = Array(Set(incoming + outgoing)).sorted()
        let text = reached == .max ? "∞" : String(reached)
        if ids.isEmpty { return ["<empty majority quorum>" + text] }
        return chart(ids, index) + [text]
    case "vote":
        if let wrong = given.first(where: { !["_", "y", "n"].contains($0.value) }) {
            throw fail("'\(wrong.value)' is no vote: y, n or _")
        }
        let vote = { (member: MemberID) in value(member).map { $0 == "y" } }
        switch isJoint ? quorum.result(vote) : quorum.incoming.result(vote) {
        case .pending: return ["VotePending"]
        case .lost: return ["VoteLost"]
        case .won: return ["VoteWon"]
        }
    default: throw fail("unknown command '\(step.command)'")
    }
}

extension MajorityQuorum {
    fileprivate static func of(_ ids: [UInt64]) -> MajorityQuorum {
        MajorityQuorum(Array(Set(ids)).sorted().map(MemberID.init))
    }
}

/// Each voter's index with a bar as long as the number of voters strictly behind it.
private func chart(_ ids: [UInt64], _ index: (MemberID) -> UInt64?) -> [String] {
    let width = ids.count
    let header = String(repeating: " ", count: width) + "    idx"
    return [header]
        + ids.map { id in
            let known = index(MemberID(id))
            let bar = ids.count { (index(MemberID($0)) ?? 0) < (known ?? 0) }
            let plot =
                known == nil
                ? "?" + String(repeating: " ", count: width)
                : String(repeating: "x", count: bar) + ">" + String(repeating: " ", count: width - bar)
            let number = String(known ?? 0)
            return plot + " " + String(repeating: " ", count: max(0, 5 - number.count)) + number + "    (id=\(id))"
        }
}
