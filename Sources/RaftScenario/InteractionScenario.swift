import Raft

/// A cluster driven step by step: nothing happens, and no message arrives, unless the script says so.
struct InteractionScenario {
    private var members: [ScenarioMember] = []
    private var messages: [Envelope] = []
    private var isSilent = false
    private var output: [String] = []

    mutating func run(_ step: ScenarioStep) throws -> [String] {
        output = []
        let wasSilent = isSilent
        if step.command == "log-level" {
            isSilent = step.words.first?.lowercased() == "none"
            return []
        }
        if let level = step.value("log-level") { isSilent = level.lowercased() == "none" }
        defer { isSilent = wasSilent }
        var failed: String?
        do throws(RaftError) {
            try dispatch(step)
        } catch {
            failed = error.scenarioText
        }
        if let scriptError { throw scriptError }
        if let failed {
            output.append(failed)
            if isSilent { return [failed] }
        }
        return isSilent ? [] : output
    }

    /// Set when the script itself is at fault.
    private var scriptError: ScenarioError?

    private mutating func fail(_ step: ScenarioStep, _ reason: String) {
        scriptError = ScenarioError(line: step.line, reason: reason)
    }

    /// The member that word `position` of the step names.
    private mutating func member(_ step: ScenarioStep, _ position: Int = 0) -> Int? {
        guard position < step.words.count, let number = Int(step.words[position]), members.indices.contains(number - 1)
        else {
            fail(step, "\(step.command) needs a member that exists")
            return nil
        }
        return number - 1
    }

    private mutating func dispatch(_ step: ScenarioStep) throws(RaftError) {
        switch step.command {
        case "add-nodes": addMembers(step)
        case "raft-state": showStates()
        case "stabilize": stabilize(step)
        case "deliver-msgs": deliver(step)
        case "process-ready": forEach(step, "handling Ready") { $0.processReady($1, step) }
        case "process-append-thread": forEach(step, "processing append thread") { $0.processAppend($1) }
        case "process-apply-thread": forEach(step, "processing apply thread") { $0.processApply($1, step) }
        case "transfer-leadership":
            guard let from = step.value("from").flatMap(Int.init), let to = step.value("to").flatMap(UInt64.init),
                members.indices.contains(from - 1)
            else { return fail(step, "transfer-leadership needs from= and to=") }
            members[from - 1].node.transferLeadership(to: MemberID(to))
        default:
            guard let index = member(step) else { return }
            try act(step, on: index)
        }
    }

    /// The commands of one member.
    private mutating func act(_ step: ScenarioStep, on index: Int) throws(RaftError) {
        switch step.command {
        case "campaign":
            // A refusal is a log line in the scenarios.
            try? members[index].node.campaign()
        case "propose":
            guard step.words.count > 1 else { return fail(step, "propose needs data") }
            try members[index].node.propose([Array(step.words[1].utf8)])
        case "propose-conf-change": try proposeChange(step, index)
        case "tick-election": for _ in 0..<members[index].electionTimeoutTicks { members[index].node.tick() }
        case "tick-heartbeat": for _ in 0..<members[index].heartbeatTicks { members[index].node.tick() }
        case "set-randomized-election-timeout":
            guard let ticks = step.value("timeout").flatMap(Int.init) else { return fail(step, "no timeout=") }
            members[index].node.randomizedElectionTimeoutTicks = ticks
        case "compact":
            guard step.words.count > 1, let position = UInt64(step.words[1]) else { return fail(step, "no index") }
            members[index].compact(LogIndex(position))
            output += members[index].logLines
        case "raft-log": output += members[index].logLines
        case "status":
            if members[index].node.currentRole == .leader { output += members[index].node.progressRows.map(describe) }
        case "forget-leader": members[index].node.forgetLeader()
        case "report-unreachable":
            guard let other = member(step, 1) else { return }
            members[index].node.reportUnreachable(members[other].id)
        case "send-snapshot":
            guard let other = member(step, 1) else { return }
            let sent = Envelope(
                message: Message(
                    kind: .snapshot, to: members[other].id, from: members[index].id,
                    term: members[index].node.currentTerm, snapshot: members[index].applied))
            messages.append(sent)
            output += sent.lines
        default: fail(step, "unknown command \(step.command)")
        }
    }

