import NIOCore
import Testing

@testable import GRPC

/// The protocol's values, without a socket.
@Suite struct StateTests {
    private func framed(_ text: String, flags: UInt8 = 0) -> [UInt8] { Frame.message(text, flags: flags) }

    @Test func aReaderFindsTheMessagesWhereverTheChunksAreCut() {
        let bytes = framed("first") + framed("") + framed("the third")
        for chunkBytes in 1...bytes.count {
            var reader = MessageReader(maxMessageBytes: 100)
            var found: [String] = []
            for start in stride(from: 0, to: bytes.count, by: chunkBytes) {
                var chunk = ByteBuffer(bytes: bytes[start..<min(start + chunkBytes, bytes.count)])
                while case .message(let message) = reader.next(from: &chunk) { found.append(String(buffer: message)) }
                #expect(chunk.readableBytes == 0)
            }
            #expect(found == ["first", "", "the third"], "chunks of \(chunkBytes) bytes")
            #expect(!reader.isWithinMessage)
        }
    }

    @Test func aReaderJudgesThePrefixAlone() {
        func verdict(_ bytes: [UInt8]) -> MessageReader.Element {
            var reader = MessageReader(maxMessageBytes: 10)
            var chunk = ByteBuffer(bytes: bytes)
            return reader.next(from: &chunk)
        }
        let tooLarge = GRPCStatus(.resourceExhausted, "grpc: received message larger than max (4294967295 vs. 10)")
        #expect(verdict([0, 255, 255, 255, 255]) == .failure(tooLarge))
        #expect(verdict([0, 0, 0, 0, 10]) == .needsMore)
        let compressed = GRPCStatus(.internal, "grpc: compressed flag set with identity or empty encoding")
        #expect(verdict([1, 0, 0, 0, 1]) == .failure(compressed))
        #expect(
            verdict([9, 0, 0, 0, 1]) == .failure(GRPCStatus(.internal, "grpc: received unexpected payload format 9")))
    }

    @Test func aUnaryRequestIsWholeWhenTheClientHasHalfClosed() {
        var body = RequestBody(clientStreaming: false, maxMessageBytes: 100)
        var chunk = ByteBuffer(bytes: framed("one"))
        #expect(body.next(from: &chunk) == .needsMore)
        #expect(body.end() == .message(ByteBuffer(string: "one")))
    }

    @Test func aStreamedRequestIsHandedOnAsItComes() {
        var body = RequestBody(clientStreaming: true, maxMessageBytes: 100)
        var chunk = ByteBuffer(bytes: framed("one") + framed("two"))
        #expect(body.next(from: &chunk) == .message(ByteBuffer(string: "one")))
        #expect(body.next(from: &chunk) == .message(ByteBuffer(string: "two")))
        #expect(body.next(from: &chunk) == .needsMore)
        #expect(body.end() == .end)
    }

    @Test func outputIsPulledInPiecesAndEndsOnce() {
        var body = OutgoingBody()
        var destination = [UInt8](repeating: 0, count: 6)
        func pull() -> OutgoingBody.Pulled { destination.withUnsafeMutableBytes { body.pull(into: $0) } }
        #expect(pull() == .nothing)
        body.append { $0.writeString("hello") }
        #expect(pull() == .bytes(6))
        #expect(destination == Array(framed("hello").prefix(6)))
        body.finish(.trailers(.ok))
        #expect(pull() == .lastBytes(4, .trailers(.ok)))
        #expect(Array(destination.prefix(4)) == Array("ello".utf8))
    }

    private func verdict(_ fields: [(String, String)], maxListBytes: Int = 10_000) -> RequestHead.Verdict {
        let methods = MethodTable([RPCMethod(path: "/a.B/C"), RPCMethod(path: "/a.B/D")])
        let head = RequestHead(methods: methods, maxListBytes: maxListBytes)
        for (name, value) in fields {
            Array(name.utf8).withUnsafeBytes { name in
                Array(value.utf8).withUnsafeBytes { head.add(name: name, value: $0) }
            }
        }
        return head.verdict()
    }

    @Test func aRequestsHeadIsJudgedAsGoGRPCDoes() {
        let grpc = [(":method", "POST"), (":path", "/a.B/D"), ("content-type", "application/grpc+proto")]
        #expect(verdict(grpc) == .call(method: 1, timeout: nil))
        #expect(verdict(grpc + [("grpc-timeout", "5S")]) == .call(method: 1, timeout: .seconds(5)))
        #expect(
            verdict(grpc + [("grpc-timeout", "soon")])
                == .refused(httpStatus: 200, GRPCStatus(.internal, "malformed grpc-timeout")))
        #expect(
            verdict(grpc + [("grpc-encoding", "gzip")])
                == .refused(
                    httpStatus: 200,
                    GRPCStatus(.unimplemented, "grpc: Decompressor is not installed for grpc-encoding \"gzip\"")))
        #expect(
            verdict([(":method", "POST"), (":path", "/a.B/D"), ("content-type", "application/grpcish")])
                == .refused(
                    httpStatus: 415,
                    GRPCStatus(.invalidArgument, "invalid gRPC request content-type \"application/grpcish\"")))
        if case .refused(405, _) = verdict([(":method", "GET")] + grpc.dropFirst()) {} else { Issue.record("not 405") }
        #expect(
            verdict(grpc, maxListBytes: 50)
                == .refused(httpStatus: 200, GRPCStatus(.resourceExhausted, "header list size exceeds 50 bytes")))
    }

    @Test func metadataIsFoundByName() {
        var metadata = Metadata()
        for (name, value) in [("a", "1"), ("bb", ""), ("a", "2"), ("long-name", String(repeating: "x", count: 300))] {
            Array(name.utf8).withUnsafeBytes { name in
                Array(value.utf8).withUnsafeBytes { metadata.append(name: name, value: $0) }
            }
        }
        #expect(metadata.first("a") == "1")
        #expect(metadata.first("bb") == "")
        #expect(metadata.first("long-name")?.count == 300)
        #expect(metadata.first("c") == nil)
    }

    @Test func timeoutsAreReadAndWritten() {
        func decode(_ text: String) -> TimeAmount? { Array(text.utf8).withUnsafeBytes { RPCTimeout.decode($0) } }
        #expect(decode("1H") == .hours(1))
        #expect(decode("99999999n") == .nanoseconds(99_999_999))
        #expect(decode("99999999H") == .hours(24 * 36_525))
        for malformed in ["", "S", "123456789S", "-1S", "1", "1x", "1 S"] { #expect(decode(malformed) == nil) }
        for amount: TimeAmount in [.nanoseconds(1), .milliseconds(250), .seconds(5), .hours(3)] {
            #expect(decode(RPCTimeout.encode(amount)) == amount)
        }
        #expect(RPCTimeout.encode(.nanoseconds(0)) == "1n")
        #expect(RPCTimeout.encode(.nanoseconds(.max)).count <= 9)
    }

    @Test func statusTextsSurviveThePercentEncoding() {
        for text in ["", "plain", "100% λ\n", "%41", "%"] {
            #expect(PercentEncoding.decode(PercentEncoding.encode(text)) == text)
        }
        #expect(PercentEncoding.encode("a%\n") == Array("a%25%0A".utf8))
        #expect(PercentEncoding.decode(Array("%zz%4".utf8)) == "%zz%4")
    }

    @Test func theFirstBytesTellTheProtocol() {
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        #expect(ProtocolDetector.judge(ByteBuffer(string: preface)) == .http2)
        #expect(ProtocolDetector.judge(ByteBuffer(string: preface + "more")) == .http2)
        for count in 0..<preface.utf8.count {
            #expect(ProtocolDetector.judge(ByteBuffer(string: String(preface.prefix(count)))) != .http1)
        }
        #expect(ProtocolDetector.judge(ByteBuffer(string: "P")) == .undecided)
        #expect(ProtocolDetector.judge(ByteBuffer(string: "POST /")) == .http1)
        #expect(ProtocolDetector.judge(ByteBuffer(bytes: [0x16, 3, 1])) == .http1)
    }

    @Test func tooManyEventsWithinASecondAreNoticed() {
        var rate = EventRate(perSecond: 2)
        let start = NIODeadline.uptimeNanoseconds(10_000_000_000)
        let verdicts = [0, 900, 950, 1001].map { rate.exceeds(at: start + .milliseconds($0)) }
        #expect(verdicts == [false, false, true, false])
    }

    @Test func anAnswerWithoutTrailersIsAnError() {
        var reader = ResponseReader(maxMessageBytes: 10)
        func add(_ name: String, _ value: String) {
            Array(name.utf8).withUnsafeBytes { name in
                Array(value.utf8).withUnsafeBytes { reader.add(name: name, value: $0) }
            }
        }
        add(":status", "200")
        add("content-type", "application/grpc")
        #expect(reader.headersEnded(endsStream: false) == nil)
        #expect(reader.outcome(resetCode: HTTP2Session.noError)?.code == .internal)
        #expect(reader.outcome(resetCode: HTTP2Session.refusedStream)?.code == .unavailable)
        #expect(reader.outcome(resetCode: HTTP2Session.cancel)?.code == .cancelled)
        add("grpc-status", "5")
        add("grpc-message", "not%20here")
        #expect(reader.headersEnded(endsStream: true) == nil)
        #expect(reader.outcome(resetCode: HTTP2Session.noError) == RPCError(.notFound, "not here"))
    }

    @Test func aServerThatSpeaksNoGRPCIsMappedByItsHTTPStatus() {
        var reader = ResponseReader(maxMessageBytes: 10)
        Array(":status".utf8).withUnsafeBytes { name in
            Array("503".utf8).withUnsafeBytes { reader.add(name: name, value: $0) }
        }
        #expect(reader.headersEnded(endsStream: false)?.code == .unavailable)
    }
}
