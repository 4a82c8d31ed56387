import EtcdAPI
import EtcdClient

/// A cluster as the commands see it: which server answers is not their business.
///
/// Calls throw `RPCError` when the cluster refuses or does not answer in time, and `CommandFailure` when
/// it cannot be asked at all.
protocol EtcdConnection: Sendable {
    /// - Parameters:
    ///   - mayRepeat: the request may be sent again although it may have been executed.
    ///   - endpoint: asks this server and no other.
    func call<Request, Response>(
        _ method: EtcdMethod<Request, Response>, _ request: Request, mayRepeat: Bool, at endpoint: EtcdEndpoint?
    ) async throws -> Response
    /// Opens a stream for watches on some server, waiting as long as there is none.
    func openWatchStream() async throws -> any WatchStream
    /// A client for what is more than single calls: locks and elections. The caller closes it.
    func makeClient() async throws -> EtcdClient
}

extension EtcdConnection {
    func call<Request, Response>(
        _ method: EtcdMethod<Request, Response>, _ request: Request, mayRepeat: Bool = false
    ) async throws -> Response {
        try await call(method, request, mayRepeat: mayRepeat, at: nil)
    }
}

/// One `Watch` call. Whoever reads `next` is one task; `send` may come from any.
protocol WatchStream: Sendable {
    func send(_ request: Etcdserverpb_WatchRequest) throws
    /// nil when the server ended the stream in good order.
    func next() async throws -> Etcdserverpb_WatchResponse?
}
