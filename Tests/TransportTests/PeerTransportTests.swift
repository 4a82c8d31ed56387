import NIOCore
import NIOPosix
import Raft
import Testing

@testable import Transport

@Suite struct DeliveryTests {
    @Test func messagesArriveInTheOrderTheyWereSent() async throws {
        let (a, b) = (try await TestMember(1), try await TestMember(2))
        try await withMembers(a, b) {
            // Sent before there is a connection: they wait for the first attempt.
            a.transport.setPeers([b.id: [b.address], a.id: [a.address]])
            for index in 0..<2000 as Range<UInt64> { a.send(heartbeat(index), to: b) }
            for id in 0..<500 as Range<UInt64> { a.send(.request(id: id, body: [1]), to: b) }
            try await eventually("all messages") { b.recorder.messages.count == 2500 }
            #expect(b.recorder.raftMessages.map(\.commit.rawValue) == Array(0..<2000))
            let ids = b.recorder.messages.compactMap { if case .request(let id, _) = $0 { id } else { nil } }
            #expect(ids == Array(0..<500))
            #expect(a.recorder.connected == [b.id])
            let statistics = a.transport.statistics()
            #expect(statistics.count == 1)
            #expect(statistics[b.id]?.sentMessages == 2500)
            #expect(statistics[b.id]?.droppedMessages == 0)
            #expect(statistics[b.id]?.isConnected == true)
            // Nothing is received where nothing was sent.
            #expect(a.recorder.messages.isEmpty)
        }
    }

    @Test func bothSidesSpeakAtOnce() async throws {
        let (a, b) = (try await TestMember(1), try await TestMember(2))
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address]])
            b.transport.setPeers([a.id: [a.address]])
            for index in 0..<100 as Range<UInt64> {
                a.send(heartbeat(index), to: b)
                b.send(heartbeat(index, to: 1, from: 2), to: a)
            }
            try await eventually("all messages") {
                a.recorder.messages.count == 100 && b.recorder.messages.count == 100
            }
            #expect(a.transport.statistics()[b.id]?.receivedBytes ?? 0 > 0)
        }
    }

    @Test func largeEntriesComeThroughWhole() async throws {
        let (a, b) = (try await TestMember(1), try await TestMember(2))
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address]])
            let sizes = [64 << 10, (64 << 10) + 1, 1 << 20, 5_000_000, 3]
            let sent = sizes.enumerated().map { append(UInt64($0.offset), bytes: $0.element) }
            for message in sent { a.send(message, to: b) }
            try await eventually("all appends") { b.recorder.messages.count == sent.count }
            #expect(b.recorder.messages == sent)
        }
    }

    @Test func aMessageOverTheFrameLimitIsDroppedAndTheRestArrives() async throws {
        var options = TestMember.patient()
        options.maxFrameBytes = 10_000
        let (a, b) = (try await TestMember(1, options: options), try await TestMember(2, options: options))
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address]])
            a.send(append(1, bytes: 20_000), to: b)
            a.send(append(2, bytes: 9_000), to: b)
            try await eventually("the small append") { b.recorder.messages == [append(2, bytes: 9_000)] }
            #expect(a.transport.statistics()[b.id]?.droppedMessages == 1)
        }
    }

    @Test func aHeartbeatOvertakesAppendsThatWait() async throws {
        let a = try await TestMember(1)
        try await withMembers(a) {
            // A peer that is not dialled: what is queued for it stays until it is taken.
            let peer = OutboundPeer(MemberID(2), addresses: [], loop: TestMember.group.next(), transport: a.transport)
            let appends = (0..<5).map { append($0, bytes: 100_000) }
            for message in appends { peer.enqueue(message) }
            peer.enqueue(heartbeat(7))
            #expect(peer.take(upTo: 150_000) == [heartbeat(7)] + appends[0..<2])
            peer.enqueue(heartbeat(8))
            #expect(peer.take(upTo: 1) == [heartbeat(8)])
            #expect(peer.take(upTo: 1) == [appends[2]])
            #expect(peer.take(upTo: .max) == Array(appends[3...]))
            #expect(peer.take(upTo: .max).isEmpty)
        }
    }

    @Test func aLocalSocketServesAsWell() async throws {
        let path = "/tmp/transport-test-\(UInt32.random(in: 0 ... .max)).sock"
        let a = try await TestMember(1)
        let b = try await TestMember(2)
        try await withMembers(a, b) {
            try await b.transport.start(listen: [.socket(path: path)])
            a.transport.setPeers([b.id: [.socket(path: path)]])
            a.send(heartbeat(1), to: b)
            try await eventually("the heartbeat") { b.recorder.messages == [heartbeat(1)] }
        }
        unlink(path)
    }
}

