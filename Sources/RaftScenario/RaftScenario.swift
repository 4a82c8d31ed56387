/// # Scenario files against the consensus core
///
/// Runs the scripts of the etcd-io/raft project, in the three grammars it has: `quorum` (arithmetic of majorities),
/// `confchange` (steps from one configuration to the next) and `interaction` (whole clusters, delivered message by
/// message). The first two are compared to the letter. Of the third everything is compared but log lines, which are that
/// project's wording, and the layout: its versions differ in where they break a line.
///
/// To the third grammar come what it has no words for: `crash`, `restart`, `read` and `tick`, some more options of
/// `add-nodes`, and the states of reads in a Ready. `docs/raft.md` lists them all.
///
/// Whatever a file holds, running it ends in a result or in a `ScenarioError` with its line; it never traps.

/// Runs a scenario and returns the first mismatch, or nil when all steps printed what they should.
/// What follows a mismatch means little, so it is not run.
/// - Throws: `ScenarioError` for a script that is not understood.
public func runScenario(_ text: String) throws(ScenarioError) -> ScenarioMismatch? {
    var run = try ScenarioRun(text)
    while let step = run.nextStep {
        let output = run.comparison.output(try run.perform())
        if let mismatch = run.comparison.mismatch(step, output) { return mismatch }
    }
    return nil
}

/// The file with what its steps print now in place of what they should. For authors: read it before you believe it.
/// - Throws: `ScenarioError` for a script that is not understood.
public func rewriteScenario(_ text: String) throws(ScenarioError) -> String {
    var run = try ScenarioRun(text)
    var lines = scenarioLines(text)
    var printed: [(step: ScenarioStep, lines: [String])] = []
    while let step = run.nextStep { printed.append((step, try run.perform())) }
    // From the end, so that the numbers of the lines before stay true.
    for (step, output) in printed.reversed() {
        guard let first = step.expected.first?.number, let last = step.expected.last?.number else { continue }
        lines.replaceSubrange(first - 1...last - 1, with: output.isEmpty ? ["ok"] : output)
    }
    return lines.joined(separator: "\n")
}

/// A scenario under way: step by step, for those who want to see what each printed.
package struct ScenarioRun {
    package let steps: [ScenarioStep]
    package let comparison: ScenarioComparison
    private var position = 0
    private var grammar: Grammar

    private enum Grammar {
        case quorum
        case confChange(ConfChangeScenario)
        case interaction(InteractionScenario)
    }

    /// - Throws: `ScenarioError` for a file that does not follow the form, or holds no step.
    package init(_ text: String) throws(ScenarioError) {
        steps = try parseScenario(text)
        guard let first = steps.first else { throw ScenarioError(line: 1, reason: "there is no command in it") }
        switch first.command {
        case "committed", "vote": (grammar, comparison) = (.quorum, .exact)
        case "simple", "enter-joint", "leave-joint": (grammar, comparison) = (.confChange(ConfChangeScenario()), .exact)
        default: (grammar, comparison) = (.interaction(InteractionScenario()), .meaning)
        }
    }

    package var nextStep: ScenarioStep? { position < steps.count ? steps[position] : nil }

    /// Performs the next step.
    /// - Returns: the lines it printed.
    package mutating func perform() throws(ScenarioError) -> [String] {
        guard let step = nextStep else { return [] }
        position += 1
        switch grammar {
        case .quorum: return try runQuorumStep(step)
        case .confChange(var scenario):
            defer { grammar = .confChange(scenario) }
            return try scenario.run(step)
        case .interaction(var scenario):
            grammar = .quorum  // Lest the scenario be copied.
            defer { grammar = .interaction(scenario) }
            return try scenario.run(step)
        }
    }
}
