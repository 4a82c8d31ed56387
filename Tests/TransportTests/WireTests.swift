import NIOCore
import Raft
import Testing

@testable import Transport

@Suite struct CRC32CTests {
    /// Vectors of RFC 3720, appendix B.4, and the usual check value.
    @Test(
        arguments: [
            (Array("123456789".utf8), 0xe306_9283), ([UInt8](repeating: 0, count: 32), 0x8a91_36aa),
            ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43), (Array(0..<32), 0x46dd_794e), ([], 0),
        ] as [([UInt8], UInt32)])
    func itHasTheStandardsValues(bytes: [UInt8], expected: UInt32) {
        #expect(bytes.withUnsafeBytes { CRC32C.extend(0, over: $0) } == expected)
        let (head, tail) = (Array(bytes.prefix(5)), Array(bytes.dropFirst(5)))
        let first = head.withUnsafeBytes { CRC32C.extend(0, over: $0) }
        #expect(tail.withUnsafeBytes { CRC32C.extend(first, over: $0) } == expected)
    }
}

@Suite struct MessageCodecTests {
    static func randomMessage(_ chance: inout Chance) -> Message {
        func id() -> MemberID { MemberID(chance.next()) }
        func ids() -> [MemberID] { (0..<Int.random(in: 0...4, using: &chance)).map { _ in MemberID(chance.next()) } }
        var message = Message(
            kind: Message.Kind.allCases.randomElement(using: &chance) ?? .append, to: id(), from: id())
        message.term = Term(chance.next())
        message.logTerm = Term(chance.next())
        message.index = LogIndex(chance.next())
        message.commit = LogIndex(chance.next())
        message.vote = id()
        message.rejectHint = LogIndex(chance.next())
        message.reject = Bool.random(using: &chance)
        message.context = chance.bytes(upTo: 20)
        if Bool.random(using: &chance) {
            message.snapshot = SnapshotMetadata(
                index: LogIndex(chance.next()), term: Term(chance.next()),
                configuration: ConfState(
                    voters: ids(), learners: ids(), votersOutgoing: ids(), learnersNext: ids(),
                    autoLeave: Bool.random(using: &chance)))
        }
        for _ in 0..<Int.random(in: 0...5, using: &chance) {
            let kinds: [Entry.Kind] = [.normal, .confChange, .confChangeV2]
            message.entries.append(
                Entry(
                    term: Term(chance.next()), index: LogIndex(chance.next()),
                    kind: kinds.randomElement(using: &chance) ?? .normal, payload: chance.bytes(upTo: 200)))
        }
        return message
    }

    @Test func everyFieldComesThrough() throws {
        var chance = Chance(seed: 1)
        for _ in 0..<500 {
            let message = Self.randomMessage(&chance)
            var buffer = ByteBuffer()
            MessageCodec.encode(message, into: &buffer)
            #expect(try MessageCodec.decode(buffer) == message)
        }
    }

    @Test func theEstimateIsCloseToWhatItTakes() {
        var chance = Chance(seed: 2)
        for _ in 0..<100 {
            var message = Self.randomMessage(&chance)
            message.snapshot = nil
            var buffer = ByteBuffer()
            MessageCodec.encode(message, into: &buffer)
            #expect(abs(MessageCodec.estimatedBytes(message) - buffer.readableBytes) < 32)
        }
    }

    @Test func damageIsRefusedOrReadsAsAnotherMessageButNeverTraps() throws {
        var chance = Chance(seed: 3)
        var refused = 0
        for _ in 0..<3000 {
            var buffer = ByteBuffer()
            MessageCodec.encode(Self.randomMessage(&chance), into: &buffer)
            var bytes = Array(buffer.readableBytesView)
            for _ in 0..<Int.random(in: 1...3, using: &chance) where !bytes.isEmpty {
                let position = Int.random(in: 0..<bytes.count, using: &chance)
                switch Int.random(in: 0..<4, using: &chance) {
                case 0: bytes[position] ^= 1 << UInt8.random(in: 0...7, using: &chance)
                case 1: bytes[position] = UInt8.random(in: 0...255, using: &chance)
                case 2: bytes.removeLast(bytes.count - position)
                default: bytes.insert(contentsOf: chance.bytes(upTo: 9), at: position)
                }
            }
            do {
                let message = try MessageCodec.decode(ByteBuffer(bytes: bytes))
                // What was accepted must be what would be written for it.
                var again = ByteBuffer()
                MessageCodec.encode(message, into: &again)
                #expect(Array(again.readableBytesView) == bytes)
            } catch { refused += 1 }
        }
        #expect(refused > 500)
    }

