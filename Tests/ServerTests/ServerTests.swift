import EtcdAPI
import Foundation
import GRPC
import NIOCore
import Replica
import Testing

@testable import Server

@Suite struct WireTests {
    /// A seeded source of bytes, so that a failure can be repeated.
    struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }

    private func reading<Value>(
        _ bytes: [UInt8], _ body: (inout ProtoReader) throws(GRPCStatus) -> Value
    ) throws -> Value {
        try ByteBuffer(bytes: bytes).withProtoReader(body)
    }

    @Test func aPutIsReadAsTheGeneratedCodeWritesIt() throws {
        var request = Etcdserverpb_PutRequest()
        request.key = Data([1, 0, 255])
        request.value = Data(repeating: 7, count: 300)
        request.lease = -5
        request.prevKv = true
        request.ignoreLease = true
        let bytes: [UInt8] = try request.serializedBytes()
        let command = try reading(bytes) { reader throws(GRPCStatus) in try PutCommand(decoding: &reader) }
        #expect(command == PutCommand(request))
        #expect(command.lease == -5 && command.value.count == 300 && !command.ignoreValue)
    }

    @Test func aRangeIsReadAsTheGeneratedCodeWritesIt() throws {
        var request = Etcdserverpb_RangeRequest()
        request.key = Data("a".utf8)
        request.rangeEnd = Data([0])
        request.limit = 17
        request.revision = -1
        request.sortOrder = .descend
        request.sortTarget = .mod
        request.serializable = true
        request.keysOnly = true
        request.countOnly = true
        request.minModRevision = 1
        request.maxModRevision = 2
        request.minCreateRevision = 3
        request.maxCreateRevision = .max
        let bytes: [UInt8] = try request.serializedBytes()
        let query = try reading(bytes) { reader throws(GRPCStatus) in try RangeQuery(decoding: &reader) }
        #expect(query == RangeQuery(request))
        #expect(query.maxCreateRevision == .max && query.revision == -1 && query.sortOrder == .descend)
    }

    @Test func unknownFieldsAreSkippedAndFieldZeroIsRefused() throws {
        // Field 100 as each wire type, then the key.
        let known: [UInt8] = [
            0xa0, 0x06, 0x05, 0xa1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0xa2, 0x06, 1, 9, 0xa5, 0x06, 1, 2, 3, 4, 0x0a, 1,
            0x6b,
        ]
        let command = try reading(known) { reader throws(GRPCStatus) in try PutCommand(decoding: &reader) }
        #expect(command.key == [0x6b])
        #expect(throws: GRPCStatus.malformed) {
            try reading([0x02, 0]) { reader throws(GRPCStatus) in try PutCommand(decoding: &reader) }
        }
    }

    @Test func damagedRequestsAreRefusedOrReadButNeverTrap() throws {
        var random = Random(state: 7)
        var request = Etcdserverpb_PutRequest()
        request.key = Data("some key".utf8)
        request.value = Data(repeating: 1, count: 200)
        request.lease = 1 << 40
        let whole: [UInt8] = try request.serializedBytes()
        var refused = 0
        for _ in 0..<5_000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
            do {
                _ = try reading(bytes) { reader throws(GRPCStatus) in try PutCommand(decoding: &reader) }
            } catch {
                #expect(error as? GRPCStatus == .malformed)
                refused += 1
            }
        }
        #expect(refused > 1_000)
    }

    @Test func aLengthBeyondTheMessageIsRefused() {
        let huge: [UInt8] = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]
        #expect(throws: GRPCStatus.malformed) {
            try reading(huge) { reader throws(GRPCStatus) in try RangeQuery(decoding: &reader) }
        }
    }

    @Test func theHeaderIsWrittenAsTheGeneratedCodeWouldWriteIt() throws {
        for (revision, term): (Int64, UInt64) in [(0, 0), (1, 1), (300, 1 << 21), (.max, .max), (-1, 5)] {
            let header = ResponseHeader(clusterID: 0xcdf8_1819_4e3a_8c32, memberID: 1, revision: revision, term: term)
            var buffer = ByteBuffer()
            header.write(into: &buffer)
            var response = Etcdserverpb_PutResponse()
            response.header = header.message
            #expect(try response.serializedBytes() as [UInt8] == Array(buffer.readableBytesView))
        }
    }
}

