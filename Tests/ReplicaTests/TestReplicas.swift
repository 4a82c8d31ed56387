@testable import Replica

/// One whole replica, both machines, on a disk as fast as asked: effects are performed as the drivers would.
struct TestReplica {
    let id: MemberID
    var consensus: ConsensusMachine
    var apply: ApplyMachine<MemoryHistory>
    /// What is on its way to others, a snapshot with the state that it brings.
    var sent: [(message: Message, state: MemoryHistory?)] = []
    var answers: [Answer] = []
    var refused: [(requestID: RequestID, reason: RefusalReason)] = []
    var removed: [MemberID] = []
    /// Every entry applied, for tests that look into the log.
    var entries: [Entry] = []

    mutating func settle() throws {
        while true {
            let effects = consensus.takeEffects()
            let isIdle = !effects.needsAppend && effects.committed.isEmpty && effects.leadership == nil
            refused += effects.refusedProposals
            sent += effects.messages.map { ($0, nil) }
            for request in effects.snapshotsToSend {
                var message = request
                message.snapshot = SnapshotMetadata(
                    index: apply.applied, term: apply.appliedTerm, configuration: apply.configuration)
                sent.append((message, apply.store.history))
            }
            if let last = effects.entriesToAppend.last { consensus.appended(term: last.term, index: last.index) }
            sent += effects.messagesAfterAppend.filter { $0.to != id }.map { ($0, nil) }
            consensus.receive(effects.messagesAfterAppend.filter { $0.to == id })
            try applyCommitted(effects.committed)
            if isIdle { return }
        }
    }

    private mutating func applyCommitted(_ committed: [Entry]) throws {
        guard let last = committed.last else { return }
        entries += committed
        let batch = try apply.apply(committed)
        answers += batch.answers
        removed += batch.removed
        for change in batch.membershipChanges { consensus.applyConfChange(change) }
        consensus.applied(upTo: last.index)
    }

    mutating func receive(_ message: Message, _ state: MemoryHistory?) throws {
        consensus.receive([message])
        guard let state, let metadata = message.snapshot else { return }
        // The effects before it, then those that say whether Raft wants this very one.
        let effects = consensus.takeEffects()
        sent += (effects.messages + effects.messagesAfterAppend).filter { $0.to != id }.map { ($0, nil) }
        guard effects.snapshotToInstall == metadata else { return }
        try apply.replaceState(
            state, applied: metadata.index, term: metadata.term, configuration: metadata.configuration)
        consensus.snapshotInstalled(index: metadata.index)
    }

    func answer(to request: UInt64) -> Answer.Outcome? { answers.last { $0.requestID == RequestID(request) }?.outcome }
}

/// Replicas that hear each other at once, those cut off aside. Members 1 to `founders` found the cluster.
struct TestReplicas {
    var members: [UInt64: TestReplica] = [:]
    var isolated: Set<UInt64> = []
    private let adjust: (inout ConsensusMachine.Configuration) -> Void

    init(_ founders: Int, _ adjust: @escaping (inout ConsensusMachine.Configuration) -> Void = { _ in }) throws {
        self.adjust = adjust
        let ids = (1...UInt64(founders)).map(MemberID.init)
        for id in ids { try start(id.rawValue, founders: ids.map(TestReplicas.attributes)) }
    }

    static func attributes(_ id: MemberID) -> MemberAttributes {
        MemberAttributes(
            id: id, name: "m\(id.rawValue)", peerURLs: ["http://m\(id.rawValue):2380"], clientURLs: [])
    }

    /// A member with an empty disk; without founders it joins.
    mutating func start(_ number: UInt64, founders: [MemberAttributes] = []) throws {
        let id = MemberID(number)
        var apply = try ApplyMachine(
            id: id, history: MemoryHistory(), applied: .zero, term: .zero, configuration: ConfState())
        if !founders.isEmpty { apply.bootstrap(founders) }
        var configuration = ConsensusMachine.Configuration(raft: RaftConfiguration(id: id, randomSeed: number))
        adjust(&configuration)
        members[number] = TestReplica(
            id: id,
            consensus: try ConsensusMachine(
                configuration, initial: InitialState(configuration: apply.configuration), startCount: number << 32),
            apply: apply)
    }

    subscript(_ number: UInt64) -> TestReplica {
        get { members[number]! }
        set { members[number] = newValue }
    }

    private var numbers: [UInt64] { members.keys.sorted() }

    mutating func exchange() throws {
        var isBusy = true
        while isBusy {
            isBusy = false
            for number in numbers {
                try members[number]?.settle()
                let sent = members[number]?.sent ?? []
                members[number]?.sent = []
                for (message, state) in sent
                where !isolated.contains(message.to.rawValue) && !isolated.contains(message.from.rawValue) {
                    try members[message.to.rawValue]?.receive(message, state)
                    isBusy = true
                }
            }
        }
    }

    mutating func elect(_ number: UInt64) throws {
        try members[number]?.consensus.campaign()
        try exchange()
    }

    mutating func tick(_ count: Int = 1, only: [UInt64]? = nil) throws {
        for _ in 0..<count {
            for number in numbers where only?.contains(number) ?? true { members[number]?.consensus.tick() }
            try exchange()
        }
    }

    mutating func change(_ request: UInt64, on member: UInt64, _ changes: MemberListChange...) throws {
        members[member]?.consensus.proposeMembershipChange(
            MembershipProposal(requestID: RequestID(request), changes: changes))
        try exchange()
    }

    mutating func put(_ request: UInt64, on member: UInt64, _ key: String) throws {
        let proposal = Proposal(
            origin: MemberID(member), requestID: RequestID(request),
            command: .store(.put(PutCommand(key: Array(key.utf8), value: [1]))))
        members[member]?.consensus.propose([
            ProposedEntry(requestID: RequestID(request), payload: proposal.encoded())
        ])
        try exchange()
    }
}
