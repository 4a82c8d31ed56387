import GRPC

/// What an attempt's failure says about the store and about the endpoint. Pure, so that each rule can be read and tested alone.
enum RetryRules {
    /// Whether another attempt may do better.
    static func isTransient(_ error: RPCError) -> Bool {
        if error.code == .unavailable || error.message.hasPrefix(resetPrefix) { return true }
        // Another member may be able; the codes of these texts differ between etcd's releases.
        return refusedBeforeProposal.contains(error.message)
    }

    /// Whether the request provably had no effect: it was never sent, or was refused before it reached the log.
    ///
    /// `no leader` is not among these: a member may also answer it to a call that waited, proposed,
    /// while its leader was lost.
    static func isNotExecuted(_ error: RPCError) -> Bool {
        if refusedBeforeProposal.contains(error.message) || isUnsent(error) { return true }
        switch error.code {
        case .invalidArgument, .notFound, .alreadyExists, .permissionDenied, .failedPrecondition, .outOfRange,
            .unimplemented, .unauthenticated:
            return true
        case .resourceExhausted:
            // etcd's NOSPACE; from elsewhere it may also mean that the answer was too large.
            return error.message.hasPrefix("etcdserver:")
        default:
            return false
        }
    }

    /// The connection was known to be gone before the call, or the server says that it did not look at the
    /// stream (REFUSED_STREAM: RFC 9113, 8.7).
    private static func isUnsent(_ error: RPCError) -> Bool {
        guard error.code == .unavailable else { return false }
        if error.message.hasPrefix(resetPrefix) { return error.message.contains("REFUSED_STREAM") }
        // The words of `ClientConnection.open` in GRPC, which uses them for calls it never submitted.
        return error.message.hasPrefix("the connection to ")
            && (error.message.hasSuffix(" is closed") || error.message.hasSuffix(" takes no more calls"))
    }

    /// Whether a watch's stream that ended so is worth another.
    static func isWatchResumable(_ error: RPCError) -> Bool {
        switch error.code {
        case .invalidArgument, .permissionDenied, .unauthenticated, .unimplemented: false
        default: true
        }
    }

    private static let resetPrefix = "stream terminated by RST_STREAM"

    private static let refusedBeforeProposal: Set<String> = [
        EtcdError.Reason.tooManyRequests.rawValue, EtcdError.Reason.notCapable.rawValue,
        EtcdError.Reason.notSupportedForLearner.rawValue,
    ]
}

/// How long an endpoint is left alone after failures in a row: doubled each time, with jitter, so that many
/// clients do not come back at once.
struct BackOff: Sendable {
    private(set) var failures = 0
    private(set) var notBefore: ContinuousClock.Instant?

    func isDue(_ now: ContinuousClock.Instant) -> Bool { notBefore.map { $0 <= now } ?? true }

    /// Counts once for all calls that fail together: those that come while it is being left alone were begun before.
    mutating func failed(_ now: ContinuousClock.Instant, limits: ClosedRange<Duration>) {
        guard isDue(now) else { return }
        failures += 1
        let pause = min(limits.lowerBound * (1 << min(failures - 1, 16)), limits.upperBound)
        notBefore = now + pause * Double.random(in: 0.75...1.25)
    }

    mutating func succeeded() { self = BackOff() }
}
