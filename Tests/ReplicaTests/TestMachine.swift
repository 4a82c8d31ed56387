@testable import Replica

/// One consensus machine and a disk that is as fast as asked: effects are performed as the driver would.
struct TestMachine {
    let id: MemberID
    var machine: ConsensusMachine
    var sent: [Message] = []
    var committed: [Entry] = []
    var confirmed: [ConfirmedReads] = []
    var redirected: [(token: ReadToken, leader: MemberID)] = []
    var refused: [RequestID] = []
    var truncations: [LogIndex] = []
    var leadership: Leadership?

    init(_ id: UInt64, of voters: Int, _ adjust: (inout ConsensusMachine.Configuration) -> Void = { _ in }) throws {
        self.id = MemberID(id)
        var configuration = ConsensusMachine.Configuration(raft: RaftConfiguration(id: self.id, randomSeed: id))
        adjust(&configuration)
        machine = try ConsensusMachine(
            configuration,
            initial: InitialState(configuration: ConfState(voters: (1...UInt64(voters)).map(MemberID.init))),
            startCount: id << 32)
    }

    /// Performs whatever is to be done; what is for others gathers in `sent`.
    mutating func settle(applying: Bool = true) {
        while true {
            let effects = machine.takeEffects()
            if let new = effects.leadership { leadership = new }
            sent += effects.messages + effects.snapshotsToSend
            committed += effects.committed
            confirmed += effects.confirmedReads
            redirected += effects.redirectedReads
            refused += effects.refusedProposals.map(\.requestID)
            if let index = effects.truncateLogUpTo { truncations.append(index) }
            if let last = effects.entriesToAppend.last { machine.appended(term: last.term, index: last.index) }
            if let snapshot = effects.snapshotToInstall { machine.snapshotInstalled(index: snapshot.index) }
            sent += effects.messagesAfterAppend.filter { $0.to != id }
            machine.receive(effects.messagesAfterAppend.filter { $0.to == id })
            if applying, let last = effects.committed.last { machine.applied(upTo: last.index) }
            if !effects.needsAppend && effects.committed.isEmpty && effects.leadership == nil { return }
        }
    }

    mutating func propose(_ number: UInt64, _ payload: [UInt8] = [7]) {
        machine.propose([ProposedEntry(requestID: RequestID(number), payload: payload)])
        settle()
    }

    var payloads: [[UInt8]] { committed.map(\.payload).filter { !$0.isEmpty } }
}

/// Machines that hear each other at once, those cut off aside.
struct TestMachines {
    var members: [TestMachine]
    var isolated: Set<UInt64> = []

    init(_ count: Int, _ adjust: (inout ConsensusMachine.Configuration) -> Void = { _ in }) throws {
        members = try (1...UInt64(count)).map { try TestMachine($0, of: count, adjust) }
    }

    subscript(_ number: Int) -> TestMachine {
        get { members[number - 1] }
        set { members[number - 1] = newValue }
    }

    mutating func exchange() {
        var isBusy = true
        while isBusy {
            isBusy = false
            for index in members.indices {
                members[index].settle()
                let messages = members[index].sent
                members[index].sent = []
                for message in messages
                where !isolated.contains(message.to.rawValue) && !isolated.contains(message.from.rawValue) {
                    members[Int(message.to.rawValue) - 1].machine.receive([message])
                    isBusy = true
                }
            }
        }
    }

    mutating func elect(_ number: Int) throws {
        try members[number - 1].machine.campaign()
        exchange()
    }

    mutating func tick(_ count: Int = 1, only: [Int]? = nil) {
        for _ in 0..<count {
            for index in members.indices where only?.contains(index + 1) ?? true { members[index].machine.tick() }
            exchange()
        }
    }
}
