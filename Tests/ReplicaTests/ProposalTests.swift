import Testing

@testable import Replica

@Suite struct ProposalTests {
    private var samples: [Proposal] {
        let query = RangeQuery(key: [1, 2], rangeEnd: [9], limit: 3)
        let transaction = TransactionCommand(
            compares: [Compare(key: Array("k".utf8), .modRevision(7), .greater)],
            success: [.put(PutCommand(key: Array("k".utf8), value: [0, 255], lease: 5))], failure: [.range(query)])
        let commands: [StoreCommand] = [
            .put(PutCommand(key: Array("key".utf8), value: Array("value".utf8), previousKV: true)),
            .deleteRange(DeleteRangeCommand(key: [1], rangeEnd: [0])), .transaction(transaction),
            .compact(CompactCommand(revision: 9)), .leaseGrant(LeaseGrantCommand(id: -3, ttl: 60)),
            .leaseRevoke(LeaseRevokeCommand(id: 4)), .leaseCheckpoint([LeaseCheckpoint(id: 4, remainingTTL: 2)]),
        ]
        let member = MemberAttributes(
            id: MemberID(0xdead), name: "größe", peerURLs: ["http://a:2380"], clientURLs: ["http://a:2379", ""],
            isLearner: true)
        return commands.map {
            Proposal(origin: MemberID(1), requestID: RequestID(2), user: "ann", authRevision: 3, command: .store($0))
        }
            + [
                Proposal(origin: MemberID(.max), requestID: RequestID(.max), command: .publish(member)),
                Proposal(
                    origin: MemberID(7), requestID: RequestID(8),
                    command: .members([
                        .add(member), .promote(MemberID(1)), .demote(MemberID(2)), .remove(MemberID(.max)),
                        .update(MemberID(4), peerURLs: ["a", ""]),
                    ])),
            ]
    }

    @Test func whatIsEncodedIsReadBack() throws {
        for proposal in samples {
            let bytes = proposal.encoded()
            let read = try Proposal(decoding: bytes)
            #expect(read.origin == proposal.origin && read.requestID == proposal.requestID)
            #expect(read.user == proposal.user && read.authRevision == proposal.authRevision)
            switch (read.command, proposal.command) {
            case (.store(let a), .store(let b)): #expect(a == b)
            case (.publish(let a), .publish(let b)): #expect(a == b)
            case (.members(let a), .members(let b)): #expect(a == b)
            default: Issue.record("another kind of command was read")
            }
            #expect(read.encoded() == bytes)
        }
    }

    @Test func aProposalThatEndsEarlyIsRefused() {
        for proposal in samples {
            let bytes = proposal.encoded()
            for length in 0..<bytes.count {
                #expect(throws: (any Error).self) { try Proposal(decoding: Array(bytes[..<length])) }
            }
        }
    }

    @Test func anUnknownFormatOrCommandIsNamed() {
        var bytes = samples[0].encoded()
        bytes[0] = 9
        #expect(throws: ProposalError.unknownFormat(9)) { try Proposal(decoding: bytes) }
        bytes[0] = 1
        bytes[30] = 77
        #expect(throws: ProposalError.unknownCommand(77)) { try Proposal(decoding: bytes) }
    }

    @Test func damagedBytesAreReadOrRefusedButNeverTrap() {
        var random = SystemRandomNumberGenerator()
        for round in 0..<20_000 {
            var bytes = samples[round % samples.count].encoded()
            for _ in 0...Int.random(in: 0..<4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if round % 3 == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
            _ = try? Proposal(decoding: bytes)
            _ = try? MemberAttributes(decoding: bytes)
        }
    }
}