@Suite struct ReconnectionTests {
    @Test func aPeerThatComesBackIsReachedAgain() async throws {
        let a = try await TestMember(1)
        let b = try await TestMember(2)
        a.transport.setPeers([b.id: [b.address]])
        try await eventually("the connection") { a.recorder.connected == [b.id] }
        await b.transport.shutdown()
        try await eventually("the loss") { a.recorder.unreachable > 0 }
        a.send(heartbeat(1), to: b)
        #expect(a.transport.statistics()[b.id]?.droppedMessages == 1)
        #expect(a.transport.statistics()[b.id]?.isConnected == false)

        let again = try await TestMember(2, port: b.port)
        try await withMembers(a, again) {
            try await eventually("the connection again") { a.recorder.connected == [b.id, b.id] }
            a.send(heartbeat(2), to: again)
            try await eventually("the heartbeat") { again.recorder.messages == [heartbeat(2)] }
            #expect(a.log.all.filter { $0.contains("cannot reach peer") }.count == 1)
        }
    }

    @Test func aPeerThatDialsIsDialledBackAtOnce() async throws {
        var patient = TestMember.patient()
        patient.backoff = .seconds(60)...(.seconds(120))
        let a = try await TestMember(1, options: patient)
        let before = try await TestMember(2)
        await before.transport.shutdown()
        a.transport.setPeers([before.id: [before.address]])
        try await eventually("the failed attempt") { a.recorder.unreachable == 1 }
        let b = try await TestMember(2, port: before.port)
        try await withMembers(a, b) {
            b.transport.setPeers([a.id: [a.address]])
            try await eventually("the connection back") { a.recorder.connected == [b.id] }
        }
    }

    @Test func aPeerOfSeveralURLsIsReachedByWhicheverWorks() async throws {
        let (a, b) = (try await TestMember(1), try await TestMember(2))
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [.network(host: "127.0.0.1", port: 1), b.address]])
            try await eventually("the connection") { a.recorder.connected == [b.id] }
            #expect(a.recorder.unreachable == 1)
        }
    }

    @Test func aPeerThatMovesIsFollowedAndARemovedOneIsLeft() async throws {
        let (a, b, moved) = (try await TestMember(1), try await TestMember(2), try await TestMember(2))
        try await withMembers(a, b, moved) {
            a.transport.setPeers([b.id: [b.address]])
            try await eventually("the connection") { a.recorder.connected.count == 1 }
            a.transport.setPeers([b.id: [moved.address]])
            try await eventually("the new connection") { a.recorder.connected.count == 2 }
            a.send(heartbeat(5), to: moved)
            try await eventually("the heartbeat at the new address") { moved.recorder.messages == [heartbeat(5)] }
            a.transport.setPeers([:])
            #expect(a.transport.statistics().isEmpty)
            a.send(heartbeat(6), to: moved)
            #expect(b.recorder.messages.isEmpty)
        }
    }

    @Test func aNewStreamOfAMemberReplacesItsOld() async throws {
        // Patient: a machine under load must not make it give up the stream that the test leaves silent.
        let b = try await TestMember(2, options: TestMember.patient())
        try await withMembers(b) {
            let first = try await RawPeer(b.address)
            try await first.send { HandshakeTests.hello.encode(into: &$0) }
            try await eventually("the first welcome") { first.received > 0 }
            let second = try await RawPeer(b.address)
            try await second.send { HandshakeTests.hello.encode(into: &$0) }
            try await eventually("the end of the first") { !first.isOpen }
            #expect(second.isOpen)
            try await second.close()
        }
    }
}

