import Raft

/// Members that work, and messages that arrive.
extension InteractionScenario {
    /// Does `body` for each member named; with a heading if there are several.
    mutating func forEach(
        _ command: Command, _ heading: String,
        _ body: (inout InteractionScenario, Int) throws(Failure) -> Void
    ) throws(Failure) {
        try command.takes(options: [])
        for position in command.words.indices {
            let index = try running(command, position)
            if command.words.count == 1 {
                try body(&self, index)
            } else {
                try under("> \(index + 1) \(heading)") { scenario throws(Failure) in try body(&scenario, index) }
            }
        }
    }

    mutating func processReady(_ index: Int) throws(Failure) {
        do throws(RaftError) {
            let (lines, outgoing) = try members[index].processReady()
            print(lines)
            messages += outgoing
            // In asynchronous mode the core's own messages wait with the write they belong to.
        } catch {
            throw .refusal(error.scenarioText)
        }
    }

    mutating func processAppend(_ index: Int) {
        guard let work = members[index].performAppend() else { return print("no append work to perform") }
        show(work)
    }

    mutating func processApply(_ index: Int) {
        if members[index].applyMustWait {
            return print("a membership change waits for the append thread: its commit index must be durable first")
        }
        guard let work = members[index].performApply() else { return print("no apply work to perform") }
        show(work)
    }

    /// Shows what a thread did and sends its responses.
    private mutating func show(_ work: Envelope) {
        print(["Processing:"] + Envelope(message: work.message).lines)
        print(["Responses:"] + work.responses.flatMap(\.lines))
        messages += work.responses
    }

    // MARK: Delivery

    mutating func deliver(_ command: Command) throws(Failure) {
        try command.takes(options: ["type", "drop"])
        let type = command.value("type")
        if let type, !Message.Kind.allCases.contains(where: { $0.scenarioName == type }) {
            throw command.fault("unknown message type '\(type)'")
        }
        var count = 0
        for argument in command.arguments where argument.key != "type" || argument.values.isEmpty {
            let isDrop = !argument.values.isEmpty
            for name in isDrop ? argument.values : [argument.key] {
                let id = MemberID(try command.number(name))
                if !isDrop, !members.contains(where: { $0.id == id && !$0.isDown }) {
                    throw command.fault("there is no member \(name) that runs")
                }
                count += deliver(to: id, kind: type, drop: isDrop)
            }
        }
        if count == 0 { print("no messages") }
    }

    private static func isFor(_ envelope: Envelope, _ id: MemberID, kind: String?, drop: Bool) -> Bool {
        envelope.message.to == id && !(drop && envelope.isLocal)
            && (kind == nil || envelope.message.kind.scenarioName == kind)
    }

    private mutating func deliver(to id: MemberID, kind: String? = nil, drop: Bool = false) -> Int {
        let mine = messages.filter { Self.isFor($0, id, kind: kind, drop: drop) }
        messages.removeAll { Self.isFor($0, id, kind: kind, drop: drop) }
        let recipient = members.firstIndex { $0.id == id }
        for envelope in mine {
            let lines = envelope.lines
            print([(drop ? "dropped: " : "") + lines[0]] + lines.dropFirst())
            guard !drop, let recipient else { continue }
            do throws(RaftError) {
                try members[recipient].deliver(envelope)
            } catch {
                print(error.scenarioText)
            }
        }
        return mine.count
    }

    // MARK: Until nothing happens any more

    mutating func stabilize(_ command: Command) throws(Failure) {
        var chosen = members.indices.filter { !members[$0].isDown }
        if !command.words.isEmpty {
            chosen = []
            for position in command.words.indices { chosen.append(try running(command, position)) }
        }
        for _ in 0..<1000 where try round(chosen) == false { return }
        throw command.fault("the members do not come to rest within 1,000 rounds")
    }

    /// - Returns: whether there was anything to do.
    private mutating func round(_ chosen: [Int]) throws(Failure) -> Bool {
        var isBusy = false
        for index in chosen where members[index].node.hasReady {
            try under("> \(index + 1) handling Ready") { scenario throws(Failure) in try scenario.processReady(index) }
            isBusy = true
        }
        for index in chosen {
            let id = members[index].id
            guard messages.contains(where: { Self.isFor($0, id, kind: nil, drop: false) }) else { continue }
            try under("> \(index + 1) receiving messages") { scenario throws(Failure) in _ = scenario.deliver(to: id) }
            isBusy = true
        }
        for index in chosen where !members[index].appendWork.isEmpty {
            try under("> \(index + 1) processing append thread") { scenario throws(Failure) in
                while !scenario.members[index].appendWork.isEmpty { scenario.processAppend(index) }
            }
            isBusy = true
        }
        for index in chosen where !members[index].applyWork.isEmpty {
            // The append threads have just finished, so nothing waits for them.
            try under("> \(index + 1) processing apply thread") { scenario throws(Failure) in
                while !scenario.members[index].applyWork.isEmpty { scenario.processApply(index) }
            }
            isBusy = true
        }
        return isBusy
    }
}
