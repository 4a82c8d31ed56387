import GRPC
import NIOCore

/// How a client behaves. The defaults suit a service in the same network as the cluster.
public struct EtcdClientOptions: Sendable {
    /// How long a call may take with all its attempts, if the call does not say it itself.
    public var requestTimeout: Duration = .seconds(10)
    /// How long one attempt of a call that is safe to repeat may take before another endpoint is asked.
    public var attemptTimeout: Duration = .seconds(3)
    /// How long a connection may take to stand, HTTP/2 included.
    public var connectTimeout: Duration = .seconds(2)
    /// How long an endpoint is left alone after it failed: the first time, and at most.
    public var backOff: ClosedRange<Duration> = .milliseconds(50) ... .seconds(2)
    /// Ask members without a leader to say so at once (`no leader`) instead of holding a read, a watch or a
    /// keep-alive until they have one; the client then goes to another member. Writes never ask it: they
    /// wait for the new leader, since a refusal could not be told from a lost answer.
    public var requireLeader = true
    /// The token that the cluster gave for a user (`Auth/Authenticate`), if it demands authentication. It goes with every call.
    /// A token that has run out is not renewed: calls and watches then fail with `etcdserver: invalid auth token`.
    public var authenticationToken: String?
    /// How often the endpoints are replaced by those that the members announce; nil: never.
    /// ``EtcdClient/syncEndpoints(timeout:)`` does it once.
    public var endpointSyncInterval: Duration?
    /// How long a server may be silent before it is asked whether it lives. Less than 5 s is taken for
    /// abuse by etcd (`--grpc-keepalive-min-time`), which then ends the connection.
    public var keepaliveInterval: Duration? = .seconds(6)
    /// How long it may take to answer that before its connection counts as lost.
    public var keepaliveTimeout: Duration = .seconds(3)
    /// How many bytes of events may wait for the reader of one watch. Beyond that the watch is ended on the server
    /// and started again, from where it was, when the reader has caught up: memory is bounded (by this and one
    /// answer of the server's), and nothing is lost.
    public var maxBufferedWatchBytes = 16 << 20

    public init() {}

    /// What goes with a call.
    func metadata(requiresLeader: Bool) -> RPCClient.Metadata {
        var metadata: RPCClient.Metadata = requiresLeader ? [("hasleader", "true")] : []
        if let authenticationToken { metadata.append(("token", authenticationToken)) }
        return metadata
    }

    var transport: RPCClientOptions {
        var options = RPCClientOptions()
        options.keepaliveInterval = keepaliveInterval.map { TimeAmount($0) }
        options.keepaliveTimeout = TimeAmount(keepaliveTimeout)
        options.userAgent = "gulp-etcd-client"
        return options
    }
}

extension TimeAmount {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        // A century is as good as for ever, and fits 64 bits of nanoseconds.
        self = .nanoseconds(min(seconds, 3_155_760_000) * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
