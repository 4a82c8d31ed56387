import GRPC
import NIOCore
import NIOPosix
import Testing

/// Calls over real sockets, with the module's own client and server.
@Suite struct CallTests {
    @Test func aUnaryCallIsAnswered() async throws {
        try await withServer { server in
            let client = try await server.client()
            let answer = try await client.unary(path: TestMethod.unary.path, message: Array("hello".utf8))
            #expect(answer == Array("hello".utf8))
            #expect(try await client.unary(path: TestMethod.unary.path, message: []) == [])
            await client.close()
        }
    }

    @Test func aFailedCallCarriesItsCodeAndText() async throws {
        try await withServer { server in
            let client = try await server.client()
            for code in GRPCStatus.Code.allCases where code != .ok {
                await expectError(code, "it failed: 100% of λ") {
                    _ = try await client.unary(path: TestMethod.fail.path, message: [UInt8(code.rawValue)])
                }
            }
            await client.close()
        }
    }

    @Test func metadataReachesTheService() async throws {
        try await withServer { server in
            let client = try await server.client()
            let answer = try await client.unary(
                path: TestMethod.metadata.path, message: [], metadata: [("x-other", "1"), ("x-key", "value")])
            #expect(answer == Array("value".utf8))
            await client.close()
        }
    }

    @Test func theTransportTellsTheServiceWhoCalls() async throws {
        final class Identifier: ChannelInboundHandler, Sendable {
            typealias InboundIn = ByteBuffer
            func channelActive(context: ChannelHandlerContext) {
                context.fireUserInboundEventTriggered(PeerIdentified(PeerIdentity(commonName: "alice")))
                context.fireChannelActive()
            }
        }
        var options = RPCServerOptions()
        options.prepareTransport = { try $0.pipeline.syncOperations.addHandler(Identifier()) }
        try await withServer(options) { server in
            let client = try await server.client()
            let answer = try await client.unary(path: TestMethod.caller.path, message: [])
            #expect(answer == Array("alice".utf8))
            await client.close()
        }
    }

    @Test func messagesOfAStreamGoBothWaysInOrder() async throws {
        try await withServer { server in
            let client = try await server.client()
            let stream = client.stream(path: TestMethod.stream.path)
            var messages = stream.messages.makeAsyncIterator()
            stream.send([1])
            let first = try await messages.next()
            #expect(first == ByteBuffer(bytes: [1]))
            for value in 2..<200 { stream.send([UInt8(value)]) }
            stream.finish()
            for value in 2..<200 {
                let echoed = try await messages.next()
                #expect(echoed == ByteBuffer(bytes: [UInt8(value)]))
            }
            let end = try await messages.next()
            #expect(end == nil)
            await client.close()
        }
    }

