import Testing

@testable import Raft

/// Whatever arrives, a member throws or ignores, and what it had committed stays.
@Suite struct UntrustedMessageTests {
    private func follower() throws -> RaftNode {
        var node = try RaftNode(
            RaftConfiguration(id: 1, randomSeed: 1), InitialState(configuration: ConfState(voters: [1, 2, 3])))
        let entries = (1...5).map { Entry(term: 1, index: LogIndex($0), payload: [UInt8($0)]) }
        try node.step(Message(kind: .append, to: 1, from: 2, term: 2, entries: entries, commit: 3))
        return node
    }

    private func isRefused(_ message: Message) throws -> Bool {
        var node = try follower()
        let before = node.entriesInMemory
        do throws(RaftError) {
            try node.step(message)
            return false
        } catch {
            #expect(node.entriesInMemory == before)
            return true
        }
    }

    @Test func messagesThatCannotBeAreRefused() throws {
        func append(_ index: LogIndex, _ term: Term, _ entries: [Entry] = [], from: MemberID = 2) -> Message {
            Message(kind: .append, to: 1, from: from, term: 2, logTerm: term, index: index, entries: entries)
        }
        let cases: [(String, Message)] = [
            ("local kind", Message(kind: .hup, to: 1, from: 2, term: 2)),
            ("storage kind", Message(kind: .storageAppendResponse, to: 1, from: 2, term: 2)),
            ("other addressee", Message(kind: .heartbeat, to: 3, from: 2, term: 2)),
            ("no sender", Message(kind: .heartbeat, to: 1, term: 2)),
            ("from itself", Message(kind: .heartbeat, to: 1, from: 1, term: 2)),
            ("no term", Message(kind: .heartbeat, to: 1, from: 2)),
            ("largest term", Message(kind: .vote, to: 1, from: 2, term: Term(.max))),
            ("stranger's response", Message(kind: .voteResponse, to: 1, from: 9, term: 2)),
            ("second leader", append(5, 1, from: 3)),
            ("gap", append(5, 1, [Entry(term: 2, index: 7, payload: [])])),
            ("falling term", append(5, 2, [Entry(term: 1, index: 6, payload: [])])),
            ("term after the message's", append(5, 1, [Entry(term: 3, index: 6, payload: [])])),
            ("no term for an index", append(5, 0)),
            ("overflowing index", append(LogIndex(.max), 1, [Entry(term: 1, index: 0, payload: [])])),
            ("other entry where one is committed", append(0, 0, [Entry(term: 2, index: 1, payload: [])])),
            ("malformed change", append(5, 1, [Entry(term: 2, index: 6, kind: .confChange, payload: [7])])),
            ("commit past the end", Message(kind: .heartbeat, to: 1, from: 2, term: 2, commit: 6)),
            ("no snapshot", Message(kind: .snapshot, to: 1, from: 2, term: 2)),
            (
                "snapshot without voters",
                Message(kind: .snapshot, to: 1, from: 2, term: 2, snapshot: SnapshotMetadata(index: 9, term: 1))
            ),
            ("empty proposal", Message(kind: .propose, to: 1, from: 2)),
        ]
        // An append below the commit index is answered without a look at its entries.
        for (what, message) in cases where what != "other entry where one is committed" {
            #expect(try isRefused(message), "\(what)")
        }
        var node = try follower()
        try node.step(cases.first { $0.0 == "other entry where one is committed" }!.1)
        #expect(node.entriesInMemory.map(\.term) == [1, 1, 1, 1, 1])
    }

