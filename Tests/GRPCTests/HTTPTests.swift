import GRPC
import NIOCore
import Testing

/// HTTP/1.1 on the port that serves gRPC.
@Suite struct HTTPTests {
    @Test func requestsOfOneConnectionAreAnsweredInOrder() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try await connection.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\nPOST /v3/kv HTTP/1.1\r\nhost: x\r\n")
            try await connection.send("content-length: 5\r\n\r\nhello")
            try await eventually("both answers") { connection.text.hasSuffix("/v3/kv 5") }
            #expect(connection.text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(connection.text.contains("x-method: GET\r\ncontent-length: 9\r\n\r\n/health 0HTTP/1.1 200 OK"))
            #expect(!connection.isClosed)
            await connection.close()
        }
    }

    @Test func aHeadRequestIsAnsweredWithoutBody() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try await connection.send("HEAD /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            try await eventually("the connection is closed") { connection.isClosed }
            #expect(connection.text.contains("content-length: 9\r\n"))
            #expect(connection.text.hasSuffix("\r\n\r\n"))
        }
    }

    @Test func anAnswerMayBeStreamed() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try await connection.send("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
            try await eventually("the last chunk") { connection.text.hasSuffix("0\r\n\r\n") }
            #expect(connection.text.contains("transfer-encoding: chunked"))
            #expect(connection.text.contains("3\r\none\r\n3\r\ntwo\r\n"))
            await connection.close()
        }
    }

    @Test func aBodyOverTheLimitIsRefused() async throws {
        var options = RPCServerOptions()
        options.maxHTTPBodyBytes = 10
        try await withServer(options) { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try await connection.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\nhello world")
            try await eventually("the connection is closed") { connection.isClosed }
            #expect(connection.text.hasPrefix("HTTP/1.1 413 "))
        }
    }

    @Test func aClientThatGoesBeforeItsAnswerIsNoticed() async throws {
        try await withServer { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try await connection.send("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
            try await eventually("the request arrives") { server.journal.count("waiting") == 1 }
            await connection.close()
            try await eventually("its end is told") { server.journal.count("client gone") == 1 }
        }
    }

    @Test func aConnectionThatSaysNothingIsClosed() async throws {
        var options = RPCServerOptions()
        options.detectionTimeout = .milliseconds(50)
        try await withServer(options) { server in
            let connection = try await RawConnection(port: server.port, group: server.group)
            try? await connection.send("PRI * HT")
            try await eventually("the connection is closed") { connection.isClosed }
        }
    }
}
