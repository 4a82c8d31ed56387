import Foundation
import RaftScenario
import Testing

/// A scenario file, by its path and its text.
struct ScenarioSource: Sendable, CustomTestStringConvertible {
    var path: String
    var text: String
    var testDescription: String { path }

    /// The files ending in `.txt` in a folder, sorted by name.
    static func folder(_ path: String) throws -> [ScenarioSource] {
        try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".txt") }.sorted().map {
            ScenarioSource(path: "\(path)/\($0)", text: try String(contentsOfFile: "\(path)/\($0)", encoding: .utf8))
        }
    }

    /// Our own, which stand beside the tests.
    static func own() throws -> [ScenarioSource] {
        try folder(URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/Scenarios")
    }

    /// The files of the etcd-io/raft project: found through `GULP_RAFT_VECTORS`, or in `shared/raft-vectors` beside this
    /// checkout or any folder above it.
    static func vectors(_ kind: String) throws -> [ScenarioSource] {
        let found = try #require(vectorsFolder, "no raft vectors found; set GULP_RAFT_VECTORS to their folder")
        let files = try folder("\(found)/\(kind)")
        try #require(!files.isEmpty, "no scenario files in \(found)/\(kind)")
        return files
    }

    static func all() throws -> [ScenarioSource] {
        try own() + ["quorum", "confchange", "interaction"].flatMap(vectors)
    }

    private static let vectorsFolder: String? = {
        let files = FileManager.default
        if let named = ProcessInfo.processInfo.environment["GULP_RAFT_VECTORS"] {
            return files.fileExists(atPath: named) ? named : nil
        }
        var folder = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
        while folder.path != "/" {
            folder.deleteLastPathComponent()
            let candidate = folder.appendingPathComponent("shared/raft-vectors").path
            if files.fileExists(atPath: candidate) { return candidate }
        }
        return nil
    }()
}

@Suite struct ScenarioTests {
    private func run(_ files: [ScenarioSource]) throws {
        for file in files {
            let mismatch = try runScenario(file.text)
            #expect(mismatch == nil, "\(file.path):\(mismatch?.line ?? 0): \(mismatch?.description ?? "")")
        }
    }

    @Test func majoritiesAreCountedAsTheQuorumScenariosSay() throws { try run(ScenarioSource.vectors("quorum")) }

    @Test func configurationsChangeAsTheConfChangeScenariosSay() throws {
        try run(ScenarioSource.vectors("confchange"))
    }

    @Test func clustersBehaveAsTheInteractionScenariosSay() throws { try run(ScenarioSource.vectors("interaction")) }

    @Test func clustersBehaveAsOurOwnScenariosSay() throws {
        let files = try ScenarioSource.own()
        #expect(!files.isEmpty)
        try run(files)
    }

    @Test func whatAFilePrintsWhenRewrittenIsWhatItExpects() throws {
        for file in try ScenarioSource.all() {
            #expect(try runScenario(rewriteScenario(file.text)) == nil, "\(file.path)")
        }
    }
}

/// The runner itself: what it notices, and what it says.
@Suite struct ScenarioRunnerTests {
    @Test func theFirstDifferenceIsReportedWithItsLine() throws {
        let mismatch = try #require(try runScenario("simple\nv1\n----\nvoters=(1)\n1: StateProbe match=0 next=2\n"))
        #expect(mismatch.line == 5 && mismatch.expected == "1: StateProbe match=0 next=2")
        #expect(mismatch.actual == "1: StateProbe match=0 next=1")
        let script = """
            add-nodes 1 voters=(1) index=2
            ----
            ok

            campaign 1
            ----
            ok

            stabilize log-level=debug
            ----
            > 1 handling Ready
              INFO whatever it says
              Ready MustSync=true:
              Lead:0 State:StateCandidate
              HardState Term:1 Vote:2 Commit:2
            """
        let vote = try #require(try runScenario(script))
        #expect(vote.line == 15 && vote.expected == "Vote:2" && vote.actual == "Vote:1")
        #expect(vote.actualLine == "HardState Term:1 Vote:1 Commit:2")
    }

    @Test func outputWhereNoneIsExpectedAndNoneWhereSomeIsAreDifferences() throws {
        let start = "add-nodes 1 voters=(1) index=2\n----\nok\n\n"
        let more = try #require(try runScenario(start + "raft-state\n----\nok\n"))
        #expect(more.line == 7 && more.expected == "" && more.actual == "1:")
        let less = try #require(try runScenario(start + "status 1\n----\n1: StateReplicate\n"))
        #expect(less.line == 7 && less.expected == "1:" && less.actual == "")
    }

