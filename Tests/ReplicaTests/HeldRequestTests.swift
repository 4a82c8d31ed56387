import Testing

@testable import Replica

/// What a follower holds while no leader is known.
@Suite struct HeldRequestTests {
    private func follower() throws -> ConsensusMachine {
        try ConsensusMachine(
            ConsensusMachine.Configuration(raft: RaftConfiguration(id: MemberID(1), randomSeed: 1)),
            initial: InitialState(configuration: ConfState(voters: [1, 2, 3].map(MemberID.init))), startCount: 1)
    }

    private func hearLeader(_ machine: inout ConsensusMachine) -> [Message] {
        machine.receive([Message(kind: .heartbeat, to: MemberID(1), from: MemberID(2), term: Term(1))])
        return machine.takeEffects().messages
    }

    @Test func proposalsArePassedOnInOrderInMessagesThatThePeersAccept() throws {
        var machine = try follower()
        let payloads = (0..<10).map { [UInt8](repeating: UInt8($0), count: 400 << 10) }
        machine.propose(
            payloads.enumerated().map { ProposedEntry(requestID: RequestID(UInt64($0.offset)), payload: $0.element) })
        #expect(machine.takeEffects().messages.isEmpty)
        let passedOn = hearLeader(&machine).filter { $0.kind == .propose }
        #expect(passedOn.flatMap(\.entries).map(\.payload) == payloads)
        #expect(passedOn.allSatisfy { $0.entries.reduce(0) { $0 + $1.payload.count } <= 1 << 20 })
        #expect(hearLeader(&machine).allSatisfy { $0.kind != .propose })
    }

    @Test func readsWhoseClientsGaveUpAskNobody() throws {
        var machine = try follower()
        machine.read(ReadToken(1))
        machine.withdrawReads([ReadToken(1)])
        #expect(hearLeader(&machine).allSatisfy { $0.kind != .readIndex })
        machine.read(ReadToken(2))
        #expect(machine.takeEffects().messages.count { $0.kind == .readIndex } == 1)
    }
}
