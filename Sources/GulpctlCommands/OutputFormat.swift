import EtcdAPI

/// How answers become bytes on standard output: one type for each value of `--write-out`.
protocol OutputFormat: LeaseFormat, ClusterFormat, CheckFormat {
    func bytes(_ response: Etcdserverpb_RangeResponse) throws(CommandFailure) -> [UInt8]
    func bytes(_ response: Etcdserverpb_PutResponse) throws(CommandFailure) -> [UInt8]
    func bytes(_ response: Etcdserverpb_DeleteRangeResponse) throws(CommandFailure) -> [UInt8]
    func bytes(_ response: Etcdserverpb_TxnResponse) throws(CommandFailure) -> [UInt8]
    /// What a watch received. `watch_id` and `cancel_reason` are no part of what is shown.
    func bytes(_ response: Etcdserverpb_WatchResponse) throws(CommandFailure) -> [UInt8]
}

extension Mvccpb_Event.EventType {
    /// `PUT` or `DELETE`; a type that a newer server made up is its number.
    var name: String {
        switch self {
        case .put: "PUT"
        case .delete: "DELETE"
        case .UNRECOGNIZED(let number): "\(number)"
        }
    }
}
