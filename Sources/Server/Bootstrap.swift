import Discovery
import Logging
import NIOPosix
import Replica
import Storage
import Transport

/// What a member starts from: its storage, opened and checked, and both machines' first state.
struct Bootstrap {
    var identity: MemberIdentity
    var storage: MemberStorage
    var initial: InitialState
    var machine: ApplyMachine<StateDatabase>
    var flushPolicy: FlushPolicy

    /// Refuses what does not fit before anything is touched, then opens or founds the member's data.
    static func open(
        _ configuration: MemberConfiguration, durability: RaftLog.Durability, group: MultiThreadedEventLoopGroup,
        logger: Logger
    ) async throws -> Bootstrap {
        let founders = configuration.initialCluster.founders(token: configuration.initialClusterToken)
        let founded = configuration.initialCluster.clusterID(token: configuration.initialClusterToken)
        let configured = MemberIdentity(
            clusterID: founded.rawValue,
            memberID: founders.first { $0.name == configuration.name }?.id ?? .none)
        if let stored = try MemberStorage.storedIdentity(dataDirectory: configuration.dataDirectory) {
            try check(stored, against: configured, configuration)
        } else {
            try configuration.checkFounding()
            try await refuseSecondBootstrap(configured, configuration, group: group, logger: logger)
        }
        let (storage, recovery) = try MemberStorage.open(
            dataDirectory: configuration.dataDirectory, walDirectory: configuration.logDirectory,
            newIdentity: configured, durability: durability)
        for notice in recovery.notices { logger.warning("\(notice)") }
        return try Bootstrap(storage, recovery, founders: founders, configuration: configuration)
    }

    private init(
        _ storage: MemberStorage, _ recovery: MemberRecovery, founders: [ClusterMember],
        configuration: MemberConfiguration
    ) throws {
        self.storage = storage
        identity = storage.identity
        // A flush at least twice between two cuts of the log, so that the log can be cut.
        flushPolicy = FlushPolicy(
            entries: UInt64(max(1, min(50_000, configuration.snapshotCount / 2))), bytes: FlushPolicy().bytes)
        let state = try StateDatabase(storage.states.files, policy: flushPolicy)
        machine = try ApplyMachine(
            id: identity.memberID, history: state, applied: recovery.applied.index, term: recovery.applied.term,
            configuration: recovery.applied.configuration)
        if machine.members.isEmpty {
            // New, or interrupted while it was made; a state that has entries has members.
            guard machine.applied == .zero else { throw ServerError.noMembers(configuration.dataDirectory) }
            machine.bootstrap(founders.map(MemberAttributes.init))
            try machine.commit { state, applied, term, configuration in
                try state.commit(applied: applied, term: term, configuration: configuration)
                try state.flush()
            }
        }
        initial = InitialState(
            hardState: recovery.log.hardState, configuration: machine.configuration, base: recovery.log.base,
            entries: recovery.log.entries, applied: machine.applied)
    }

    /// A member with data goes by that. Flags that name another cluster are a mistake that would otherwise show only
    /// when something is lost; those left at their defaults name none.
    private static func check(
        _ stored: MemberIdentity, against configured: MemberIdentity, _ configuration: MemberConfiguration
    ) throws {
        let isDefault =
            configuration.initialCluster
            == .single(name: configuration.name, peerURLs: configuration.initialAdvertisePeerURLs)
            && configuration.initialClusterToken == Discovery.defaultToken
        guard configuration.initialClusterState == .new, !isDefault else { return }
        guard stored.clusterID == configured.clusterID else {
            throw ServerError.wrongCluster(
                dataDirectory: configuration.dataDirectory, holds: ClusterID(stored.clusterID).description,
                configured: ClusterID(configured.clusterID).description)
        }
        guard stored.memberID == configured.memberID else {
            throw ServerError.wrongMember(
                dataDirectory: configuration.dataDirectory, holds: stored.memberID.hexText,
                configured: configured.memberID.hexText)
        }
    }

    /// A voter that comes back without its data has forgotten how it voted, and may vote again in the same term:
    /// two leaders could follow. Whoever has started before is known to the others.
    private static func refuseSecondBootstrap(
        _ configured: MemberIdentity, _ configuration: MemberConfiguration, group: MultiThreadedEventLoopGroup,
        logger: Logger
    ) async throws {
        let others = configuration.initialCluster.members.filter { $0.name != configuration.name }
            .flatMap(\.peerURLs)
        let report =
            others.isEmpty
            ? nil
            : try await PeerTransport.queryCluster(
                others.map { try PeerAddress($0.text) }, from: configured.memberID, timeout: .seconds(2), group: group,
                logger: logger)
        guard let report else {
            if configuration.initialClusterState == .existing {
                throw ServerError.clusterUnreachable(others.map(\.text))
            }
            return
        }
        guard report.clusterID == configured.clusterID,
            let own = report.members.first(where: { $0.id == configured.memberID })
        else {
            throw configuration.initialClusterState == .existing
                ? ServerError.notAMember(name: configuration.name)
                : ServerError.foreignPeers(
                    cluster: ClusterID(report.clusterID).description,
                    configured: ClusterID(configured.clusterID).description)
        }
        if own.hasStarted {
            throw ServerError.alreadyBootstrapped(member: configured.memberID.hexText, name: configuration.name)
        }
    }
}

extension MemberAttributes {
    init(_ member: ClusterMember) {
        self.init(
            id: member.id, name: member.name, peerURLs: member.peerURLs.map(\.text),
            clientURLs: member.clientURLs.map(\.text), isLearner: member.isLearner)
    }
}
