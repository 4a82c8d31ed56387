import EtcdAPI
import Synchronization

/// A member of the cluster.
public struct ClusterMember: Sendable, Hashable {
    public var id: UInt64
    /// Empty until it has started.
    public var name: String
    public var peerURLs: [String]
    public var clientURLs: [String]
    public var isLearner: Bool
}

/// What one member says of itself.
public struct MemberStatus: Sendable, Hashable {
    public var header: ResponseHeader
    public var version: String
    /// Bytes on disk, and those of them in use.
    public var databaseBytes: Int64
    public var databaseBytesInUse: Int64
    /// The leader's id; 0: none is known.
    public var leader: UInt64
    public var raftIndex: UInt64
    public var raftTerm: UInt64
    public var raftAppliedIndex: UInt64
    public var isLearner: Bool
    public var errors: [String]
}

/// A hash over the history, equal on members that hold the same.
public struct StoreHash: Sendable, Hashable {
    public var header: ResponseHeader
    public var hash: UInt32
    /// -1: never compacted.
    public var compactRevision: Int64
}

/// An alarm that a member has raised; it stands until it is disarmed by hand.
public struct Alarm: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// The quota is used up: writes are refused, deletes and compactions are not.
        case noSpace
        /// Members differ in what they hold.
        case corrupt
        /// One that this client does not know, by its number.
        case other(Int)
    }
    public var memberID: UInt64
    public var kind: Kind
}

extension EtcdClient {
    /// - Parameter isLinearizable: false asks one member for what it knows.
    public func members(isLinearizable: Bool = true, timeout: Duration? = nil) async throws -> [ClusterMember] {
        var request = Etcdserverpb_MemberListRequest()
        request.linearizable = isLinearizable
        let response = try await call(.memberList, request, timeout: timeout, needsLeader: isLinearizable)
        return response.members.map { member in
            ClusterMember(
                id: member.id, name: member.name, peerURLs: member.peerUrls, clientURLs: member.clientUrls,
                isLearner: member.isLearner)
        }
    }

    /// Replaces the endpoints by the client URLs that the members announce. Learners are left out, since
    /// they serve little, and so are URLs that this client cannot use (TLS, unix sockets).
    /// Without one that it can use everything stays as it is.
    public func syncEndpoints(timeout: Duration? = nil) async throws {
        let urls = try await members(timeout: timeout).filter { !$0.isLearner }.flatMap(\.clientURLs)
        await pool.setEndpoints(urls.compactMap { url in try? EtcdEndpoint(url) })
    }

    /// What the member at `endpoint` says of itself; it answers without a leader too.
    public func status(of endpoint: EtcdEndpoint, timeout: Duration? = nil) async throws -> MemberStatus {
        let response = try await call(.status, Etcdserverpb_StatusRequest(), timeout: timeout, at: endpoint)
        return MemberStatus(
            header: ResponseHeader(response.header), version: response.version, databaseBytes: response.dbSize,
            databaseBytesInUse: response.dbSizeInUse, leader: response.leader, raftIndex: response.raftIndex,
            raftTerm: response.raftTerm, raftAppliedIndex: response.raftAppliedIndex, isLearner: response.isLearner,
            errors: response.errors)
    }

    /// The hash of what the member at `endpoint` holds up to `revision`; 0: up to the newest.
    public func hashKV(
        of endpoint: EtcdEndpoint, revision: Int64 = 0, timeout: Duration? = nil
    ) async throws -> StoreHash {
        var request = Etcdserverpb_HashKVRequest()
        request.revision = revision
        let response = try await call(.hashKV, request, timeout: timeout, at: endpoint)
        return StoreHash(
            header: ResponseHeader(response.header), hash: response.hash, compactRevision: response.compactRevision)
    }

    /// The alarms that are raised.
    public func alarms(timeout: Duration? = nil) async throws -> [Alarm] {
        try await call(.alarm, Etcdserverpb_AlarmRequest(), timeout: timeout).alarms.map { alarm in
            let kind: Alarm.Kind =
                switch alarm.alarm {
                case .nospace: .noSpace
                case .corrupt: .corrupt
                default: .other(alarm.alarm.rawValue)
                }
            return Alarm(memberID: alarm.memberID, kind: kind)
        }
    }
}

/// The task that follows the cluster's list of endpoints.
final class EndpointSync: Sendable {
    private let task = Mutex<Task<Void, Never>?>(nil)

    func start(every interval: Duration, for client: EtcdClient) {
        let running = Task { [weak client] in
            while !Task.isCancelled {
                // What fails now may succeed next time.
                try? await client?.syncEndpoints()
                guard client != nil else { return }
                try? await Task.sleep(for: interval)
            }
        }
        task.withLock { $0 = running }
    }

    func stop() { task.withLock { $0?.cancel() } }
}