    private mutating func addMembers(_ step: ScenarioStep) {
        guard let count = step.words.first.flatMap(Int.init) else { return fail(step, "add-nodes needs a count") }
        var configuration = RaftConfiguration(
            id: MemberID(1), electionTimeoutTicks: 3, heartbeatTicks: 1, preVote: false, checkQuorum: false,
            maxBytesPerMessage: .max, maxInflightMessages: Int(Int32.max), maxUncommittedBytes: 0,
            maxCommittedBytesPerReady: 0, stepDownOnRemoval: false, asynchronousStorage: false, randomSeed: 0)
        var state = ConfState()
        var index = LogIndex.zero
        for argument in step.arguments {
            let ids = argument.values.compactMap(UInt64.init)
            let isOn = argument.values.first == "true"
            switch argument.key {
            case "voters": state.voters = ids.map(MemberID.init)
            case "learners": state.learners = ids.map(MemberID.init)
            case "index": index = LogIndex(ids.first ?? 0)
            case "inflight": configuration.maxInflightMessages = Int(ids.first ?? 1)
            case "content": break  // The state machine's content is not shown.
            case "async-storage-writes": configuration.asynchronousStorage = isOn
            case "prevote": configuration.preVote = isOn
            case "checkquorum": configuration.checkQuorum = isOn
            case "max-committed-size-per-ready": configuration.maxCommittedBytesPerReady = Int(ids.first ?? 0)
            case "disable-conf-change-validation": configuration.disableConfChangeValidation = isOn
            case "read-only":
                configuration.readOnlyOption = argument.values.first == "lease-based" ? .leaseBased : .quorum
            case "step-down-on-removal": configuration.stepDownOnRemoval = isOn
            default: if !argument.values.isEmpty { return fail(step, "unknown option \(argument.key)") }
            }
        }
        for _ in 0..<count {
            configuration.id = MemberID(UInt64(members.count + 1))
            configuration.randomSeed = configuration.id.rawValue
            do {
                members.append(try ScenarioMember(configuration, members: state, index: index))
            } catch {
                return fail(step, "\(error)")
            }
        }
    }

    private mutating func proposeChange(_ step: ScenarioStep, _ index: Int) throws(RaftError) {
        let changes: [MemberChange]
        do {
            changes = try parseMemberChanges(step.input.joined(separator: " "), line: step.line)
        } catch {
            return fail(step, "\(error)")
        }
        if step.value("v1") == "true" {
            guard let change = changes.first, changes.count == 1 else { return fail(step, "v1 needs one change") }
            try members[index].node.proposeConfChange(ConfChange(change))
        } else {
            let transitions: [String: ConfChangeV2.Transition] = [
                "auto": .auto, "implicit": .jointImplicit, "explicit": .jointExplicit,
            ]
            guard let transition = transitions[step.value("transition") ?? "auto"] else {
                return fail(step, "unknown transition")
            }
            try members[index].node.proposeConfChange(ConfChangeV2(transition: transition, changes: changes))
        }
    }

    private mutating func showStates() {
        for member in members {
            let status = member.node.status
            let isVoter = (status.configuration.voters + status.configuration.votersOutgoing).contains(member.id)
            output.append(
                "\(member.id.rawValue): \(describe(status.role)) (\(isVoter ? "Voter" : "Non-Voter"))"
                    + " Term:\(status.term) Lead:\(status.leader.rawValue)")
        }
    }

    // MARK: Work

    /// Does `body` for each member named; with a heading if there are several.
    private mutating func forEach(
        _ step: ScenarioStep, _ heading: String, _ body: (inout InteractionScenario, Int) -> Void
    ) {
        for position in step.words.indices {
            guard let index = member(step, position) else { return }
            if step.words.count == 1 {
                body(&self, index)
            } else {
                under("> \(index + 1) \(heading)") { body(&$0, index) }
            }
        }
    }

    /// Indents what `body` prints below `heading`.
    private mutating func under(_ heading: String, _ body: (inout InteractionScenario) -> Void) {
        output.append(heading)
        let start = output.count
        body(&self)
        for line in start..<output.count { output[line] = "  " + output[line] }
    }

