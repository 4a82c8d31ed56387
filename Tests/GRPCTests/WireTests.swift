import GRPC
import NIOCore
import Testing

/// What the server makes of bytes, sent by hand.
@Suite struct WireTests {
    /// The answers' header blocks are compressed with Huffman codes, so their texts cannot be seen here; the
    /// frames' order, flags and bodies can.
    private func answer(_ connection: RawConnection, streamID: Int32) async throws -> [Frame] {
        func ends(_ frame: Frame) -> Bool {
            frame.streamID == streamID && frame.type <= Frame.headers && frame.flags & Frame.endStream != 0
        }
        try await eventually("stream \(streamID) ends") { connection.frames.contains(where: ends) }
        return connection.frames.filter { $0.streamID == streamID && $0.type <= Frame.headers }
    }

    @Test func aRequestInSegmentsOfOneByteIsServed() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            let request =
                Frame.preface + Frame.request(TestMethod.unary.path, streamID: 1).bytes
                + Frame.body(Frame.message("hello"), streamID: 1).bytes
            for byte in request { try await connection.send([byte]) }
            let answer = try await answer(connection, streamID: 1)
            #expect(answer.map(\.type) == [Frame.headers, Frame.data, Frame.headers])
            #expect(answer[1].payload == Frame.message("hello"))
            await connection.close()
        }
    }

    @Test func messagesMaySpanFramesAndFramesHoldMessages() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            let body = Frame.message("one") + Frame.message("") + Frame.message("three")
            var bytes = Frame.preface + Frame.request(TestMethod.stream.path, streamID: 1).bytes
            bytes += Frame.body(body, streamID: 1, ends: false).bytes
            for byte in body { bytes += Frame.body([byte], streamID: 1, ends: false).bytes }
            bytes += Frame.body([], streamID: 1).bytes
            try await connection.send(bytes)
            let answer = try await answer(connection, streamID: 1)
            let echoed = answer.filter { $0.type == Frame.data }.flatMap(\.payload)
            #expect(echoed == body + body)
            await connection.close()
        }
    }

    @Test func aUnaryCallMustHaveExactlyOneMessage() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            let two = Frame.message("a") + Frame.message("b")
            try await connection.send(
                Frame.preface
                    + Frame.request(TestMethod.unary.path, streamID: 1).bytes + Frame.body([], streamID: 1).bytes
                    + Frame.request(TestMethod.unary.path, streamID: 3).bytes + Frame.body(two, streamID: 3).bytes
                    + Frame.request(TestMethod.unary.path, streamID: 5).bytes
                    + Frame.body(Array(two.prefix(8)), streamID: 5).bytes
                    + Frame.request(
                        TestMethod.unary.path, streamID: 7, flags: Frame.endHeaders | Frame.endStream
                    ).bytes)
            for id: Int32 in [1, 3, 5, 7] {
                let answer = try await answer(connection, streamID: id)
                #expect(answer.map(\.type) == [Frame.headers], "an error alone")
            }
            #expect(server.journal.lines.isEmpty)
            await connection.close()
        }
    }

    @Test func aGibibyteDeclaredIsRefusedBeforeItIsSent() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try await connection.send(
                Frame.preface + Frame.request(TestMethod.unary.path, streamID: 1).bytes
                    + Frame.body(Frame.message("", declared: 1 << 30), streamID: 1, ends: false).bytes)
            #expect(try await answer(connection, streamID: 1).map(\.type) == [Frame.headers])
            try await eventually("the client is told to stop") {
                connection.frames.contains {
                    $0.type == Frame.reset && $0.streamID == 1 && $0.payload == [0, 0, 0, 0]
                }
            }
            await connection.close()
        }
    }

    @Test func compressedMessagesAreRefused() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try await connection.send(
                Frame.preface
                    + Frame.request(TestMethod.unary.path, streamID: 1, more: [("grpc-encoding", "gzip")]).bytes
                    + Frame.body(Frame.message("x", flags: 1), streamID: 1).bytes
                    + Frame.request(TestMethod.unary.path, streamID: 3).bytes
                    + Frame.body(Frame.message("x", flags: 1), streamID: 3).bytes)
            #expect(try await answer(connection, streamID: 1).map(\.type) == [Frame.headers])
            #expect(try await answer(connection, streamID: 3).map(\.type) == [Frame.headers])
            await connection.close()
        }
    }

    @Test func theServerItselfEndsCallsPastTheirDeadline() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            var bytes = Frame.preface
            let ids = Array(stride(from: Int32(1), to: 101, by: 2))
            for id in ids {
                let timeout = ("grpc-timeout", "\(20 + id % 40)m")
                bytes += Frame.request(TestMethod.hang.path, streamID: id, more: [timeout]).bytes
                bytes += Frame.body(Frame.message(""), streamID: id).bytes
            }
            try await connection.send(bytes)
            for id in ids { #expect(try await answer(connection, streamID: id).map(\.type) == [Frame.headers]) }
            try await eventually("the service hears of each") { server.journal.count("cancelled") == ids.count }
            await connection.close()
        }
    }

    @Test func garbageEndsOnlyItsConnection() async throws {
        try await withServer { server in
            let client = try await server.client()
            let garbage: [[UInt8]] = [
                (0..<1000).map { _ in UInt8.random(in: 0...255) },
                Frame.preface + (0..<1000).map { _ in UInt8.random(in: 0...255) },
                Array("PRI * HTTP/2.0\r\n\r\nXX".utf8) + [0, 0, 0, 0],
                Frame.preface + Frame(type: Frame.headers, flags: 4, streamID: 1, payload: [255, 255, 255, 255]).bytes,
                Frame.preface + Frame(type: Frame.data, streamID: 5, payload: [1]).bytes,
            ]
            for bytes in garbage {
                let connection = try await RawConnection(port: server.port, group: server.group)
                try await connection.send(bytes)
                try await eventually("the connection is ended") { connection.isClosed }
            }
            #expect(try await client.unary(path: TestMethod.unary.path, message: [1]) == [1])
            await client.close()
        }
    }

    @Test func rapidResetsEndTheConnection() async throws {
        var options = RPCServerOptions()
        options.maxResetsPerSecond = 100
        try await withServer(options) { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            var bytes = Frame.preface
            for id in stride(from: Int32(1), to: 1000, by: 2) {
                bytes += Frame.request(TestMethod.hang.path, streamID: id).bytes
                bytes += Frame(type: Frame.reset, streamID: id, payload: [0, 0, 0, 8]).bytes
            }
            try await connection.send(bytes)
            try await eventually("the connection is ended") { connection.isClosed }
            let goAway = connection.frames.first { $0.type == Frame.goAway }
            #expect(goAway?.payload[4..<8] == [0, 0, 0, 11], "ENHANCE_YOUR_CALM")
        }
    }

    @Test func aPingFloodDoesNotDisturbOthers() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try await connection.send(Frame.preface)
            let pings = (0..<5000).flatMap { _ in
                Frame(type: Frame.ping, payload: [UInt8](repeating: 1, count: 8)).bytes
            }
            try await connection.send(pings)
            let client = try await server.client()
            #expect(try await client.unary(path: TestMethod.unary.path, message: [1]) == [1])
            await client.close()
            await connection.close()
        }
    }

    @Test func aHeaderListOverTheLimitIsRefused() async throws {
        var options = RPCServerOptions()
        options.maxHeaderListBytes = 2000
        try await withServer(options) { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            let long = String(repeating: "v", count: 2000)
            try await connection.send(
                Frame.preface + Frame.request(TestMethod.metadata.path, streamID: 1, more: [("x-key", long)]).bytes
                    + Frame.body(Frame.message(""), streamID: 1).bytes)
            #expect(try await answer(connection, streamID: 1).map(\.type) == [Frame.headers])
            await connection.close()
        }
    }

    @Test func unfinishedMessagesOfAConnectionAreBounded() async throws {
        var options = RPCServerOptions()
        options.maxPartialBytes = 10_000
        try await withServer(options) { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            let part = Frame.message(String(repeating: "x", count: 3000), declared: 5000)
            var bytes = Frame.preface
            for id: Int32 in [1, 3, 5, 7] {
                bytes += Frame.request(TestMethod.unary.path, streamID: id).bytes
                bytes += Frame.body(part, streamID: id, ends: false).bytes
            }
            try await connection.send(bytes)
            #expect(try await answer(connection, streamID: 7).map(\.type) == [Frame.headers])
            // The others go on: what the refused one held is free again.
            let rest = [UInt8](repeating: 120, count: 2000)
            try await connection.send(Frame.body(rest, streamID: 1).bytes)
            #expect(try await answer(connection, streamID: 1).count == 3)
            await connection.close()
        }
    }

    @Test func aClientThatLetsNoAnswersOutIsRefusedMore() async throws {
        var options = RPCServerOptions()
        options.maxUnsentBytes = 100_000
        try await withServer(options) { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try await connection.send(Frame.preface)
            let message = Frame.message(String(repeating: "x", count: 50_000))
            func call(_ id: Int32) async throws {
                try await connection.send(Frame.request(TestMethod.unary.path, streamID: id).bytes)
                for start in stride(from: 0, to: message.count, by: 16_000) {
                    let part = Array(message[start..<min(start + 16_000, message.count)])
                    let ends = start + 16_000 >= message.count
                    try await connection.send(Frame.body(part, streamID: id, ends: ends).bytes)
                }
            }
            // Their answers wait for a window that never opens.
            let first: [Int32] = [1, 3, 5, 7]
            for id in first { try await call(id) }
            try await eventually("all are answered") {
                let answered = Set(connection.frames.filter { $0.type == Frame.headers }.map(\.streamID))
                return answered == Set(first)
            }
            try await call(9)
            #expect(try await answer(connection, streamID: 9).map(\.type) == [Frame.headers])
            await connection.close()
        }
    }
}
