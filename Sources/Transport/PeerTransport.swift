import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Raft

/// What a member's transport tells its owner. Calls come from event loops and must return soon, except
/// `beginSnapshot`, which comes from a thread of its own.
public protocol PeerTransportDelegate: Sendable {
    /// What one read of `member`'s stream brought, in the order of each of its two lanes. The messages are well formed
    /// but not trusted further: their contents are the sender's word.
    func received(_ messages: [PeerMessage], from member: MemberID)
    /// Messages to `member` now reach it.
    func peerConnected(_ member: MemberID)
    /// Messages to `member` were lost, or are going to be. Called again with every failed attempt to reach it.
    func peerUnreachable(_ member: MemberID)
    /// What to answer one that asks who the cluster is; nil while that is not known, and the asker goes elsewhere.
    func answer(query: ClusterQuery) -> ClusterReport?
    /// A snapshot begins to arrive. `message` is the Raft message it belongs to, to be stepped once the snapshot is
    /// kept. nil refuses it.
    func beginSnapshot(_ message: Message, from member: MemberID) -> (any SnapshotSink)?
}

/// A question who the cluster is.
public struct ClusterQuery: Sendable, Equatable {
    /// The one that asks, or `.none`.
    public var from: MemberID
}

/// The messages of a member to its peers, and theirs to it, over TCP or local sockets. See `PeerProtocol`'s file for
/// what is promised.
///
/// Every method may be called from any thread. The delegate is kept for the transport's life.
public final class PeerTransport: Sendable {
    /// Who this member is. Peers are held to it in every handshake.
    public struct Identity: Sendable, Hashable {
        public var clusterID: UInt64
        public var memberID: MemberID
        public init(clusterID: UInt64, memberID: MemberID) {
            self.clusterID = clusterID
            self.memberID = memberID
        }
    }

    /// Bounds and times. The defaults suit a cluster in one data centre.
    public struct Options: Sendable {
        /// The largest payload of a frame that is sent or accepted. It must exceed the largest Raft message.
        public var maxFrameBytes = 64 << 20
        /// What may wait for a member before more is dropped.
        public var maxQueuedBytes = 64 << 20
        /// What is handed to a connection at once. Heartbeats wait for no more than this and the socket's buffer.
        public var writeSliceBytes = 256 << 10
        /// What of a snapshot may wait for its sink before no more is read from the network.
        public var maxSnapshotBufferBytes = 4 << 20
        /// How long a connection may take to be made, and its handshake after it.
        public var connectTimeout = TimeAmount.seconds(3)
        /// How long sent bytes may stay unacknowledged before the connection is given up.
        public var unacknowledgedTimeout = TimeAmount.seconds(5)
        /// How long a snapshot may make no progress.
        public var snapshotStallTimeout = TimeAmount.seconds(60)
        /// The wait before a connection is tried again: from the first, doubled each time, up to the second, with
        /// jitter.
        public var backoff = TimeAmount.milliseconds(20)...TimeAmount.seconds(1)
        /// Adds the handlers of a secure channel to a new connection, below everything else. What they find out about
        /// the other side they announce by an inbound user event that is a `PeerIdentity`.
        public var secure: (@Sendable (Channel, ConnectionSide) throws -> Void)?
        public init() {}
    }

    let identity: Identity
    let group: any EventLoopGroup
    let logger: Logger
    let delegate: any PeerTransportDelegate
    let options: Options
    /// Where snapshots are read, written and waited for.
    let snapshotThreads = NIOThreadPool(numberOfThreads: 4)
    let registry = ConnectionRegistry()
    private let peers = NIOLockedValueBox<[MemberID: OutboundPeer]>([:])

    /// - Parameter group: runs the connections; it must outlive the transport.
    public init(
        identity: Identity, group: any EventLoopGroup, logger: Logger, delegate: any PeerTransportDelegate,
        options: Options = Options()
    ) {
        self.identity = identity
        self.group = group
        self.logger = logger
        self.delegate = delegate
        self.options = options
        snapshotThreads.start()
    }