@Suite struct BoundTests {
    @Test func whatAFullQueueCannotTakeIsDroppedAndTold() async throws {
        var options = TestMember.patient()
        options.maxQueuedBytes = 1 << 20
        // A peer that says welcome and then reads no more.
        let server = try await RawListener { channel in
            var buffer = channel.allocator.buffer(capacity: 64)
            Welcome(clusterID: 7, member: MemberID(2)).encode(into: &buffer)
            channel.writeAndFlush(buffer).whenSuccess {
                channel.setOption(.autoRead, value: false).whenComplete { _ in }
            }
        }
        let a = try await TestMember(1, options: options)
        try await withMembers(a) {
            a.transport.setPeers([MemberID(2): [server.address]])
            try await eventually("the connection") { a.recorder.connected == [MemberID(2)] }
            for index in 0..<400 as Range<UInt64> { a.transport.send([(MemberID(2), append(index, bytes: 100_000))]) }
            try await eventually("the drops") { a.recorder.unreachable == 1 }
            let statistics = try #require(a.transport.statistics()[MemberID(2)])
            #expect(statistics.droppedMessages > 100)
            #expect(statistics.isConnected)
            #expect(a.log.all.filter { $0.contains("does not keep up") }.count == 1)
        }
        try await server.close()
    }

    @Test func whatIsSentToNobodyIsDropped() async throws {
        let a = try await TestMember(1)
        try await withMembers(a) { a.transport.send([(MemberID(99), heartbeat(1)), (a.id, heartbeat(1))]) }
    }
}

@Suite struct RefusalTests {
    private func refused(
        cluster: UInt64 = 7, dialled: UInt64 = 2, reason: String, _ location: SourceLocation = #_sourceLocation
    ) async throws {
        let a = try await TestMember(1, cluster: cluster)
        let b = try await TestMember(2)
        try await withMembers(a, b) {
            a.transport.setPeers([MemberID(dialled): [b.address]])
            try await eventually("some attempts", location) { a.recorder.unreachable >= 3 }
            #expect(a.recorder.connected.isEmpty)
            let lines = a.log.all.filter { $0.contains("peer refuses the connection") }
            #expect(lines.count == 1, sourceLocation: location)
            #expect(lines.first?.contains(reason) == true, "\(lines)", sourceLocation: location)
        }
    }

    @Test func aMemberOfAnotherClusterIsRefusedAndLogsItOnce() async throws {
        try await refused(cluster: 8, reason: "cluster id mismatch: member 2 is of cluster 7, the dialler of 8")
    }

    @Test func aMemberThatMeansAnotherIsRefusedAndLogsItOnce() async throws {
        try await refused(dialled: 3, reason: "wrong member: this is 2, not 3")
    }

    @Test func otherVersionsAndUnknownKindsAreRefusedWithTheirReason() async throws {
        let b = try await TestMember(2)
        try await withMembers(b) {
            var future = HandshakeTests.hello
            future.version = 9
            future.lowestVersion = 9
            var strange = HandshakeTests.hello
            strange.kind = 77
            for (hello, reason) in [
                (future, HandshakeRefusal.Reason.noCommonVersion), (strange, .unknownKind),
            ] {
                let peer = try await RawPeer(b.address)
                try await peer.send { hello.encode(into: &$0) }
                try await eventually("the refusal") { peer.welcome != nil }
                #expect(peer.welcome?.refusal?.reason == reason)
                try await peer.close()
            }
        }
    }