    @Test func aCountThatTheBytesDoNotBearOutIsRefusedBeforeRoomIsMade() {
        var buffer = ByteBuffer()
        MessageCodec.encode(Message(kind: .append, to: MemberID(1)), into: &buffer)
        buffer.setInteger(UInt32.max, at: buffer.writerIndex - 4)
        let error = #expect(throws: WireError.self) { try MessageCodec.decode(buffer) }
        #expect(error?.description.contains("entries claims 4294967295") == true)
    }

    @Test func reportsComeThroughAndTheirDamageNeverTraps() throws {
        let report = ClusterReport(
            clusterID: 7,
            members: [
                .init(id: MemberID(1), name: "a", peerURLs: ["http://h:1"], clientURLs: ["x", "y"], hasStarted: true),
                .init(id: MemberID(2), name: "", peerURLs: [], clientURLs: [], isLearner: true, hasStarted: false),
            ])
        var buffer = ByteBuffer()
        report.encode(into: &buffer)
        #expect(try ClusterReport(decoding: buffer) == report)
        for length in 0..<buffer.readableBytes {
            let cut = try #require(buffer.getSlice(at: 0, length: length))
            #expect(throws: WireError.self) { try ClusterReport(decoding: cut) }
        }
        var chance = Chance(seed: 4)
        for _ in 0..<1000 {
            var bytes = Array(buffer.readableBytesView)
            bytes[Int.random(in: 0..<bytes.count, using: &chance)] = UInt8.random(in: 0...255, using: &chance)
            _ = try? ClusterReport(decoding: ByteBuffer(bytes: bytes))
        }
    }
}

@Suite struct FrameTests {
    static func stream() -> (bytes: [UInt8], frames: [PeerMessage]) {
        let messages: [PeerMessage] = [
            heartbeat(1), .request(id: 9, body: [1, 2, 3]), append(3, bytes: 300), .response(id: .max, body: []),
        ]
        var buffer = ByteBuffer()
        for message in messages { message.encode(into: &buffer) }
        return (Array(buffer.readableBytesView), messages)
    }

    @Test(arguments: [1, 2, 7, 100, 10_000])
    func framesAreFoundHoweverTheBytesArrive(pieceBytes: Int) throws {
        let (bytes, expected) = Self.stream()
        var reader = FrameReader(maxPayloadBytes: 1 << 20)
        var messages: [PeerMessage] = []
        for start in stride(from: 0, to: bytes.count, by: pieceBytes) {
            reader.append(ByteBuffer(bytes: bytes[start..<min(start + pieceBytes, bytes.count)]))
            while let frame = try reader.next() { messages.append(try PeerMessage(frame)) }
        }
        #expect(messages == expected)
        #expect(reader.pendingBytes == 0)
    }

    @Test func everyFlippedBitIsNoticed() throws {
        let (bytes, expected) = Self.stream()
        for position in bytes.indices {
            for bit in 0..<8 as Range<UInt8> {
                var damaged = bytes
                damaged[position] ^= 1 << bit
                var reader = FrameReader(maxPayloadBytes: 1 << 20)
                reader.append(ByteBuffer(bytes: damaged))
                var messages: [PeerMessage] = []
                do {
                    while let frame = try reader.next() { messages.append(try PeerMessage(frame)) }
                    // A longer length leaves the frame waiting for bytes that do not come.
                    #expect(reader.pendingBytes > 0, "position \(position), bit \(bit)")
                } catch {}
                #expect(messages == Array(expected.prefix(messages.count)))
            }
        }
    }

    @Test func aFrameOverTheLimitIsRefusedByItsHeaderAlone() {
        var reader = FrameReader(maxPayloadBytes: 100)
        var buffer = ByteBuffer()
        buffer.writeMultipleIntegers(UInt32(101), Frame.Kind.raft.rawValue, UInt32(0))
        reader.append(buffer)
        #expect(throws: WireError.self) { try reader.next() }
    }
}

