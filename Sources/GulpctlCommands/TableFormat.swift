import EtcdAPI

/// Keys and values have no table: refused once the answer is there, as etcdctl does.
struct TableFormat: OutputFormat {
    func bytes(_ response: Etcdserverpb_RangeResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ response: Etcdserverpb_PutResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ response: Etcdserverpb_DeleteRangeResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ response: Etcdserverpb_WatchResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }

    private static let refusal = CommandFailure("table not supported as output format", .badFeature)
}
