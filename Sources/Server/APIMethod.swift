import GRPC

/// The methods that the API serves; the raw value is the index in the table handed to ``RPCServer``.
enum APIMethod: Int, CaseIterable {
    case range, put, deleteRange, txn, compact
    case watch
    case leaseGrant, leaseRevoke, leaseKeepAlive, leaseTimeToLive, leaseLeases
    case memberList
    case status, hashKV, alarm
    case authStatus

    var path: String {
        switch self {
        case .range: "/etcdserverpb.KV/Range"
        case .put: "/etcdserverpb.KV/Put"
        case .deleteRange: "/etcdserverpb.KV/DeleteRange"
        case .txn: "/etcdserverpb.KV/Txn"
        case .compact: "/etcdserverpb.KV/Compact"
        case .watch: "/etcdserverpb.Watch/Watch"
        case .leaseGrant: "/etcdserverpb.Lease/LeaseGrant"
        case .leaseRevoke: "/etcdserverpb.Lease/LeaseRevoke"
        case .leaseKeepAlive: "/etcdserverpb.Lease/LeaseKeepAlive"
        case .leaseTimeToLive: "/etcdserverpb.Lease/LeaseTimeToLive"
        case .leaseLeases: "/etcdserverpb.Lease/LeaseLeases"
        case .memberList: "/etcdserverpb.Cluster/MemberList"
        case .status: "/etcdserverpb.Maintenance/Status"
        case .hashKV: "/etcdserverpb.Maintenance/HashKV"
        case .alarm: "/etcdserverpb.Maintenance/Alarm"
        case .authStatus: "/etcdserverpb.Auth/AuthStatus"
        }
    }

    var isStream: Bool { self == .watch || self == .leaseKeepAlive }

    static var table: [RPCMethod] {
        allCases.map { RPCMethod(path: $0.path, clientStreaming: $0.isStream, serverStreaming: $0.isStream) }
    }
}