@Suite struct HandshakeTests {
    static let identity = PeerTransport.Identity(clusterID: 7, memberID: MemberID(2))
    static var hello: Hello { Hello(clusterID: 7, from: MemberID(1), to: MemberID(2), kind: .stream) }

    @Test func bothHalvesComeThroughAndWaitForTheirLastByte() throws {
        var refusing = Welcome(clusterID: 7, member: MemberID(2))
        refusing.refusal = HandshakeRefusal(.wrongMember, "no")
        var buffer = ByteBuffer()
        Self.hello.encode(into: &buffer)
        for length in 0..<buffer.readableBytes {
            var part = try #require(buffer.getSlice(at: 0, length: length))
            #expect(try Hello.decode(&part) == nil)
        }
        refusing.encode(into: &buffer)
        #expect(try Hello.decode(&buffer) == Self.hello)
        #expect(try Welcome.decode(&buffer) == refusing)
        #expect(buffer.readableBytes == 0)
    }

    @Test func whoeverSpeaksSomethingElseIsRefusedAtTheFirstByte() {
        for text in ["GET / HTTP/1.1", "P", "gulppeex"] {
            var buffer = ByteBuffer(string: text)
            #expect(throws: WireError.self) { try Hello.decode(&buffer) }
        }
    }

    @Test func aHelloWithFieldsOfALaterVersionIsUnderstood() throws {
        var buffer = ByteBuffer()
        Self.hello.encode(into: &buffer)
        buffer.writeBytes([1, 2, 3])
        buffer.setInteger(UInt16(buffer.writerIndex - 10), at: 8)
        #expect(try Hello.decode(&buffer) == Self.hello)
        #expect(buffer.readableBytes == 0)
    }

    @Test func everyMismatchHasItsReason() {
        func refusal(_ change: (inout Hello) -> Void) -> HandshakeRefusal.Reason? {
            var hello = Self.hello
            change(&hello)
            guard case .failure(let refusal) = hello.accepted(by: Self.identity) else { return nil }
            return refusal.reason
        }
        #expect(refusal { _ in } == nil)
        #expect(refusal { $0.clusterID = 8 } == .clusterMismatch)
        #expect(refusal { $0.clusterID = 0 } == .clusterMismatch)
        #expect(refusal { $0.to = MemberID(3) } == .wrongMember)
        #expect(refusal { $0.from = MemberID(2) } == .wrongMember)
        #expect(refusal { $0.from = .none } == .wrongMember)
        #expect(refusal { $0.kind = 99 } == .unknownKind)
        #expect(refusal { $0.version = 0 } == .noCommonVersion)
        #expect(
            refusal {
                $0.version = 9
                $0.lowestVersion = 9
            } == .noCommonVersion)
        #expect(refusal { $0.version = 9 } == nil)
        #expect(
            refusal {
                $0.kind = ConnectionKind.query.rawValue
                $0.clusterID = 0
                $0.to = .none
            } == nil)
    }

    @Test func theDiallerHoldsTheListenerToItsWord() {
        func objection(_ change: (inout Welcome) -> Void) -> HandshakeRefusal.Reason? {
            var welcome = Welcome(clusterID: 7, member: MemberID(2))
            change(&welcome)
            return welcome.objection(to: Self.hello)?.reason
        }
        #expect(objection { _ in } == nil)
        #expect(objection { $0.clusterID = 8 } == .clusterMismatch)
        #expect(objection { $0.member = MemberID(3) } == .wrongMember)
        #expect(objection { $0.lowestVersion = 9 } == .noCommonVersion)
        #expect(objection { $0.refusal = HandshakeRefusal(.notReady, "") } == .notReady)
    }
}

@Suite struct PeerAddressTests {
    @Test func peerURLsAreTakenApart() throws {
        #expect(try PeerAddress("http://localhost:2380") == .network(host: "localhost", port: 2380))
        #expect(try PeerAddress("http://[::1]:1") == .network(host: "::1", port: 1))
        #expect(try PeerAddress("unix:///run/x") == .socket(path: "/run/x"))
        #expect(try PeerAddress("http://[::1]:1").description == "http://[::1]:1")
        for url in ["https://h:1", "http://h", "http://h:x", "unix://", "", "http://h:65536"] {
            #expect(throws: PeerAddressError.self) { try PeerAddress(url) }
        }
    }
}
