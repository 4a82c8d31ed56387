import EtcdAPI

/// A cluster as the commands see it: which server answers is not their business.
///
/// Calls throw `RPCError` when the cluster refuses or does not answer in time, and `CommandFailure` when
/// it cannot be asked at all.
protocol EtcdConnection: Sendable {
    func range(_ request: Etcdserverpb_RangeRequest) async throws -> Etcdserverpb_RangeResponse
    func put(_ request: Etcdserverpb_PutRequest) async throws -> Etcdserverpb_PutResponse
    func deleteRange(_ request: Etcdserverpb_DeleteRangeRequest) async throws -> Etcdserverpb_DeleteRangeResponse
    /// Opens a stream for watches on some server, waiting as long as there is none.
    func openWatchStream() async throws -> any WatchStream
}

/// One `Watch` call. Whoever reads `next` is one task; `send` may come from any.
protocol WatchStream: Sendable {
    func send(_ request: Etcdserverpb_WatchRequest) throws
    /// nil when the server ended the stream in good order.
    func next() async throws -> Etcdserverpb_WatchResponse?
}