    @Test func layoutAndLogLinesAreNotCompared() throws {
        let script = """
            add-nodes 2 voters=(1,2) index=2
            campaign 1
            stabilize log-level=none
            propose 1 a
            propose 1 b
            ----
            INFO anything

            deliver-msgs drop=(2)
            ----
            no messages

            forget-leader 2
            campaign 2
            stabilize 2
            ----
            > 2 handling Ready
              Ready MustSync=true:   Lead:0 State:StateCandidate
              HardState Term:2 Vote:2 Commit:3
              Messages:
              2->1 MsgVote
                Term:2 Log:1/3
            """
        #expect(try runScenario(script) == nil)
    }

    /// Alters every word, number and payload that any file expects, one at a time; takes each line away, and adds one.
    /// What a file expects has no influence on what its steps print, so each file runs once.
    @Test func alteringAnyOneExpectationMakesAFileFail() throws {
        var altered = 0
        for file in try ScenarioSource.all() {
            var run = try ScenarioRun(file.text)
            while let step = run.nextStep {
                let output = run.comparison.output(try run.perform())
                for position in step.expected.indices where !isLog(step.expected[position].text) {
                    let line = step.expected[position]
                    for text in alterations(of: line.text, exact: run.comparison == .exact) {
                        var mutant = step
                        mutant.expected[position].text = text
                        altered += 1
                        let found = run.comparison.mismatch(mutant, output)
                        #expect(found != nil, "\(file.path):\(line.number): '\(line.text)' passes as '\(text)'")
                        #expect((found?.line ?? 0) <= line.number + 1)
                    }
                    if line.text.hasPrefix("ok") { continue }
                    var without = step
                    without.expected.remove(at: position)
                    var twice = step
                    twice.expected.insert(line, at: position)
                    altered += 2
                    #expect(run.comparison.mismatch(without, output) != nil, "without \(line)")
                    #expect(run.comparison.mismatch(twice, output) != nil, "twice \(line)")
                }
            }
        }
        #expect(altered > 20_000, "only \(altered) alterations were tried")
    }

    /// The same through the front door, for some lines of each file.
    @Test func aFileWithAnAlteredLineFailsAtThatLine() throws {
        for file in try ScenarioSource.all() {
            let steps = try ScenarioRun(file.text).steps
            let expected = steps.flatMap(\.expected).filter { !isLog($0.text) && !$0.text.hasPrefix("ok") }
            for line in stride(from: 0, to: expected.count, by: max(1, expected.count / 4)).map({ expected[$0] }) {
                var lines = file.text.components(separatedBy: "\n")
                guard let text = alterations(of: line.text, exact: false).last else { continue }
                lines[line.number - 1] = text
                #expect(try runScenario(lines.joined(separator: "\n"))?.line == line.number, "\(file.path): \(line)")
            }
        }
    }

    private func isLog(_ line: String) -> Bool {
        ["DEBUG", "INFO", "WARN", "ERROR"].contains { line.drop(while: \.isWhitespace).hasPrefix($0 + " ") }
    }

    /// The line with one of its runs of digits or letters changed, for each of them.
    private func alterations(of line: String, exact: Bool) -> [String] {
        var result: [String] = []
        var rest = line.startIndex
        while rest < line.endIndex {
            func run(_ isPart: (Character) -> Bool) -> String.Index? {
                guard isPart(line[rest]) else { return nil }
                return line[rest...].firstIndex { !isPart($0) } ?? line.endIndex
            }
            if let end = run(\.isNumber) {
                let number = UInt64(line[rest..<end]) ?? 0
                result.append(line.replacingCharacters(in: rest..<end, with: String(number + 1)))
                rest = end
            } else if let end = run(\.isLetter) {
                let word = line[rest..<end]
                let other = word == "true" ? "false" : word == "false" ? "true" : word + "x"
                result.append(line.replacingCharacters(in: rest..<end, with: String(other)))
                rest = end
            } else if line[rest] == ">" || (exact && !line[rest].isWhitespace) {
                result.append(line.replacingCharacters(in: rest...rest, with: "#"))
                rest = line.index(after: rest)
            } else {
                rest = line.index(after: rest)
            }
        }
        return result
    }
}