    private mutating func processReady(_ index: Int, _ step: ScenarioStep) {
        do {
            let (lines, outgoing) = try members[index].processReady()
            output += lines
            messages += outgoing
            // In asynchronous mode the core's own messages wait with the write they belong to.
        } catch {
            fail(step, "\(error)")
        }
    }

    private mutating func processAppend(_ index: Int) {
        guard !members[index].appendWork.isEmpty else { return output.append("no append work to perform") }
        let work = members[index].appendWork.removeFirst()
        members[index].write(work.message.entries, work.message.snapshot)
        show(work)
    }

    private mutating func processApply(_ index: Int, _ step: ScenarioStep) {
        guard !members[index].applyWork.isEmpty else { return output.append("no apply work to perform") }
        let work = members[index].applyWork.removeFirst()
        do {
            try members[index].apply(work.message.entries)
        } catch {
            fail(step, "\(error)")
        }
        show(work)
    }

    /// Shows what a thread did and sends its responses.
    private mutating func show(_ work: Envelope) {
        output += ["Processing:"] + Envelope(message: work.message).lines
        output += ["Responses:"] + work.responses.flatMap(\.lines)
        messages += work.responses
    }

    private mutating func deliver(_ step: ScenarioStep) {
        var recipients: [(id: UInt64, drop: Bool)] = []
        for argument in step.arguments {
            if argument.values.isEmpty, let id = UInt64(argument.key) { recipients.append((id, false)) }
            if argument.key == "drop" { recipients += argument.values.compactMap(UInt64.init).map { ($0, true) } }
        }
        var count = 0
        for recipient in recipients {
            count += deliver(to: MemberID(recipient.id), kind: step.value("type"), drop: recipient.drop)
        }
        if count == 0 { output.append("no messages") }
    }

    private static func isFor(_ envelope: Envelope, _ id: MemberID, kind: String?, drop: Bool) -> Bool {
        envelope.message.to == id && !(drop && envelope.isLocal)
            && (kind == nil || envelope.message.kind.scenarioName == kind)
    }

    private mutating func deliver(to id: MemberID, kind: String? = nil, drop: Bool = false) -> Int {
        let mine = messages.filter { Self.isFor($0, id, kind: kind, drop: drop) }
        messages.removeAll { Self.isFor($0, id, kind: kind, drop: drop) }
        for envelope in mine {
            let lines = envelope.lines
            output += [(drop ? "dropped: " : "") + lines[0]] + lines.dropFirst()
            let index = Int(id.rawValue) - 1
            if drop || !members.indices.contains(index) { continue }
            do throws(RaftError) {
                try members[index].deliver(envelope)
            } catch {
                output.append(error.scenarioText)
            }
        }
        return mine.count
    }

    private mutating func stabilize(_ step: ScenarioStep) {
        var chosen = Array(members.indices)
        if !step.words.isEmpty {
            chosen = []
            for position in step.words.indices {
                guard let index = member(step, position) else { return }
                chosen.append(index)
            }
        }
        var isDone = false
        while !isDone, scriptError == nil {
            isDone = true
            for index in chosen where members[index].node.hasReady {
                under("> \(index + 1) handling Ready") { $0.processReady(index, step) }
                isDone = false
            }
            for index in chosen {
                let id = members[index].id
                guard messages.contains(where: { Self.isFor($0, id, kind: nil, drop: false) }) else { continue }
                under("> \(index + 1) receiving messages") { _ = $0.deliver(to: id) }
                isDone = false
            }
            for index in chosen where !members[index].appendWork.isEmpty {
                under("> \(index + 1) processing append thread") { scenario in
                    while !scenario.members[index].appendWork.isEmpty { scenario.processAppend(index) }
                }
                isDone = false
            }
            for index in chosen where !members[index].applyWork.isEmpty {
                under("> \(index + 1) processing apply thread") { scenario in
                    while !scenario.members[index].applyWork.isEmpty { scenario.processApply(index, step) }
                }
                isDone = false
            }
        }
    }
}

extension RaftError {
    /// The scenario files' wording.
    fileprivate var scenarioText: String {
        switch self {
        case .proposalDropped: "raft proposal dropped"
        case .unknownSender: "raft: cannot step as peer not found"
        case .localMessage: "raft: cannot step raft local message"
        default: description
        }
    }
}
