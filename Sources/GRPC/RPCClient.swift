import Glibc
import NIOCore
import NIOPosix

/// How a client's connection behaves.
public struct RPCClientOptions: Sendable {
    /// The longest message accepted, in bytes.
    public var maxReceiveBytes = Int(Int32.max)
    /// Receive windows in bytes: of one stream, and of the connection. A stream's window opens as its
    /// messages are taken, so that it bounds what waits for a slow reader.
    public var streamWindowBytes: Int32 = 1 << 20
    public var connectionWindowBytes: Int32 = 16 << 20
    /// The `user-agent` sent.
    public var userAgent = "gulp-grpc"
    /// The `:authority` sent; host and port by default.
    public var authority: String?
    /// The `:scheme` sent; `https` over TLS.
    public var scheme = "http"
    /// How long the server may be silent before it is asked whether it lives (PING); nil to never ask.
    public var keepaliveInterval: TimeAmount?
    /// How long it may take to answer that before the connection counts as lost.
    public var keepaliveTimeout = TimeAmount.seconds(6)
    /// Called on the connection's loop before anything else is in its pipeline: the place of TLS.
    public var prepareTransport: (@Sendable (any Channel) throws -> Void)?

    public init() {}
}

/// One connection to one endpoint. It does not reconnect: once `isConnected` is false, every call fails
/// with UNAVAILABLE, and the caller takes another endpoint or connects anew.
///
/// Metadata are name and value pairs with lower-case names.
public final class RPCClient: Sendable {
    public typealias Metadata = [(String, String)]

    private let channel: any Channel
    private let connection: NIOLoopBound<ClientConnection>
    private let windowBytes: Int

    private init(channel: any Channel, connection: NIOLoopBound<ClientConnection>, windowBytes: Int) {
        self.channel = channel
        self.connection = connection
        self.windowBytes = windowBytes
    }

    /// Connects, and returns when the server has sent its settings: an endpoint that accepts but does
    /// not speak HTTP/2 is an error here already. Throws `RPCError` with UNAVAILABLE.
    public static func connect(
        group: any EventLoopGroup, host: String, port: Int, timeout: TimeAmount = .seconds(5),
        options: RPCClientOptions = RPCClientOptions()
    ) async throws -> RPCClient {
        let target = "\(host.contains(":") ? "[\(host)]" : host):\(port)"
        let eventLoop = group.next()
        let ready = eventLoop.makePromise(of: NIOLoopBound<ClientConnection>.self)
        do {
            let channel = try await ClientBootstrap(group: eventLoop)
                .connectTimeout(timeout)
                .channelOption(.socketOption(.tcp_nodelay), value: 1)
                .channelOption(.socketOption(.so_keepalive), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try options.prepareTransport?(channel)
                        try channel.pipeline.syncOperations.addHandler(
                            ClientConnection(
                                eventLoop: channel.eventLoop, options: options, target: target, ready: ready))
                    }
                }
                .connect(host: host, port: port).get()
            let expiry = eventLoop.scheduleTask(in: timeout) {
                ready.fail(RPCError(.unavailable, "connecting to \(target): no HTTP/2 settings within the timeout"))
            }
            defer { expiry.cancel() }
            do {
                let connection = try await ready.futureResult.get()
                return RPCClient(
                    channel: channel, connection: connection, windowBytes: Int(options.streamWindowBytes))
            } catch {
                channel.close(promise: nil)
                throw error
            }
        } catch {
            ready.fail(error)
            throw (error as? RPCError) ?? RPCError(.unavailable, "connecting to \(target): \(describe(error))")
        }
    }

    private static func describe(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            let reason = error.connectionErrors.first?.error ?? error.dnsAError ?? error.dnsAAAAError
            return reason.map(describe) ?? "\(error)"
        case let error as IOError: return String(cString: strerror(error.errnoCode))
        case ChannelError.connectTimeout: return "timed out"
        default: return "\(error)"
        }
    }

    /// Whether calls may still succeed: the connection stands and the server has not said it will go.
    public var isConnected: Bool {
        get async { (try? await channel.eventLoop.submit { self.connection.value.acceptsCalls }.get()) ?? false }
    }

    /// Succeeds when the connection has ended.
    public var closed: EventLoopFuture<Void> { channel.closeFuture }

    /// Ends the connection; calls under way fail with UNAVAILABLE.
    public func close() async { try? await channel.close() }

    /// Sends one message and awaits the one that answers it.
    ///
    /// - Parameter timeout: after which the call fails with DEADLINE_EXCEEDED; the server is told.
    /// - Throws: `RPCError`; CANCELLED if the task is cancelled.
    public func unary(
        path: String, message: ByteBuffer, metadata: Metadata = [], timeout: TimeAmount? = nil
    ) async throws -> ByteBuffer {
        let stream = stream(path: path, metadata: metadata, timeout: timeout)
        stream.send(message)
        stream.finish()
        var answer: ByteBuffer?
        for try await message in stream.messages {
            guard answer == nil else {
                stream.cancel()
                throw RPCError(.internal, "the method answers one message and sent a second")
            }
            answer = message
        }
        guard let answer else { throw RPCError(.internal, "the method answers one message and sent none") }
        return answer
    }

    /// The same with the messages as bytes.
    public func unary(
        path: String, message: [UInt8], metadata: Metadata = [], timeout: TimeAmount? = nil
    ) async throws -> [UInt8] {
        let answer = try await unary(
            path: path, message: ByteBuffer(bytes: message), metadata: metadata, timeout: timeout)
        return Array(answer.readableBytesView)
    }

    /// Opens a stream of messages both ways.
    public func stream(path: String, metadata: Metadata = [], timeout: TimeAmount? = nil) -> RPCClientStream {
        let stream = RPCClientStream(connection: connection, windowBytes: windowBytes)
        channel.eventLoop.execute {
            self.connection.value.open(stream, path: path, metadata: metadata, timeout: timeout)
        }
        return stream
    }
}
