import GRPC

/// Why a call failed: the code and the text that the server gave, or the client's own.
///
/// Besides this, the client's functions throw only `CancellationError`, when their task is cancelled.
public struct EtcdError: Error, Sendable, Hashable, CustomStringConvertible {
    public typealias Code = GRPCStatus.Code

    /// gRPC's code.
    public var code: Code
    /// etcd's text, letter for letter, if the server refused the call.
    public var message: String
    /// Whether the store may have been changed all the same: the answer was lost, or did not come in time.
    /// False is a promise that nothing was changed.
    public var mayHaveBeenExecuted: Bool

    public init(_ code: Code, _ message: String, mayHaveBeenExecuted: Bool = false) {
        self.code = code
        self.message = message
        self.mayHaveBeenExecuted = mayHaveBeenExecuted
    }

    /// Which of etcd's errors this is, if it is one.
    public var reason: Reason? { Reason(rawValue: message) }

    public var description: String {
        "\(message) (\(code.name)\(mayHaveBeenExecuted ? ", may have been executed" : ""))"
    }

    static let clientClosed = EtcdError(.cancelled, "the client is closed")

    /// etcd's errors by their text.
    public enum Reason: String, Sendable, CaseIterable {
        case keyNotProvided = "etcdserver: key is not provided"
        case keyNotFound = "etcdserver: key not found"
        case valueProvided = "etcdserver: value is provided"
        case leaseProvided = "etcdserver: lease is provided"
        case tooManyOperations = "etcdserver: too many operations in txn request"
        case duplicateKey = "etcdserver: duplicate key given in txn request"
        case compacted = "etcdserver: mvcc: required revision has been compacted"
        case futureRevision = "etcdserver: mvcc: required revision is a future revision"
        case noSpace = "etcdserver: mvcc: database space exceeded"
        case leaseNotFound = "etcdserver: requested lease not found"
        case leaseExists = "etcdserver: lease already exists"
        case leaseTTLTooLarge = "etcdserver: too large lease TTL"
        case memberNotFound = "etcdserver: member not found"
        case requestTooLarge = "etcdserver: request is too large"
        case tooManyRequests = "etcdserver: too many requests"
        case permissionDenied = "etcdserver: permission denied"
        case invalidAuthToken = "etcdserver: invalid auth token"
        case noLeader = "etcdserver: no leader"
        case notLeader = "etcdserver: not leader"
        case leaderChanged = "etcdserver: leader changed"
        case notCapable = "etcdserver: not capable"
        case serverStopped = "etcdserver: server stopped"
        case timedOut = "etcdserver: request timed out"
        case timedOutLeaderFailure = "etcdserver: request timed out, possibly due to previous leader failure"
        case timedOutConnectionLost = "etcdserver: request timed out, possibly due to connection lost"
        case timedOutApplying = "etcdserver: request timed out, waiting for the applied index took too long"
        case unhealthyCluster = "etcdserver: unhealthy cluster"
        case corruptCluster = "etcdserver: corrupt cluster"
        case notSupportedForLearner = "etcdserver: rpc not supported for learner"
    }
}
