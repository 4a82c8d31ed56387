import Raft

/// `simple`, `enter-joint` and `leave-joint`, applied to one membership; each prints the configuration and
/// every member's progress. New members are probed from the number of steps so far, which tells in
/// which step their progress was made.
struct ConfChangeScenario {
    private var membership = Membership(progress: ProgressTable(maxInflightMessages: 10, maxInflightBytes: 0))
    private var steps: UInt64 = 0

    mutating func run(_ step: ScenarioStep) throws(ScenarioError) -> [String] {
        defer { steps += 1 }
        let changes = try parseMemberChanges(step.input)
        guard ["simple", "enter-joint", "leave-joint"].contains(step.command) else {
            throw ScenarioError(line: step.line, reason: "unknown command '\(step.command)'")
        }
        do throws(ConfigurationChangeError) {
            membership =
                switch step.command {
                case "simple": try membership.simple(changes, lastIndex: LogIndex(steps))
                case "enter-joint":
                    try membership.enteringJoint(
                        changes, autoLeave: step.value("autoleave") == "true", lastIndex: LogIndex(steps))
                default: try membership.leavingJoint()
                }
        } catch {
            return [error.scenarioText]
        }
        return [describe(membership.configuration)] + membership.progress.rows.map(describe)
    }
}

/// Reads `v1 l2 r3 u4`: the first becomes a voter, the second a learner, the third goes, the fourth is updated.
func parseMemberChanges(_ input: [ScenarioStep.Line]) throws(ScenarioError) -> [MemberChange] {
    var changes: [MemberChange] = []
    let kinds: [Character: MemberChange.Kind] = ["v": .addVoter, "l": .addLearner, "r": .remove, "u": .update]
    for line in input {
        for word in line.text.split(whereSeparator: \.isWhitespace) {
            guard let first = word.first, let kind = kinds[first], let id = UInt64(word.dropFirst()) else {
                throw ScenarioError(
                    line: line.number, reason: "'\(word)' is no membership change: v, l, r or u and a member")
            }
            changes.append(MemberChange(kind, MemberID(id)))
        }
    }
    if changes.count > Int(UInt16.max) {
        throw ScenarioError(line: input[0].number, reason: "more changes than fit into one entry")
    }
    return changes
}

extension ConfigurationChangeError {
    fileprivate var scenarioText: String {
        switch self {
        case .alreadyJoint: "config is already joint"
        case .notJoint: "can't leave a non-joint config"
        case .noVotersToJoin: "can't make a zero-voter config joint"
        case .removesAllVoters: "removed all voters"
        case .moreThanOneVoterChanged: "more than one voter changed without entering joint config"
        case .simpleChangeWhileJoint: "can't apply simple config change in joint config"
        }
    }
}