    /// Starts to accept peers at `addresses`, all or none.
    ///
    /// - Returns: where it listens, in the order of `addresses`; of use when a port was 0.
    /// - Throws: `PeerListenError`.
    @discardableResult
    public func start(listen addresses: [PeerAddress]) async throws -> [SocketAddress] {
        var bound: [Channel] = []
        for address in addresses {
            do {
                let channel = try await listen(address)
                guard registry.insert(channel) else { throw ChannelError.ioOnClosedChannel }
                bound.append(channel)
            } catch {
                for channel in bound { try? await channel.close() }
                throw PeerListenError(address: address, reason: describeNetworkError(error))
            }
            logger.info("listening for peers", metadata: ["address": "\(address)"])
        }
        return bound.compactMap(\.localAddress)
    }

    private func listen(_ address: PeerAddress) async throws -> Channel {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .childChannelOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 65536, maximum: 1 << 20)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard self.registry.insert(channel) else { throw ChannelError.ioOnClosedChannel }
                    try self.options.secure?(channel, .listener)
                    try channel.pipeline.syncOperations.addHandler(InboundHandler(self))
                }
            }
        switch address {
        case .network(let host, let port):
            return
                try await bootstrap
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOptions(of: PeerSocket.options(unacknowledged: options.unacknowledgedTimeout))
                // One address, and the same on every host, where a resolver might give ::1 here and 127.0.0.1 there.
                .bind(host: host == "localhost" ? "127.0.0.1" : host, port: port).get()
        case .socket(let path):
            return try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        }
    }

    /// Says who the other members are and where. Those that are no longer among them are disconnected, new ones dialled,
    /// and this member itself is passed over.
    public func setPeers(_ addresses: [MemberID: [PeerAddress]]) {
        guard !registry.isClosed else { return }
        let removed = peers.withLockedValue { peers in
            var removed: [OutboundPeer] = []
            for (member, peer) in peers where addresses[member]?.isEmpty != false {
                removed.append(peer)
                peers[member] = nil
            }
            for (member, addresses) in addresses where member != identity.memberID && !addresses.isEmpty {
                if let peer = peers[member] {
                    peer.setAddresses(addresses)
                } else {
                    let peer = OutboundPeer(member, addresses: addresses, loop: group.next(), transport: self)
                    peers[member] = peer
                    peer.start()
                }
            }
            return removed
        }
        for peer in removed { peer.stop() }
    }

    /// Sends messages, in order, without waiting. Those to a member that is unknown, out of reach or too slow are
    /// dropped.
    public func send(_ messages: [(MemberID, PeerMessage)]) {
        let peers = self.peers.withLockedValue { $0 }
        for (member, message) in messages { peers[member]?.enqueue(message) }
    }

    func peer(_ member: MemberID) -> OutboundPeer? { peers.withLockedValue { $0[member] } }

    /// The counters of every peer that is dialled.
    public func statistics() -> [MemberID: PeerStatistics] {
        peers.withLockedValue { $0 }.mapValues { peer in
            var statistics = peer.statistics
            statistics.receivedBytes = registry.receivedBytes(from: peer.member)
            return statistics
        }
    }

    /// Closes everything and returns when nothing is called any more. What was sent but not yet written is lost.
    public func shutdown() async {
        let connections = registry.close()
        let stopped = peers.withLockedValue { peers in
            defer { peers = [:] }
            return Array(peers.values)
        }
        for peer in stopped { peer.stop() }
        for channel in connections { channel.close(promise: nil) }
        for channel in connections { try? await channel.closeFuture.get() }
        for peer in stopped { await peer.settled() }
        try? await snapshotThreads.shutdownGracefully()
    }
}

/// What happened between this member and a peer since the peer became known.
public struct PeerStatistics: Sendable, Equatable {
    public var isConnected = false
    public var sentMessages: UInt64 = 0
    public var sentBytes: UInt64 = 0
    public var receivedBytes: UInt64 = 0
    /// Messages that were not sent, because the peer was out of reach or its queue full.
    public var droppedMessages: UInt64 = 0
}

/// Why a member cannot listen for its peers.
public struct PeerListenError: Error, Sendable, CustomStringConvertible {
    public let address: PeerAddress
    public let reason: String
    public var description: String {
        "cannot listen for peers on \(address): \(reason); free it, or change --listen-peer-urls"
    }
}