@Suite struct LeaderQuestionTests {
    @Test func questionsAndAnswersSurviveTheWire() throws {
        for operation: ReadOperation in [
            .leaseKeepAlive(7), .leaseTimeToLive(.max, withKeys: true), .leaseTimeToLive(-1, withKeys: false),
        ] {
            let question = try #require(LeaderQuestion(operation))
            #expect(LeaderQuestion(decoding: question.encoded()) == question)
        }
        let lease = LeaseTimeToLive(id: 7, ttl: 3, grantedTTL: 10, keys: [[1], [], [2, 3]])
        for body: LoopAnswer.Body in [.keepAlive(10), .keepAlive(nil), .timeToLive(lease), .timeToLive(nil)] {
            guard
                case .answer(let read, let revision) = LeaderAnswer(
                    decoding: LeaderAnswer.answer(body, revision: 42).encoded())
            else {
                Issue.record("\(body) came back as something else")
                continue
            }
            #expect(revision == 42)
            switch (body, read) {
            case (.keepAlive(let a), .keepAlive(let b)): #expect(a == b)
            case (.timeToLive(let a), .timeToLive(let b)): #expect(a == b)
            default: Issue.record("\(body) came back as \(read)")
            }
        }
        guard case .notLeader? = LeaderAnswer(decoding: LeaderAnswer.notLeader.encoded()) else {
            Issue.record("notLeader came back as something else")
            return
        }
    }

    @Test func everyCutOfAnAnswerIsRefused() {
        let lease = LeaseTimeToLive(id: 7, ttl: 3, grantedTTL: 10, keys: [[1, 2, 3], [4]])
        let whole = LeaderAnswer.answer(.timeToLive(lease), revision: 1).encoded()
        for length in 0..<whole.count { #expect(LeaderAnswer(decoding: Array(whole.prefix(length))) == nil) }
        #expect(LeaderAnswer(decoding: [2] + whole.dropFirst()) == nil)
    }
}

@Suite struct MailboxTests {
    @Test func aReaderTakesEverythingThatWaitsInOrder() {
        let mailbox = Mailbox<Int>()
        for number in 0..<100 { mailbox.post(number) }
        var taken: [Int] = []
        mailbox.take(into: &taken, deadline: nil)
        #expect(taken == Array(0..<100))
    }

    @Test func aReaderWithADeadlineComesBackEmptyHanded() {
        let mailbox = Mailbox<Int>()
        var taken = [1]
        mailbox.take(into: &taken, deadline: monotonicNanoseconds() + 1_000_000)
        #expect(taken.isEmpty)
        mailbox.take(into: &taken, deadline: 0)
        #expect(taken.isEmpty)
    }

    @Test func postsOfSeveralThreadsAllArriveEachInItsOrder() {
        let mailbox = Mailbox<(Int, Int)>()
        let threads = (0..<4).map { writer in
            WorkerThread(name: "writer") { for number in 0..<5_000 { mailbox.post((writer, number)) } }
        }
        var next = [0, 0, 0, 0]
        var taken: [(Int, Int)] = []
        while next.reduce(0, +) < 20_000 {
            mailbox.take(into: &taken, deadline: monotonicNanoseconds() + 10_000_000_000)
            if taken.isEmpty { break }
            for (writer, number) in taken {
                #expect(number == next[writer])
                next[writer] += 1
            }
        }
        for thread in threads { thread.join() }
        #expect(next == [5_000, 5_000, 5_000, 5_000])
    }
}

@Suite struct CallIDTests {
    @Test func theLoopAndTheCountDoNotMix() {
        let call = CallID(loop: 3, count: .max)
        #expect(call.loop == 3)
        #expect(CallID(call.requestID) == call)
        #expect(CallID(loop: CallID.internalLoop, count: 5).loop == CallID.internalLoop)
        // A later start begins past what an earlier one has reached.
        #expect(
            CallID.firstCount(wallMicroseconds: 2_000_000) > CallID.firstCount(wallMicroseconds: 1_000_000) + 999_999)
    }
}
