import Raft

/// Making members, and what is proposed to them.
extension InteractionScenario {
    mutating func addMembers(_ command: Command) throws(Failure) {
        let count = try command.number(try command.word(0, "a count"))
        guard count <= 100, members.count + Int(count) <= 100 else { throw command.fault("more than 100 members") }
        var configuration = RaftConfiguration(
            id: MemberID(1), electionTimeoutTicks: 3, heartbeatTicks: 1, preVote: false, checkQuorum: false,
            maxBytesPerMessage: .max, maxInflightMessages: Int(Int32.max), maxUncommittedBytes: 0,
            maxCommittedBytesPerReady: 0, stepDownOnRemoval: false, asynchronousStorage: false, randomSeed: 0)
        var state = ConfState()
        var index = LogIndex.zero
        for argument in command.arguments where !argument.values.isEmpty {
            switch argument.key {
            case "voters": state.voters = try ids(argument, command)
            case "learners": state.learners = try ids(argument, command)
            case "index": index = LogIndex(try number(argument, command))
            case "content": break  // The state machine's content is not shown.
            default: try set(argument, in: &configuration, command)
            }
        }
        if state != ConfState(), index <= LogIndex(1) {
            throw .refusal("index must be specified as > 1 due to bootstrap")
        }
        for _ in 0..<count {
            configuration.id = MemberID(UInt64(members.count + 1))
            configuration.randomSeed = configuration.id.rawValue
            do throws(RaftError) {
                members.append(try ScenarioMember(configuration, members: state, index: index))
            } catch {
                throw command.fault("\(error)")
            }
        }
    }

    private func set(
        _ argument: ScenarioStep.Argument, in configuration: inout RaftConfiguration, _ command: Command
    ) throws(Failure) {
        func bytes() throws(Failure) -> Int { Int(try number(argument, command)) }
        func ticks() throws(Failure) -> Int { Int(min(try number(argument, command), 10_000)) }
        func isOn() throws(Failure) -> Bool {
            guard let value = Bool(argument.values[0]) else {
                throw command.fault("\(argument.key)=\(argument.values[0]): true or false")
            }
            return value
        }
        switch argument.key {
        case "inflight", "max-inflight-msgs": configuration.maxInflightMessages = Int(try number(argument, command))
        case "async-storage-writes": configuration.asynchronousStorage = try isOn()
        case "prevote": configuration.preVote = try isOn()
        case "checkquorum": configuration.checkQuorum = try isOn()
        case "max-committed-size-per-ready": configuration.maxCommittedBytesPerReady = try bytes()
        case "disable-conf-change-validation": configuration.disableConfChangeValidation = try isOn()
        case "step-down-on-removal": configuration.stepDownOnRemoval = try isOn()
        case "read-only":
            switch argument.values[0] {
            case "safe": configuration.readOnlyOption = .quorum
            case "lease-based": configuration.readOnlyOption = .leaseBased
            case let other: throw .refusal("invalid read-only option \"\(other)\"")
            }
        // Ours.
        case "max-size-per-msg": configuration.maxBytesPerMessage = try bytes()
        case "max-inflight-bytes": configuration.maxInflightBytes = try bytes()
        case "max-uncommitted-size": configuration.maxUncommittedBytes = try bytes()
        case "disable-proposal-forwarding": configuration.disableProposalForwarding = try isOn()
        case "heartbeat-tick": configuration.heartbeatTicks = try ticks()
        case "election-tick": configuration.electionTimeoutTicks = try ticks()
        default: throw command.fault("unknown option '\(argument.key)'")
        }
    }

    private func number(_ argument: ScenarioStep.Argument, _ command: Command) throws(Failure) -> UInt64 {
        try command.number(argument.values[0])
    }

    private func ids(_ argument: ScenarioStep.Argument, _ command: Command) throws(Failure) -> [MemberID] {
        var ids: [MemberID] = []
        for value in argument.values { ids.append(MemberID(try command.number(value))) }
        return ids
    }

    mutating func propose(_ command: Command, _ index: Int) throws(Failure) {
        let payload = try command.word(1, "data")
        do throws(RaftError) {
            try members[index].node.propose([Array(payload.utf8)])
        } catch {
            throw .refusal(error.scenarioText)
        }
    }

    mutating func proposeChange(_ command: Command, _ index: Int) throws(Failure) {
        try command.takes(words: 1, options: ["v1", "transition"])
        let changes: [MemberChange]
        do throws(ScenarioError) {
            changes = try parseMemberChanges(command.input)
        } catch {
            throw .script(error)
        }
        let transitions: [String: ConfChangeV2.Transition] = [
            "auto": .auto, "implicit": .jointImplicit, "explicit": .jointExplicit,
        ]
        guard let transition = transitions[command.value("transition") ?? "auto"] else {
            throw .refusal("unknown transition \(command.value("transition") ?? "")")
        }
        let isFirstVersion = command.value("v1") == "true"
        if isFirstVersion, changes.count != 1 || transition != .auto {
            throw .refusal("v1 conf change can only have one operation and no transition")
        }
        do throws(RaftError) {
            if isFirstVersion, let change = changes.first {
                try members[index].node.proposeConfChange(ConfChange(change))
            } else {
                try members[index].node.proposeConfChange(ConfChangeV2(transition: transition, changes: changes))
            }
        } catch {
            throw .refusal(error.scenarioText)
        }
    }
}