    @Test func malformedBytesCloseTheConnectionAndAreLogged() async throws {
        let b = try await TestMember(2)
        try await withMembers(b) {
            var wrongSum = ByteBuffer()
            heartbeat(1).encode(into: &wrongSum)
            wrongSum.setInteger(UInt32(0), at: 5)
            for (bytes, reason) in [
                (ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n"), "not a peer"), (wrongSum, "checksum does not match"),
            ] {
                let peer = try await RawPeer(b.address)
                if reason != "not a peer" { try await peer.send { HandshakeTests.hello.encode(into: &$0) } }
                try await peer.send { $0.writeImmutableBuffer(bytes) }
                try await eventually("the end") { !peer.isOpen }
                #expect(b.log.all.contains { $0.contains(reason) })
            }
            #expect(b.recorder.messages.isEmpty)
        }
    }

    @Test func noRandomBytesBringAMemberDown() async throws {
        let (a, b) = (try await TestMember(1), try await TestMember(2))
        try await withMembers(a, b) {
            a.transport.setPeers([b.id: [b.address]])
            var chance = Chance(seed: 5)
            for round in 0..<150 {
                let peer = try await RawPeer(b.address)
                var hello = HandshakeTests.hello
                hello.from = MemberID(9)
                hello.kind = UInt8(round % 4)
                var bytes = ByteBuffer()
                if round % 5 > 0 { hello.encode(into: &bytes) }
                let helloBytes = bytes.readableBytes
                heartbeat(1).encode(into: &bytes)
                append(2, bytes: 50).encode(into: &bytes)
                for _ in 0..<round % 7 {
                    let position = Int.random(in: helloBytes..<bytes.readableBytes, using: &chance)
                    bytes.setInteger(UInt8.random(in: 0...255, using: &chance), at: position)
                }
                bytes.writeBytes(chance.bytes(upTo: 200))
                try? await peer.send { $0.writeImmutableBuffer(bytes) }
                try? await peer.close()
            }
            a.send(heartbeat(42), to: b)
            try await eventually("a good message among all that") { b.recorder.messages.contains(heartbeat(42)) }
        }
    }

    @Test func aConnectionThatSaysNothingIsClosed() async throws {
        var options = TestMember.patient()
        options.connectTimeout = .milliseconds(100)
        let b = try await TestMember(2, options: options)
        try await withMembers(b) {
            let peer = try await RawPeer(b.address)
            try await eventually("the end") { !peer.isOpen }
        }
    }

    @Test func anAddressInUseIsAnErrorThatNamesIt() async throws {
        let b = try await TestMember(2)
        let a = try await TestMember(1)
        try await withMembers(a, b) {
            let error = await #expect(throws: PeerListenError.self) { try await a.transport.start(listen: [b.address]) }
            #expect(error?.description.contains("cannot listen for peers on \(b.address)") == true)
        }
    }
}

@Suite struct QueryTests {
    static let report = ClusterReport(
        clusterID: 7,
        members: [.init(id: MemberID(2), name: "b", peerURLs: ["http://h:1"], clientURLs: [], hasStarted: true)])

    private func ask(_ addresses: [PeerAddress], timeout: TimeAmount = .seconds(120)) async -> ClusterReport? {
        await PeerTransport.queryCluster(
            addresses, timeout: timeout, group: TestMember.group, logger: LogLines().logger,
            options: TestMember.patient())
    }

    @Test func whoeverKnowsTheClusterAnswersForIt() async throws {
        let (a, b) = (try await TestMember(1), try await TestMember(2))
        b.recorder.notes.withLockedValue { $0.report = Self.report }
        try await withMembers(a, b) {
            let answer = await ask([a.address, .network(host: "127.0.0.1", port: 1), b.address])
            #expect(answer == Self.report)
        }
    }

    @Test func whenNobodyKnowsThereIsNoAnswer() async throws {
        let a = try await TestMember(1)
        let silent = try await RawListener { _ in }
        try await withMembers(a) {
            #expect(await ask([a.address]) == nil)
            #expect(await ask([]) == nil)
            #expect(await ask([silent.address], timeout: .milliseconds(300)) == nil)
        }
        try await silent.close()
    }
}
