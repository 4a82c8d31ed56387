import NIOCore

/// A handle on one call of a server: small, safe to carry to other threads and to keep.
///
/// The members that act may only be used on the event loop that delivered it (checked). Once the call
/// has ended, by an answer or by `.cancelled`, they do nothing.
public struct RPCCall: Hashable, Sendable {
    let stream: ServerStream
    private let methodNumber: Int32
    /// The HTTP/2 stream's id, for logs.
    public let streamID: Int32

    init(_ stream: ServerStream, method: Int) {
        self.stream = stream
        methodNumber = Int32(truncatingIfNeeded: method)
        streamID = stream.id
    }

    /// The method's place in the list the server was made with.
    public var method: Int { Int(methodNumber) }

    /// The loop on which the call lives.
    public var eventLoop: any EventLoop { stream.connection.eventLoop }

    /// Sends one message: the bytes `write` appends.
    public func send(_ write: (inout ByteBuffer) -> Void) {
        stream.connection.send(on: stream, ending: nil, write)
    }

    /// Sends one message and ends the call with OK.
    public func respond(_ write: (inout ByteBuffer) -> Void) {
        stream.connection.send(on: stream, ending: .ok, write)
    }

    /// Ends the call after what was sent.
    public func finish(code: GRPCStatus.Code, message: String = "") {
        stream.connection.finish(stream, GRPCStatus(code, message))
    }

    /// The request's metadata of this lower-case name: its first value. Pseudo-header fields,
    /// `te`, `content-type`, `content-length`, `user-agent` and gRPC's own fields are not metadata.
    public func header(_ name: String) -> String? {
        stream.connection.eventLoop.preconditionInEventLoop()
        return stream.metadata.first(name)
    }

    /// Bytes sent by the service that the connection has not taken yet: a slow client's backlog.
    public var bufferedBytes: Int {
        stream.connection.eventLoop.preconditionInEventLoop()
        return stream.outgoing.bufferedBytes
    }

    /// Calls `action` once, on the loop, when `bufferedBytes` has come down to zero. It replaces an
    /// action set before and is dropped if the call ends first.
    public func whenDrained(_ action: @escaping () -> Void) {
        stream.connection.whenDrained(stream, action)
    }

    /// Whether the call still takes messages.
    public var isOpen: Bool {
        stream.connection.eventLoop.preconditionInEventLoop()
        return stream.isOpen
    }

    /// Who the peer is, if the transport established it.
    public var peerIdentity: PeerIdentity? { stream.connection.peer.identity }

    /// The peer's address.
    public var remoteAddress: SocketAddress? { stream.connection.peer.address }

    public static func == (a: RPCCall, b: RPCCall) -> Bool { a.stream === b.stream }
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(stream)) }
}

/// What a loop's service is told, in the order in which it happened.
public enum RPCEvent: Sendable {
    /// One whole message. If the method takes one message only, it is that, and the client has half-closed.
    case message(RPCCall, ByteBuffer)
    /// The client has half-closed its stream of messages.
    case requestEnd(RPCCall)
    /// The call ended without the service's doing: reset by the client, its connection lost, its deadline
    /// passed. Only for calls of which the service has had an event.
    case cancelled(RPCCall)
}

/// What serves the calls of one event loop. Made by the server once per loop and used only on it.
public protocol RPCLoopService: AnyObject {
    /// Everything that arrived in one tick of the loop, over all its connections.
    func handle(_ batch: [RPCEvent])
    /// One whole HTTP/1.1 request.
    func handleHTTP(_ request: HTTPExchange)
}

/// The name a transport has established for a peer, for instance from its certificate.
public struct PeerIdentity: Sendable, Hashable {
    public var commonName: String
    public init(commonName: String) { self.commonName = commonName }
}

/// The inbound user event by which a transport handler (TLS) makes the peer's identity known. It must
/// come before the first byte.
public struct PeerIdentified: Sendable {
    public var identity: PeerIdentity
    public init(_ identity: PeerIdentity) { self.identity = identity }
}

/// A connection's other end.
struct Peer: Sendable {
    var address: SocketAddress?
    var identity: PeerIdentity?
}