/// Files that are no scenarios.
@Suite struct ScenarioErrorTests {
    @Test(arguments: [
        ("", 1, "no command"),
        ("# only a comment\n", 1, "no command"),
        ("----\nok\n", 1, "without a command"),
        ("add-nodes 1", 1, "no ----"),
        ("raft-state\n\n----\nok", 1, "no ----"),
        ("raft-state\n----\n----\n1:\n", 1, "does not end"),
        ("frobnicate 1\n----\nok\n", 1, "no such command"),
        ("\n# comment\nadd-nodes\n----\nok\n", 3, "needs a count"),
        ("add-nodes 1 colour=red\n----\nok\n", 1, "unknown option 'colour'"),
        ("add-nodes 1 voters=(x) index=2\n----\nok\n", 1, "'x' is no number"),
        ("add-nodes 1 voters=(1 index=2\n----\nok\n", 1, "unclosed ("),
        ("add-nodes 1 voters=(1) learners=(1) index=2\n----\nok\n", 1, "both voter and learner"),
        ("add-nodes 1000\n----\nok\n", 1, "more than 100"),
        ("add-nodes 1 prevote=maybe\n----\nok\n", 1, "true or false"),
        ("add-nodes 1 inflight=0\n----\nok\n", 1, "maxInflightMessages"),
        ("log-level loud\n----\nok\n", 1, "no log level"),
        ("add-nodes 1 voters=(1) index=2\nraft-state\ncampaign 2\n----\nok\n", 3, "no member 2"),
        ("deliver-msgs 1 type=MsgNothing\n----\nok\n", 1, "unknown message type"),
        ("add-nodes 1\npropose 1\n----\nok\n", 2, "needs data"),
        ("add-nodes 1\n----\nok\n\npropose-conf-change 1\nx9\n----\nok\n", 6, "no membership change"),
        ("add-nodes 1\ncrash 1\ncampaign 1\n----\nok\n", 3, "down"),
        ("add-nodes 1\nset-randomized-election-timeout 1 timeout=0\n----\nok\n", 2, "0 ticks"),
        ("simple\nq1\n----\nvoters=(1)\n", 2, "no membership change"),
        ("simple\n----\nremoved all voters\n\nexplode\n----\nok\n", 5, "unknown command"),
        ("committed cfg=(1,2) idx=(3)\n----\n3\n", 1, "no value for voter 2"),
        ("committed cfg=(1) idx=(3,4)\n----\n3\n", 1, "more values"),
        ("committed cfg=(1) idx=(many)\n----\n3\n", 1, "no index"),
        ("vote cfg=(1) votes=(x)\n----\nVoteWon\n", 1, "no vote"),
    ]) func whatIsNotUnderstoodIsNamedWithItsLine(text: String, line: Int, reason: String) throws {
        let error = #expect(throws: ScenarioError.self) { _ = try runScenario(text) }
        #expect(error?.line == line && error?.reason.contains(reason) == true, "\(error?.description ?? "")")
    }

    /// Whatever is in a file, running it ends.
    @Test(arguments: 0..<8) func filesWithRandomDamageNeverTrap(seed: Int) throws {
        var random = SplitMix(state: UInt64(seed))
        let files = try ScenarioSource.all().filter { $0.text.count < 12_000 }
        let numbers = ["0", "1", "3", "9", "64", "-1", "4611686018427387903", "18446744073709551615", "x", ""]
        for _ in 0..<60 {
            let file = files[random.next(below: files.count)]
            var lines = file.text.components(separatedBy: "\n")
            for _ in 0...random.next(below: 4) {
                let at = random.next(below: lines.count)
                switch random.next(below: 5) {
                case 0: lines.remove(at: at)
                case 1: lines.insert(lines[random.next(below: lines.count)], at: at)
                case 2: lines.swapAt(at, random.next(below: lines.count))
                case 3:
                    var words = lines[at].split(separator: " ").map(String.init)
                    if !words.isEmpty {
                        words[random.next(below: words.count)] = numbers[random.next(below: numbers.count)]
                    }
                    lines[at] = words.joined(separator: " ")
                default:
                    let digits = lines[at].indices.filter { lines[at][$0].isNumber }
                    if !digits.isEmpty {
                        let digit = digits[random.next(below: digits.count)]
                        lines[at].replaceSubrange(digit...digit, with: numbers[random.next(below: numbers.count)])
                    }
                }
                if lines.isEmpty { lines = [""] }
            }
            // Through to the end, whatever it prints.
            _ = try? rewriteScenario(lines.joined(separator: "\n"))
        }
    }
}

private struct SplitMix {
    var state: UInt64
    mutating func next(below bound: Int) -> Int {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return Int((mixed ^ (mixed >> 31)) % UInt64(bound))
    }
}
