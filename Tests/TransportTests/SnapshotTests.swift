import NIOConcurrencyHelpers
import NIOCore
import Raft
import Testing

@testable import Transport

/// Chunks of a snapshot, handed out one by one, and how many were asked for.
private final class Source: Sendable {
    struct Failure: Error {}
    let asked = NIOLockedValueBox(0)
    let chunks: [[UInt8]]
    let failsAt: Int?
    init(_ chunks: [[UInt8]], failsAt: Int? = nil) {
        self.chunks = chunks
        self.failsAt = failsAt
    }
    func next() throws -> [UInt8]? {
        let index = asked.withLockedValue { asked in
            defer { asked += 1 }
            return asked
        }
        if index == failsAt { throw Failure() }
        return index < chunks.count ? chunks[index] : nil
    }
}

@Suite struct SnapshotTests {
    static let message = Message(
        kind: .snapshot, to: MemberID(2), from: MemberID(1), term: Term(3),
        snapshot: SnapshotMetadata(index: LogIndex(9), term: Term(3), configuration: ConfState(voters: [MemberID(1)])))

    private func send(
        _ source: Source, from a: TestMember, to member: MemberID = MemberID(2), message: Message = message
    ) async -> Result<Void, any Error> {
        await withCheckedContinuation { continuation in
            a.transport.sendSnapshot(to: member, message: message, chunks: { try source.next() }) {
                continuation.resume(returning: $0)
            }
        }
    }

    private func error(_ result: Result<Void, any Error>) -> (any Error)? {
        if case .failure(let error) = result { error } else { nil }
    }

    @Test func aSnapshotArrivesWhole() async throws {
        let (a, b) = (try await TestMember(1), try await TestMember(2))
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address]])
            let chunks = (0..<40).map { [UInt8](repeating: UInt8($0), count: $0 * 10_000) } + [[1], [], [2]]
            let result = await send(Source(chunks), from: a)
            #expect(error(result) == nil)
            let sink = try #require(b.recorder.sinks.first)
            let notes = sink.notes.withLockedValue { $0 }
            #expect(notes.bytes == chunks.flatMap(\.self))
            #expect(notes.isFinished)
            #expect(!notes.isAborted)
        }
    }

    @Test func aSlowSinkHoldsTheSourceBack() async throws {
        var options = TestMember.patient()
        options.maxSnapshotBufferBytes = 1 << 20
        let a = try await TestMember(1)
        let b = try await TestMember(
            2, recorder: Recorder { RecordingSink(delay: 5_000) }, options: options)
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address]])
            let source = Source([[UInt8]](repeating: [UInt8](repeating: 7, count: 1 << 20), count: 48))
            async let result = send(source, from: a)
            try await eventually("the source to start") { source.asked.withLockedValue { $0 } > 8 }
            // What is under way is bounded by the buffers between the two, which hold far less than everything.
            let asked = source.asked.withLockedValue { $0 }
            let taken = b.recorder.sinks.first?.notes.withLockedValue { $0.bytes.count } ?? 0
            #expect(asked - taken >> 20 < 40)
            #expect(error(await result) == nil)
            #expect(b.recorder.sinks.first?.notes.withLockedValue { $0.bytes.count } == 48 << 20)
        }
    }

    @Test func aSourceThatFailsAbortsTheSink() async throws {
        let (a, b) = (try await TestMember(1), try await TestMember(2))
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address]])
            let result = await send(Source([[1], [2], [3]], failsAt: 2), from: a)
            #expect(error(result) is Source.Failure)
            try await eventually("the abort") { b.recorder.sinks.first?.notes.withLockedValue { $0.isAborted } == true }
            #expect(b.recorder.sinks.first?.notes.withLockedValue { $0.isFinished } == false)
        }
    }

    @Test func aSinkThatFailsIsAbortedAndTheSenderHearsWhy() async throws {
        let a = try await TestMember(1)
        let b = try await TestMember(2, recorder: Recorder { RecordingSink(failsAfter: 3 << 20) })
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address]])
            let source = Source([[UInt8]](repeating: [UInt8](repeating: 7, count: 1 << 20), count: 200))
            let result = await send(source, from: a)
            #expect(error(result) as? SnapshotSendError == .refused("the disk is full"))
            #expect(source.asked.withLockedValue { $0 } < 200)
            #expect(b.recorder.sinks.first?.notes.withLockedValue { $0.isAborted } == true)
        }
    }

    @Test func aReceiverMayDecline() async throws {
        let (a, b) = (try await TestMember(1), try await TestMember(2))
        b.recorder.notes.withLockedValue { $0.takesSnapshots = false }
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address]])
            let result = await send(Source([[1]]), from: a)
            #expect(error(result) as? SnapshotSendError == .refused("the receiver does not want a snapshot now"))
        }
    }

    @Test func whatCannotBeSentFailsAtOnce() async throws {
        let a = try await TestMember(1, cluster: 8)
        let b = try await TestMember(2)
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address], MemberID(3): [.network(host: "127.0.0.1", port: 1)]])
            guard case .refused(let reason)? = error(await send(Source([]), from: a)) as? SnapshotSendError else {
                Issue.record("another cluster's snapshot was taken")
                return
            }
            #expect(reason.contains("cluster id mismatch"))
            guard case .unreachable? = error(await send(Source([]), from: a, to: MemberID(3))) as? SnapshotSendError
            else {
                Issue.record("a snapshot went nowhere")
                return
            }
            let stranger = await send(Source([]), from: a, to: MemberID(4))
            #expect(error(stranger) as? SnapshotSendError == .notPossible("4 is no peer of this member"))
            let beat = await send(Source([]), from: a, message: Message(kind: .heartbeat, to: MemberID(2)))
            #expect(error(beat) as? SnapshotSendError == .notPossible("a message of kind heartbeat"))
        }
    }

    @Test func shuttingDownEndsSnapshotsOnBothSides() async throws {
        let a = try await TestMember(1)
        let b = try await TestMember(2, recorder: Recorder { RecordingSink(delay: 20_000) })
        a.transport.setPeers([b.id: [b.address]])
        let source = Source([[UInt8]](repeating: [UInt8](repeating: 7, count: 1 << 20), count: 10_000))
        async let result = send(source, from: a)
        try await eventually("the snapshot to start") {
            b.recorder.sinks.first?.notes.withLockedValue { $0.bytes.count } ?? 0 > 0
        }
        await a.transport.shutdown()
        #expect(error(await result) is SnapshotSendError)
        await b.transport.shutdown()
        #expect(b.recorder.sinks.first?.notes.withLockedValue { $0.isAborted } == true)
    }
}