    @Test func aLeaderRefusesAnAcknowledgementOfWhatItNeverHad() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        #expect(throws: RaftError.self) {
            try cluster[1].step(Message(kind: .appendResponse, to: 1, from: 2, term: 1, index: 100))
        }
        #expect(throws: RaftError.self) {
            try cluster[1].step(Message(kind: .append, to: 1, from: 2, term: 1))
        }
        #expect(cluster[1].status.commit == 1)
    }

    @Test func aFloodOfRandomMessagesLeavesTheMemberConsistent() throws {
        var random = RandomSequence(seed: 42)
        func number() -> UInt64 {
            switch random.next(below: 12) {
            case 0: UInt64.max - UInt64(random.next(below: 3))
            case 1: 1 << 62
            default: UInt64(random.next(below: 8))
            }
        }
        func member() -> MemberID { MemberID(UInt64(random.next(below: 5))) }
        func entry() -> Entry {
            Entry(
                term: Term(number()), index: LogIndex(number()),
                kind: Entry.Kind(rawValue: UInt8(random.next(below: 3)))!,
                payload: (0..<random.next(below: 6)).map { _ in UInt8(random.next(below: 3)) })
        }
        for round in 0..<300 {
            var cluster = try TestCluster(voters: 3, learners: round % 2) {
                $0.preVote = round % 5 > 0
                $0.checkQuorum = round % 7 > 0
                $0.readOnlyOption = round % 7 > 0 && round % 4 == 0 ? .leaseBased : .quorum
                $0.asynchronousStorage = round % 6 > 0
                $0.maxInflightMessages = 1 + round % 4
                $0.maxUncommittedBytes = round % 8
            }
            if round % 3 > 0 { try cluster.elect(round % 3) }
            var refused = 0
            for _ in 0..<100 {
                var message = Message(
                    kind: Message.Kind.allCases[random.next(below: Message.Kind.allCases.count)],
                    to: random.next(below: 8) == 0 ? member() : 1, from: member(), term: Term(number()),
                    logTerm: Term(number()), index: LogIndex(number()), commit: LogIndex(number()), vote: member(),
                    reject: random.next(below: 2) == 0, rejectHint: LogIndex(number()))
                message.context = (0..<(random.next(below: 2) * 8)).map { _ in UInt8(random.next(below: 2)) }
                if random.next(below: 2) == 0 {
                    // Entries that often follow on each other.
                    for offset in 0..<random.next(below: 3) {
                        var new = entry()
                        if random.next(below: 4) > 0 {
                            new.index = LogIndex(message.index.rawValue &+ UInt64(offset + 1))
                        }
                        if random.next(below: 2) > 0 { new.term = message.logTerm }
                        message.entries.append(new)
                    }
                }
                if random.next(below: 3) == 0 {
                    message.snapshot = SnapshotMetadata(
                        index: LogIndex(number()), term: Term(number()),
                        configuration: ConfState(
                            voters: [member(), member()], learners: [member()],
                            votersOutgoing: random.next(below: 3) == 0 ? [member()] : []))
                }
                do { try cluster[1].step(message) } catch { refused += 1 }
                if random.next(below: 4) == 0 { cluster.tick(1) }
                switch random.next(below: 20) {
                case 0: cluster[1].readIndex(context: [1])
                case 1: cluster[1].transferLeadership(to: member())
                case 2: try? cluster[1].propose([[1, 2, 3]])
                case 3: cluster[1].reportUnreachable(member())
                case 4: cluster[1].reportSnapshot(member(), succeeded: random.next(below: 2) == 0)
                case 5: cluster[1].forgetLeader()
                case 6: try? cluster[1].campaign()
                default: break
                }
                _ = cluster[1].status.description
                let ready = cluster[1].takeReady()
                if let snapshot = ready.snapshot { cluster[1].snapshotInstalled(index: snapshot.index) }
                if let last = ready.entriesToAppend.last { cluster[1].appended(term: last.term, index: last.index) }
                for own in ready.messagesAfterAppend where own.to == 1 { try? cluster[1].step(own) }
                for entry in ready.committed {
                    if let change = try ConfChangeV2(entry) { _ = cluster[1].applyConfChange(change) }
                    cluster[1].applied(upTo: entry.index)
                }
            }
            #expect(refused > 0)
        }
    }
}
