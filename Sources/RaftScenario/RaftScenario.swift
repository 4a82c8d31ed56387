/// # Scenario files against the consensus core
///
/// Runs the scripts of the etcd-io/raft project, in the three grammars it has: `quorum`
/// (arithmetic of majorities), `confchange` (steps from one configuration to the next) and
/// `interaction` (whole clusters, delivered message by message). The first two are compared to the
/// letter. Of the third, log lines are left out: they are that project's wording.

/// A step whose output differs from what its file expects.
public struct ScenarioMismatch: Sendable, CustomStringConvertible {
    public var line: Int
    public var command: String
    public var expected: [String]
    public var actual: [String]

    /// The step, and both outputs from the first line that differs.
    public var description: String {
        var same = 0
        while same < min(expected.count, actual.count), expected[same] == actual[same] { same += 1 }
        func excerpt(_ lines: [String]) -> String {
            lines[max(0, same - 2)...].prefix(8).map { "      " + $0 }.joined(separator: "\n")
        }
        return """
            line \(line), \(command): output differs at its line \(same + 1)
              expected
            \(excerpt(expected))
              got
            \(excerpt(actual))
            """
    }
}

/// Runs a scenario and returns the first mismatch, or nil when all steps printed what they should.
/// What follows a mismatch means little, so it is not run.
/// - Throws: `ScenarioError` for a script that is not understood.
public func runScenario(_ text: String) throws -> ScenarioMismatch? {
    let steps = try parseScenario(text)
    guard let first = steps.first else { throw ScenarioError(line: 1, reason: "no steps") }
    var run: (ScenarioStep) throws -> (expected: [String], actual: [String])
    switch first.command {
    case "committed", "vote":
        run = { step in (step.expected, try runQuorumStep(step)) }
    case "simple", "enter-joint", "leave-joint":
        var scenario = ConfChangeScenario()
        run = { step in (step.expected, try scenario.run(step)) }
    default:
        var scenario = InteractionScenario()
        run = { step in (meaningful(step.expected), meaningful(try scenario.run(step))) }
    }
    for step in steps {
        let (expected, actual) = try run(step)
        let same = expected.map(\.withoutTrailingSpace) == actual.map(\.withoutTrailingSpace)
        if !same {
            return ScenarioMismatch(line: step.line, command: step.command, expected: expected, actual: actual)
        }
    }
    return nil
}

/// The lines that are not log lines.
private func meaningful(_ lines: [String]) -> [String] {
    lines.filter { line in
        let text = line.trimmed
        return text != "ok" && !["DEBUG ", "INFO ", "WARN ", "ERROR ", "FATAL "].contains(where: text.hasPrefix)
    }
}
