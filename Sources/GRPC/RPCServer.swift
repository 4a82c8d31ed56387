import Glibc
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// What a server allows its clients. The defaults suit a key-value store's client port.
public struct RPCServerOptions: Sendable {
    /// The longest message accepted, in bytes.
    public var maxReceiveBytes = 2 << 20
    /// Streams that a client may have open on one connection.
    public var maxConcurrentStreams: UInt32 = 65_536
    /// Receive windows in bytes: of one stream, and of a connection.
    public var streamWindowBytes: Int32 = 1 << 20
    public var connectionWindowBytes: Int32 = 4 << 20
    /// Size of a request's header list, as HTTP/2 counts it (RFC 9113, 6.5.2).
    public var maxHeaderListBytes = 64 << 10
    /// Unfinished messages of one connection, in bytes; the call that passes it ends.
    public var maxPartialBytes = 64 << 20
    /// Streams of one connection that may end by a reset within a second; past it the connection ends
    /// with ENHANCE_YOUR_CALM ("rapid reset", CVE-2023-44487).
    public var maxResetsPerSecond = 5000
    /// The longest HTTP/1.1 body, in bytes.
    public var maxHTTPBodyBytes = 2 << 20
    /// How long a connection may take until its first bytes tell its protocol.
    public var detectionTimeout = TimeAmount.seconds(10)
    /// How long an HTTP/1.1 connection may idle without a request being answered.
    public var httpIdleTimeout = TimeAmount.minutes(5)
    /// Bytes of answers of one connection that its client's windows have not let out; past it new calls
    /// of the connection are refused.
    public var maxUnsentBytes = 256 << 20
    /// How long a connection may be silent before TCP asks whether its peer lives, and between asking
    /// again, in seconds.
    public var tcpKeepaliveSeconds = 15
    /// Bytes a connection's socket may owe before its output waits.
    public var writeBufferBytes = 1 << 20
    /// Called for each accepted connection, on its loop, before anything else is in its pipeline: the
    /// place of TLS. Its handlers may fire `PeerIdentified`. A thrown error closes the connection.
    public var prepareTransport: (@Sendable (any Channel) throws -> Void)?

    public init() {}

    var sessionLimits: HTTP2Session.Limits {
        HTTP2Session.Limits(
            maxConcurrentStreams: maxConcurrentStreams, streamWindowBytes: streamWindowBytes,
            connectionWindowBytes: connectionWindowBytes, maxHeaderListBytes: maxHeaderListBytes)
    }
}

/// A gRPC and HTTP/1.1 server over the loops of an event loop group.
///
/// Each loop has a service of its own, made on the loop and used only there; connections are spread
/// over the loops as they come.
public final class RPCServer: Sendable {
    private let group: any EventLoopGroup
    private let options: RPCServerOptions
    private let loops: [ObjectIdentifier: NIOLoopBound<RPCLoop>]
    private let listeners = NIOLockedValueBox<[any Channel]>([])

    /// - Parameters:
    ///   - methods: what is served; `RPCCall.method` is an index into it.
    ///   - makeService: called once per loop of the group, on it.
    public init(
        group: any EventLoopGroup, methods: [RPCMethod], options: RPCServerOptions = RPCServerOptions(),
        makeService: @escaping @Sendable (any EventLoop) -> any RPCLoopService
    ) async throws {
        self.group = group
        self.options = options
        let table = MethodTable(methods)
        var loops: [ObjectIdentifier: NIOLoopBound<RPCLoop>] = [:]
        for eventLoop in group.makeIterator() {
            loops[ObjectIdentifier(eventLoop)] = try await eventLoop.submit {
                let service = makeService(eventLoop)
                let loop = RPCLoop(eventLoop: eventLoop, options: options, methods: table, service: service)
                return NIOLoopBound(loop, eventLoop: eventLoop)
            }.get()
        }
        self.loops = loops
    }

    /// Listens on one more address; port 0 takes a free one. Answers the address bound.
    @discardableResult
    public func listen(host: String, port: Int) async throws -> SocketAddress {
        let loops = loops
        let options = options
        let listener = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: options.tcpKeepaliveSeconds)
            .childChannelOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: options.tcpKeepaliveSeconds)
            .childChannelOption(
                .writeBufferWaterMark,
                value: .init(low: options.writeBufferBytes / 2, high: options.writeBufferBytes)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let loop = loops[ObjectIdentifier(channel.eventLoop)] else {
                        preconditionFailure("a connection on a loop that is not of the group")
                    }
                    try options.prepareTransport?(channel)
                    try channel.pipeline.syncOperations.addHandler(
                        ProtocolDetector(loop: loop.value, remoteAddress: channel.remoteAddress))
                }
            }
            .bind(host: host, port: port).get()
        listeners.withLockedValue { $0.append(listener) }
        guard let address = listener.localAddress else { throw ChannelError.ioOnClosedChannel }
        return address
    }

    /// Stops listening, tells the clients (GOAWAY), lets calls end until `deadline`, closes what is left.
    /// Streams that never end by themselves are the service's to finish.
    public func shutdown(deadline: TimeAmount = .seconds(5)) async {
        let listening = listeners.withLockedValue { listeners in
            defer { listeners = [] }
            return listeners
        }
        for listener in listening { try? await listener.close() }
        var emptied: [EventLoopFuture<Void>] = []
        for loop in loops.values {
            let promise = loop.eventLoop.makePromise(of: Void.self)
            emptied.append(promise.futureResult)
            loop.eventLoop.execute { loop.value.beginShutdown(emptied: promise) }
            loop.eventLoop.scheduleTask(in: deadline) { loop.value.abortConnections() }
        }
        for future in emptied { try? await future.get() }
    }
}
