import Raft

/// A cluster driven step by step: nothing happens, and no message arrives, unless the script says so.
///
/// This file holds what is common to all commands and those that concern one member; `+Cluster` those that make members
/// and propose, `+Work` those that let members work and messages arrive.
struct InteractionScenario {
    var members: [ScenarioMember] = []
    /// On their way, in the order in which they were sent.
    var messages: [Envelope] = []
    private var isSilent = false
    private(set) var output: [String] = []

    /// Why a command ends early.
    enum Failure: Error {
        /// The script is at fault.
        case script(ScenarioError)
        /// A member refused; what it said is part of the output.
        case refusal(String)
    }

    /// Runs a step. The lines of its input are further commands, but for the one command that takes input.
    /// - Returns: what it printed; nothing while the log level is `none`, except a refusal.
    mutating func run(_ step: ScenarioStep) throws(ScenarioError) -> [String] {
        output = []
        let command = Command(name: step.command, arguments: step.arguments, line: step.line, input: step.input)
        do throws(Failure) {
            try dispatch(command)
            if command.name == "propose-conf-change" { return output }
        } catch {
            return try report(error)
        }
        for line in step.input {
            let (name, arguments) = try parseDirective(line.text, line: line.number)
            do throws(Failure) {
                try dispatch(Command(name: name, arguments: arguments, line: line.number, input: []))
            } catch {
                output = try report(error)
                if isSilent { return output }
            }
        }
        return output
    }

    private func report(_ failure: Failure) throws(ScenarioError) -> [String] {
        switch failure {
        case .script(let error): throw error
        case .refusal(let text): return isSilent ? [text] : output + [text]
        }
    }

    // MARK: Printing

    mutating func print(_ lines: [String]) { if !isSilent { output += lines } }
    mutating func print(_ line: String) { print([line]) }

    /// Indents what `body` prints below `heading`.
    mutating func under(
        _ heading: String, _ body: (inout InteractionScenario) throws(Failure) -> Void
    ) throws(Failure) {
        print(heading)
        let start = output.count
        defer { for line in start..<output.count { output[line] = "  " + output[line] } }
        try body(&self)
    }

