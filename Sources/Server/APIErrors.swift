import GRPC
import Replica

/// etcd's errors: codes and texts, as its clients match on them.
extension GRPCStatus {
    static let noLeader = GRPCStatus(.unavailable, "etcdserver: no leader")
    static let timedOut = GRPCStatus(.unavailable, "etcdserver: request timed out")
    static let timedOutWithLeader = GRPCStatus(
        .unavailable, "etcdserver: request timed out, possibly due to previous leader failure")
    static let tooManyRequests = GRPCStatus(.resourceExhausted, "etcdserver: too many requests")
    static let learnerNotReady = GRPCStatus(
        .failedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader")
    static let notLeader = GRPCStatus(.failedPrecondition, "etcdserver: not leader")
    static let requestTooLarge = GRPCStatus(.invalidArgument, "etcdserver: request is too large")
    static let serverStopped = GRPCStatus(.unavailable, "etcdserver: server stopped")
    static let leaseNotFound = GRPCStatus(.notFound, "etcdserver: requested lease not found")
    static let leaseTTLTooLarge = GRPCStatus(.outOfRange, "etcdserver: too large lease TTL")
    static let emptyKey = GRPCStatus(.invalidArgument, "etcdserver: key is not provided")
    static let oldAuthRevision = GRPCStatus(.invalidArgument, "etcdserver: revision of auth store is old")
    static let answerTooLarge = GRPCStatus(
        .resourceExhausted, "the answer is larger than 2 GiB; ask for less at once, with a limit or a narrower range")
    /// What grpc's own servers answer to bytes that are not the request's message.
    static let malformed = GRPCStatus(
        .internal, "grpc: error unmarshalling request: the bytes are not a valid message")

    /// The store's refusal under etcd's code for it.
    init(_ error: StoreError) {
        let code: Code =
            switch error {
            case .emptyKey, .keyNotFound, .valueProvided, .leaseProvided, .tooManyOperations, .duplicateKey,
                .emptyWatchRange:
                .invalidArgument
            case .compacted, .futureRevision, .leaseTTLTooLarge: .outOfRange
            case .noSpace: .resourceExhausted
            case .corrupt: .dataLoss
            case .leaseNotFound: .notFound
            case .leaseExists, .notPrimary: .failedPrecondition
            }
        self.init(code, error.message)
    }

    init(_ error: MembershipError) {
        self.init(error == .memberNotFound ? .notFound : .failedPrecondition, error.message)
    }

    init(_ reason: RefusalReason) {
        self =
            switch reason {
            case .tooManyRequests: .tooManyRequests
            case .notLeader: .notLeader
            case .learnerNotReady: .learnerNotReady
            case .membership(let error): GRPCStatus(error)
            }
    }
}
