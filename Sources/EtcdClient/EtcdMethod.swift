import EtcdAPI

/// One method of the v3 API with its messages, for ``EtcdClient/call(_:_:timeout:mayRepeat:needsLeader:at:)``.
public struct EtcdMethod<Request: SwiftProtobuf.Message & Sendable, Response: SwiftProtobuf.Message & Sendable>:
    Sendable
{
    let path: String
    /// Asking twice is the same as asking once.
    let isRepeatable: Bool
}

extension EtcdMethod where Request == Etcdserverpb_RangeRequest, Response == Etcdserverpb_RangeResponse {
    /// `KV.Range`.
    public static var range: Self { Self(path: "/etcdserverpb.KV/Range", isRepeatable: true) }
}

extension EtcdMethod where Request == Etcdserverpb_PutRequest, Response == Etcdserverpb_PutResponse {
    /// `KV.Put`.
    public static var put: Self { Self(path: "/etcdserverpb.KV/Put", isRepeatable: false) }
}

extension EtcdMethod where Request == Etcdserverpb_DeleteRangeRequest, Response == Etcdserverpb_DeleteRangeResponse {
    /// `KV.DeleteRange`.
    public static var deleteRange: Self { Self(path: "/etcdserverpb.KV/DeleteRange", isRepeatable: false) }
}

extension EtcdMethod where Request == Etcdserverpb_TxnRequest, Response == Etcdserverpb_TxnResponse {
    /// `KV.Txn`.
    public static var transaction: Self { Self(path: "/etcdserverpb.KV/Txn", isRepeatable: false) }
}

extension EtcdMethod where Request == Etcdserverpb_CompactionRequest, Response == Etcdserverpb_CompactionResponse {
    /// `KV.Compact`.
    public static var compact: Self { Self(path: "/etcdserverpb.KV/Compact", isRepeatable: false) }
}

extension EtcdMethod where Request == Etcdserverpb_LeaseGrantRequest, Response == Etcdserverpb_LeaseGrantResponse {
    /// `Lease.LeaseGrant`.
    public static var leaseGrant: Self { Self(path: "/etcdserverpb.Lease/LeaseGrant", isRepeatable: false) }
}

extension EtcdMethod where Request == Etcdserverpb_LeaseRevokeRequest, Response == Etcdserverpb_LeaseRevokeResponse {
    /// `Lease.LeaseRevoke`.
    public static var leaseRevoke: Self { Self(path: "/etcdserverpb.Lease/LeaseRevoke", isRepeatable: false) }
}

extension EtcdMethod
where Request == Etcdserverpb_LeaseKeepAliveRequest, Response == Etcdserverpb_LeaseKeepAliveResponse {
    /// A stream both ways of which one message each way is used: the server answers what it was asked and
    /// ends with the client's half-close.
    public static var leaseKeepAlive: Self { Self(path: "/etcdserverpb.Lease/LeaseKeepAlive", isRepeatable: true) }
}

extension EtcdMethod
where Request == Etcdserverpb_LeaseTimeToLiveRequest, Response == Etcdserverpb_LeaseTimeToLiveResponse {
    /// `Lease.LeaseTimeToLive`.
    public static var leaseTimeToLive: Self { Self(path: "/etcdserverpb.Lease/LeaseTimeToLive", isRepeatable: true) }
}

extension EtcdMethod where Request == Etcdserverpb_LeaseLeasesRequest, Response == Etcdserverpb_LeaseLeasesResponse {
    /// `Lease.LeaseLeases`.
    public static var leases: Self { Self(path: "/etcdserverpb.Lease/LeaseLeases", isRepeatable: true) }
}

extension EtcdMethod where Request == Etcdserverpb_MemberListRequest, Response == Etcdserverpb_MemberListResponse {
    /// `Cluster.MemberList`.
    public static var memberList: Self { Self(path: "/etcdserverpb.Cluster/MemberList", isRepeatable: true) }
}

extension EtcdMethod where Request == Etcdserverpb_StatusRequest, Response == Etcdserverpb_StatusResponse {
    /// `Maintenance.Status`.
    public static var status: Self { Self(path: "/etcdserverpb.Maintenance/Status", isRepeatable: true) }
}

extension EtcdMethod where Request == Etcdserverpb_HashKVRequest, Response == Etcdserverpb_HashKVResponse {
    /// `Maintenance.HashKV`.
    public static var hashKV: Self { Self(path: "/etcdserverpb.Maintenance/HashKV", isRepeatable: true) }
}

extension EtcdMethod where Request == Etcdserverpb_AlarmRequest, Response == Etcdserverpb_AlarmResponse {
    /// Lists, raises or disarms alarms; doing any of these twice is the same as once.
    public static var alarm: Self { Self(path: "/etcdserverpb.Maintenance/Alarm", isRepeatable: true) }
}

extension EtcdMethod where Request == Etcdserverpb_MoveLeaderRequest, Response == Etcdserverpb_MoveLeaderResponse {
    /// `Maintenance.MoveLeader`.
    public static var moveLeader: Self { Self(path: "/etcdserverpb.Maintenance/MoveLeader", isRepeatable: false) }
}

extension EtcdMethod where Request == Etcdserverpb_DefragmentRequest, Response == Etcdserverpb_DefragmentResponse {
    /// `Maintenance.Defragment`.
    public static var defragment: Self { Self(path: "/etcdserverpb.Maintenance/Defragment", isRepeatable: false) }
}