    mutating func setLogLevel(_ level: String, _ command: Command) throws(Failure) {
        guard ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"].contains(level.uppercased()) else {
            throw command.fault("'\(level)' is no log level: debug, info, warn, error, fatal or none")
        }
        isSilent = level.uppercased() == "NONE"
    }

    /// Does `body` with another log level, if the command names one.
    private mutating func withLogLevel(
        of command: Command, _ body: (inout InteractionScenario) throws(Failure) -> Void
    ) throws(Failure) {
        let old = isSilent
        defer { isSilent = old }
        if let level = command.value("log-level") { try setLogLevel(level, command) }
        try body(&self)
    }

    // MARK: Commands

    private mutating func dispatch(_ command: Command) throws(Failure) {
        switch command.name {
        case "log-level": try setLogLevel(try command.word(0, "a level"), command)
        case "add-nodes": try addMembers(command)
        case "raft-state": for member in members { print(describe(member)) }
        case "stabilize":
            try command.takes(options: ["log-level"])
            try withLogLevel(of: command) { scenario throws(Failure) in try scenario.stabilize(command) }
        case "deliver-msgs": try deliver(command)
        case "process-ready":
            try forEach(command, "handling Ready") { scenario, index throws(Failure) in
                try scenario.processReady(index)
            }
        case "process-append-thread":
            try forEach(command, "processing append thread") { scenario, index throws(Failure) in
                scenario.processAppend(index)
            }
        case "process-apply-thread":
            try forEach(command, "processing apply thread") { scenario, index throws(Failure) in
                scenario.processApply(index)
            }
        case "transfer-leadership": try transferLeadership(command)
        case "restart":
            try command.takes(words: 1, options: ["applied"])
            try restart(command)
        case "lose-log":
            let index = try member(command)
            guard members[index].isDown else { throw command.fault("crash member \(index + 1) first") }
            members[index].loseLog(after: LogIndex(try command.number(try command.word(1, "an index"))))
        case "_breakpoint": break
        default:
            guard Self.memberCommands.contains(command.name) else {
                throw command.fault("there is no such command")
            }
            try act(command, on: try running(command))
        }
    }

    private static let memberCommands: Set = [
        "campaign", "propose", "propose-conf-change", "tick-election", "tick-heartbeat", "tick",
        "set-randomized-election-timeout", "compact", "raft-log", "status", "applied", "forget-leader", "read",
        "report-unreachable", "report-snapshot", "send-snapshot", "crash",
    ]

    /// The member that word `position` of the command names.
    func member(_ command: Command, _ position: Int = 0) throws(Failure) -> Int {
        let number = try command.number(try command.word(position, "a member"))
        guard let index = Int(exactly: number).map({ $0 - 1 }), members.indices.contains(index) else {
            throw command.fault("there is no member \(number)")
        }
        return index
    }

    /// The same, if it runs.
    func running(_ command: Command, _ position: Int = 0) throws(Failure) -> Int {
        let index = try member(command, position)
        if members[index].isDown { throw command.fault("member \(index + 1) is down: restart it first") }
        return index
    }

    /// The commands of one member.
    private mutating func act(_ command: Command, on index: Int) throws(Failure) {
        switch command.name {
        case "campaign":
            // A refusal is a log line in the scenarios.
            try? members[index].node.campaign()
        case "propose": try propose(command, index)
        case "propose-conf-change": try proposeChange(command, index)
        case "tick-election": tick(index, members[index].configuration.electionTimeoutTicks)
        case "tick-heartbeat": tick(index, members[index].configuration.heartbeatTicks)
        case "tick":
            let ticks = try command.number(try command.word(1, "a number of ticks"))
            guard ticks <= 10_000 else { throw command.fault("more than 10,000 ticks") }
            tick(index, Int(ticks))
        case "set-randomized-election-timeout":
            guard let value = command.value("timeout") else { throw command.fault("it needs timeout=") }
            let ticks = try command.number(value)
            guard ticks > 0, ticks < 1 << 30 else { throw command.fault("a timeout of \(ticks) ticks") }
            members[index].node.randomizedElectionTimeoutTicks = Int(ticks)
        case "compact":
            let upTo = LogIndex(try command.number(try command.word(1, "an index")))
            if let refusal = members[index].compact(upTo) { throw .refusal(refusal) }
            print(members[index].logLines)
        case "raft-log": print(members[index].logLines)
        case "status":
            let rows = members[index].node.currentRole == .leader ? members[index].node.progressRows : []
            print(rows.map(describe))
        case "applied": print(describe(members[index].applied))
        case "forget-leader": members[index].node.forgetLeader()
        case "read":
            try command.takes(words: 2, options: [])
            members[index].node.readIndex(context: Array(try command.word(1, "a context").utf8))
        case "report-unreachable":
            members[index].node.reportUnreachable(members[try member(command, 1)].id)
        case "report-snapshot":
            let outcome = try command.word(2, "its outcome: ok or failed")
            guard outcome == "ok" || outcome == "failed" else { throw command.fault("'\(outcome)': ok or failed") }
            members[index].node.reportSnapshot(members[try member(command, 1)].id, succeeded: outcome == "ok")
        case "send-snapshot": sendSnapshot(index, to: try member(command, 1))
        case "crash":
            try command.takes(words: 2, options: [])
            try crash(command, index)
        default: throw command.fault("there is no such command")
        }
    }

    private mutating func tick(_ index: Int, _ ticks: Int) {
        for _ in 0..<ticks { members[index].node.tick() }
    }

    private mutating func transferLeadership(_ command: Command) throws(Failure) {
        try command.takes(words: 0, options: ["from", "to"])
        guard let from = command.value("from"), let to = command.value("to") else {
            throw command.fault("it needs from= and to=")
        }
        var named = command
        named.arguments = [ScenarioStep.Argument(key: from, values: [])]
        let index = try running(named)
        members[index].node.transferLeadership(to: MemberID(try command.number(to)))
    }

    private mutating func sendSnapshot(_ index: Int, to other: Int) {
        let sent = Envelope(
            message: Message(
                kind: .snapshot, to: members[other].id, from: members[index].id,
                term: members[index].node.currentTerm, snapshot: members[index].applied))
        messages.append(sent)
        print(sent.lines)
    }

    // MARK: Crashes

    private mutating func crash(_ command: Command, _ index: Int) throws(Failure) {
        let words = command.words.dropFirst()
        guard words.isEmpty || words == ["lose-unsynced"] else { throw command.fault("'\(words.first ?? "")'") }
        members[index].crash(losingUnsynced: !words.isEmpty)
        dropLocalMessages(of: index)
    }

    private mutating func restart(_ command: Command) throws(Failure) {
        let index = try member(command)
        dropLocalMessages(of: index)
        let flushed: LogIndex? =
            if let value = command.value("applied") { LogIndex(try command.number(value)) } else { nil }
        if let refusal = members[index].restart(applied: flushed) { throw .refusal(refusal) }
    }

    /// What a member's threads had to say to it dies with it.
    private mutating func dropLocalMessages(of index: Int) {
        let id = members[index].id
        messages.removeAll { $0.message.to == id && $0.isLocal }
    }
}

extension InteractionScenario {
    /// One command, with where it stands.
    struct Command {
        var name: String
        var arguments: [ScenarioStep.Argument]
        var line: Int
        var input: [ScenarioStep.Line]

        var words: [String] { arguments.filter { $0.values.isEmpty }.map(\.key) }

        func value(_ key: String) -> String? {
            arguments.first { $0.key == key && !$0.values.isEmpty }?.values.first
        }

        func fault(_ reason: String) -> Failure {
            .script(ScenarioError(line: line, reason: "\(name): \(reason)"))
        }

        func word(_ position: Int, _ what: String) throws(Failure) -> String {
            guard position < words.count else { throw fault("it needs \(what)") }
            return words[position]
        }

        func number(_ text: String) throws(Failure) -> UInt64 {
            // Beyond this, nothing is accepted anyway; and sums of a few do not overflow.
            guard let number = UInt64(text), number < 1 << 62 else { throw fault("'\(text)' is no number") }
            return number
        }

        /// Refuses what the command does not know.
        func takes(words most: Int = .max, options: [String]) throws(Failure) {
            if words.count > most { throw fault("'\(words[most])' is too much") }
            if let other = arguments.first(where: { !$0.values.isEmpty && !options.contains($0.key) }) {
                throw fault("unknown option '\(other.key)'")
            }
        }
    }
}

extension RaftError {
    /// The scenario files' wording.
    var scenarioText: String {
        switch self {
        case .proposalDropped: "raft proposal dropped"
        case .unknownSender: "raft: cannot step as peer not found"
        case .localMessage: "raft: cannot step raft local message"
        default: description
        }
    }
}
