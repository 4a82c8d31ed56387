import Discovery
import GRPC
import Logging
import NIOCore
import NIOPosix
import Replica
import Storage
import Transport

#if canImport(Glibc)
    import Glibc
#endif

/// A running member: from ``start(_:logger:)`` until ``stop()``, or until it stops by itself because going
/// on could break a promise (``whenFailed()``).
public final class Member: Sendable {
    public let id: MemberID
    public let clusterID: ClusterID
    /// Where clients are served, with the ports bound.
    public let clientAddresses: [SocketAddress]

    private let group: MultiThreadedEventLoopGroup
    private let server: RPCServer
    private let outlet: LoopServices
    private let transport: PeerTransport
    private let threads: MemberThreads
    private let publisher: Publisher
    private let board: StatusBoard
    private let electionTimeoutMilliseconds: Int
    private let failure: FailureBox

    /// Opens the data, joins the peers and listens. The member is ready once the cluster knows it: ``whenReady()``.
    /// - Throws: ``ServerError``, `StorageError` and others; each describes itself in one line for the operator.
    public static func start(_ configuration: MemberConfiguration, logger: Logger) async throws -> Member {
        try await start(configuration, durability: .synced, logger: logger)
    }

    /// - Parameter durability: anything but `.synced` breaks the promise that an acknowledged write survives; only
    ///   tests do it.
    package static func start(
        _ configuration: MemberConfiguration, durability: RaftLog.Durability, logger: Logger
    ) async throws -> Member {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        do {
            return try await Member(configuration, durability: durability, group: group, logger: logger)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
    }

    private init(
        _ configuration: MemberConfiguration, durability: RaftLog.Durability, group: MultiThreadedEventLoopGroup,
        logger: Logger
    ) async throws {
        let start = try await Bootstrap.open(configuration, durability: durability, group: group, logger: logger)
        id = start.identity.memberID
        clusterID = ClusterID(start.identity.clusterID)
        self.group = group
        failure = FailureBox(logger: logger)
        let metrics = Metrics()
        let wallMicroseconds = Member.wallMicroseconds()
        electionTimeoutMilliseconds = configuration.electionTimeoutMilliseconds
        board = StatusBoard(
            MemberStatus(
                leadership: Leadership(term: start.initial.hardState.term, leader: .none, isLeader: false),
                committed: start.initial.hardState.commit, applied: start.machine.applied,
                revision: start.machine.store.revision))
        let mailboxes = Mailboxes()

        // The loops' services exist before any answer can come.
        let context = ServiceContext(
            clusterID: clusterID.rawValue, memberID: id, configuration: configuration,
            consensus: mailboxes.consensus, apply: mailboxes.apply, board: board, metrics: metrics)
        let firstCount = CallID.firstCount(wallMicroseconds: wallMicroseconds)
        outlet = LoopServices(count: group.makeIterator().reduce(0) { count, _ in count + 1 })
        var options = RPCServerOptions()
        // As etcd: the request's limit and room for what is around it.
        options.maxReceiveBytes = configuration.maxRequestBytes + 512 << 10
        server = try await RPCServer(group: group, methods: APIMethod.table, options: options) { [outlet] eventLoop in
            outlet.add(on: eventLoop, context: context, firstCount: firstCount)
        }
        let delegate = PeerDelegate(
            consensus: mailboxes.consensus, stateDirectory: start.storage.states, clusterID: clusterID,
            members: start.machine.members, logger: logger)
        transport = PeerTransport(
            identity: PeerTransport.Identity(clusterID: clusterID.rawValue, memberID: id), group: group, logger: logger,
            delegate: delegate)
        publisher = Publisher(
            MemberAttributes(
                id: id, name: configuration.name, peerURLs: configuration.initialAdvertisePeerURLs.map(\.text),
                clientURLs: configuration.advertiseClientURLs.map(\.text)),
            firstCount: firstCount, consensus: mailboxes.consensus)

        let flushThread = FlushThread(consensusMailbox: mailboxes.consensus, metrics: metrics, fail: failure.fail)
        let consensus = ConsensusDriver(
            machine: try ConsensusMachine(
                Member.consensusConfiguration(configuration, id: id, seed: wallMicroseconds),
                initial: start.initial, startCount: wallMicroseconds),
            id: id, tickMilliseconds: configuration.heartbeatIntervalMilliseconds,
            requestTimeoutMilliseconds: configuration.requestTimeoutMilliseconds, mailboxes: mailboxes,
            transport: transport, outlet: outlet, board: board, logger: logger)
        let log = LogDriver(
            log: start.storage.log, hardState: start.initial.hardState, id: id, mailboxes: mailboxes,
            transport: transport, metrics: metrics, fail: failure.fail)
        let apply = ApplyDriver(
            machine: start.machine, id: id, firstInternalCount: firstCount, flushPolicy: start.flushPolicy,
            electionTimeoutMilliseconds: configuration.electionTimeoutMilliseconds,
            onPublished: { [publisher] request in publisher.published(by: request) },
            onMembers: { [transport] members in
                delegate.update(members)
                transport.setPeers(Member.addresses(of: members))
            }, mailboxes: mailboxes, transport: transport, outlet: outlet,
            flushThread: flushThread, board: board, metrics: metrics, logger: logger, fail: failure.fail)
        threads = MemberThreads(mailboxes: mailboxes, flushThread: flushThread, storage: start.storage)

        do {
            clientAddresses = try await Member.listen(server, configuration.listenClientURLs)
            try await transport.start(listen: configuration.listenPeerURLs.map { try PeerAddress($0.text) })
        } catch {
            await server.shutdown(deadline: .milliseconds(0))
            await transport.shutdown()
            throw error
        }
        transport.setPeers(Member.addresses(of: start.machine.members))
        threads.start(consensus: consensus, log: log, apply: apply)
        outlet.startSweeping()
        publisher.start()
    }

    /// True once the member has made itself known through the log, so that it has a leader and has caught up with
    /// what was committed before; false if it was stopped before that.
    public func whenReady() async -> Bool { await publisher.whenPublished() }

    /// Why the member cannot go on; returns only if that happens.
    public func whenFailed() async -> String { await failure.reason() }

    /// Whether the consensus thread answers, which it does within milliseconds unless it is stuck.
    public func isResponsive() async -> Bool { await threads.isResponsive() }

    /// Hands leadership over, ends streams and calls, lets what is on its way be written, and closes everything.
    public func stop() async {
        publisher.stop()
        await threads.handOverLeadership(within: electionTimeoutMilliseconds, board: board)
        await outlet.finishAll(.serverStopped)
        await server.shutdown(deadline: .seconds(2))
        await transport.shutdown()
        await threads.stop()
        try? await group.shutdownGracefully()
    }

    private static func consensusConfiguration(
        _ configuration: MemberConfiguration, id: MemberID, seed: UInt64
    ) -> ConsensusMachine.Configuration {
        var consensus = ConsensusMachine.Configuration(
            raft: RaftConfiguration(
                id: id,
                electionTimeoutTicks: configuration.electionTimeoutMilliseconds
                    / configuration.heartbeatIntervalMilliseconds,
                heartbeatTicks: 1, randomSeed: id.rawValue ^ seed))
        consensus.snapshotCount = UInt64(configuration.snapshotCount)
        return consensus
    }

    private static func addresses(of members: [MemberAttributes]) -> [MemberID: [PeerAddress]] {
        Dictionary(
            uniqueKeysWithValues: members.map { member in
                (member.id, member.peerURLs.compactMap { try? PeerAddress($0) })
            })
    }

    private static func listen(_ server: RPCServer, _ urls: [MemberURL]) async throws -> [SocketAddress] {
        var addresses: [SocketAddress] = []
        for url in urls {
            guard !url.scheme.isLocalSocket else {
                throw ServerError.listen(url: url.text, reason: "clients are not served on sockets in the file system")
            }
            // One address, and the same on every host, where a resolver might give ::1 here and 127.0.0.1 there.
            let host = url.host == "localhost" ? "127.0.0.1" : url.host
            do {
                addresses.append(try await server.listen(host: host, port: url.port))
            } catch {
                throw ServerError.listen(url: url.text, reason: describeNetworkError(error))
            }
        }
        return addresses
    }

    private static func wallMicroseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1_000
    }
}