    @Test func manyCallsShareOneConnection() async throws {
        try await withServer { server in
            let client = try await server.client()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<1000 {
                    group.addTask {
                        let message = Array("call \(number)".utf8)
                        let answer = try await client.unary(path: TestMethod.unary.path, message: message)
                        #expect(answer == message)
                    }
                }
                try await group.waitForAll()
            }
            await client.close()
        }
    }

    @Test func answersMayComeByWayOfOtherThreads() async throws {
        try await withServer { server in
            let client = try await server.client()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<500 {
                    group.addTask {
                        let message = Array("call \(number)".utf8)
                        let answer = try await client.unary(path: TestMethod.detour.path, message: message)
                        #expect(answer == message)
                    }
                }
                try await group.waitForAll()
            }
            await client.close()
        }
    }

    @Test func aHandleKeptBeyondItsCallReachesNoOtherCall() async throws {
        try await withServer { server in
            let client = try await server.client()
            for round in 1...5 {
                let hanging = client.stream(path: TestMethod.hang.path)
                hanging.send([])
                hanging.finish()
                try await eventually("the call arrives") { server.journal.count("hanging") == round }
                hanging.cancel()
                try await eventually("the call is cancelled") { server.journal.count("cancelled") == round }
                for value in 0..<20 {
                    let answer = try await client.unary(path: TestMethod.unary.path, message: [UInt8(value)])
                    #expect(answer == [UInt8(value)])
                }
            }
            await client.close()
        }
    }

    @Test func messagesLargerThanEveryWindowPassBothWays() async throws {
        var options = RPCServerOptions()
        options.maxReceiveBytes = 20 << 20
        try await withServer(options) { server in
            let client = try await server.client()
            let message = ByteBuffer(repeating: 42, count: 18 << 20)
            #expect(try await client.unary(path: TestMethod.unary.path, message: message) == message)
            await client.close()
        }
    }

    @Test func aSlowReaderIsNotBufferedFor() async throws {
        try await withServer { server in
            let client = try await server.client()
            let stream = client.stream(path: TestMethod.pour.path)
            stream.send([100])
            stream.finish()
            // Nothing is read until the server has filled what it may.
            var bytes = 0
            for try await message in stream.messages {
                if bytes == 0 { try await Task.sleep(for: .milliseconds(50)) }
                bytes += message.readableBytes
            }
            #expect(bytes == 100 << 20)
            #expect(server.journal.count("buffered too much") == 0)
            await client.close()
        }
    }

    @Test func anUnknownMethodIsRefusedInGoGRPCsWords() async throws {
        try await withServer { server in
            let client = try await server.client()
            await expectError(.unimplemented, "unknown method Nope for service test.Echo") {
                _ = try await client.unary(path: "/test.Echo/Nope", message: [])
            }
            await expectError(.unimplemented, "unknown service test.Nope") {
                _ = try await client.unary(path: "/test.Nope/Unary", message: [])
            }
            await expectError(.unimplemented, "malformed method name: \"/nonsense\"") {
                _ = try await client.unary(path: "/nonsense", message: [])
            }
            await client.close()
        }
    }

    @Test func aMessageOverTheLimitIsRefused() async throws {
        var options = RPCServerOptions()
        options.maxReceiveBytes = 1000
        try await withServer(options) { server in
            let client = try await server.client()
            let path = TestMethod.unary.path
            await expectError(.resourceExhausted, "grpc: received message larger than max (1001 vs. 1000)") {
                _ = try await client.unary(path: path, message: [UInt8](repeating: 0, count: 1001))
            }
            // The client is stopped from sending the rest of a large one, and the connection stands.
            await expectError(.resourceExhausted) {
                _ = try await client.unary(path: path, message: [UInt8](repeating: 0, count: 50 << 20))
            }
            #expect(try await client.unary(path: path, message: [UInt8](repeating: 0, count: 1000)).count == 1000)
            await client.close()
        }
    }

    @Test func aClientsLimitOnAnswersHolds() async throws {
        try await withServer { server in
            var options = RPCClientOptions()
            options.maxReceiveBytes = 10
            let client = try await server.client(options)
            await expectError(.resourceExhausted, "grpc: received message larger than max (11 vs. 10)") {
                _ = try await client.unary(path: TestMethod.unary.path, message: [UInt8](repeating: 0, count: 11))
            }
            await client.close()
        }
    }

    @Test func aCallPastItsDeadlineEndsOnBothSides() async throws {
        try await withServer { server in
            let client = try await server.client()
            // Longer each time, until it is long enough for the call to arrive.
            var timeout = TimeAmount.milliseconds(50)
            while server.journal.count("hanging") == 0 {
                await expectError(.deadlineExceeded) {
                    _ = try await client.unary(path: TestMethod.hang.path, message: [], timeout: timeout)
                }
                timeout = timeout * 2
            }
            try await eventually("the service hears of it") { server.journal.count("cancelled") == 1 }
            #expect(server.journal.lines == ["hanging", "cancelled"])
            await client.close()
        }
    }

    @Test func aCancelledTaskCancelsItsCall() async throws {
        try await withServer { server in
            let client = try await server.client()
            let task = Task { try await client.unary(path: TestMethod.hang.path, message: [UInt8]()) }
            try await eventually("the call arrives") { server.journal.count("hanging") == 1 }
            task.cancel()
            await expectError(.cancelled) { _ = try await task.value }
            try await eventually("the service hears of it") { server.journal.count("cancelled") == 1 }
            await client.close()
        }
    }

    @Test func aLostConnectionEndsItsCallsOnBothSides() async throws {
        try await withServer { server in
            let client = try await server.client()
            let calls = (0..<10).map { _ in
                Task { try await client.unary(path: TestMethod.hang.path, message: [UInt8]()) }
            }
            try await eventually("the calls arrive") { server.journal.count("hanging") == 10 }
            await client.close()
            for call in calls { await expectError(.unavailable) { _ = try await call.value } }
            try await eventually("the service hears of each") { server.journal.count("cancelled") == 10 }
            await expectError(.unavailable) {
                _ = try await client.unary(path: TestMethod.unary.path, message: [])
            }
            #expect(await !client.isConnected)
        }
    }

    @Test func aServerThatStopsAnsweringIsGivenUp() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        // Speaks HTTP/2's first words and nothing more.
        final class Mute: ChannelInboundHandler, Sendable {
            typealias InboundIn = ByteBuffer
            func channelActive(context: ChannelHandlerContext) {
                context.writeAndFlush(NIOAny(ByteBuffer(bytes: Frame(type: Frame.settings).bytes)), promise: nil)
            }
            func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
        }
        let listener = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Mute()) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        var options = RPCClientOptions()
        options.keepaliveInterval = .milliseconds(20)
        options.keepaliveTimeout = .milliseconds(50)
        let client = try await RPCClient.connect(
            group: group, host: "127.0.0.1", port: listener.localAddress?.port ?? 0, options: options)
        await expectError(.unavailable) { _ = try await client.unary(path: "/a/b", message: []) }
        try await listener.close()
        try await group.shutdownGracefully()
    }

    @Test func anEndpointWhereNobodyListensIsUnavailable() async throws {
        try await withServer { server in
            await server.server.shutdown()
            await expectError(.unavailable, "connecting to 127.0.0.1:\(server.port): Connection refused") {
                _ = try await server.client()
            }
        }
    }

    @Test func aShutdownLetsCallsEndAndRefusesNewOnes() async throws {
        try await withServer { server in
            let client = try await server.client()
            let stream = client.stream(path: TestMethod.stream.path)
            var messages = stream.messages.makeAsyncIterator()
            stream.send([1])
            let first = try await messages.next()
            #expect(first == ByteBuffer(bytes: [1]))
            async let shutdown: Void = server.server.shutdown(deadline: .seconds(120))
            while await client.isConnected { try await Task.sleep(for: .milliseconds(2)) }
            await expectError(.unavailable) {
                _ = try await client.unary(path: TestMethod.unary.path, message: [])
            }
            stream.send([2])
            stream.finish()
            let second = try await messages.next()
            #expect(second == ByteBuffer(bytes: [2]))
            let end = try await messages.next()
            #expect(end == nil)
            await shutdown
            try await client.closed.get()
        }
    }

    @Test func aShutdownEndsWhatOutlastsItsDeadline() async throws {
        try await withServer { server in
            let client = try await server.client()
            let call = Task { try await client.unary(path: TestMethod.hang.path, message: [UInt8]()) }
            try await eventually("the call arrives") { server.journal.count("hanging") == 1 }
            await server.server.shutdown(deadline: .milliseconds(50))
            await expectError(.unavailable) { _ = try await call.value }
        }
    }
}
