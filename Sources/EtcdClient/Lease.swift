import EtcdAPI

/// A lease's number. Printed in hex, as etcdctl does.
public struct LeaseID: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public var rawValue: Int64

    public init(rawValue: Int64) { self.rawValue = rawValue }

    public var description: String { String(UInt64(bitPattern: rawValue), radix: 16) }
}

/// A lease just granted.
public struct Lease: Sendable, Hashable {
    public var id: LeaseID
    /// As granted: the server raises what is too short.
    public var timeToLive: Duration
    /// Until when it lives for sure if it is not renewed, by a clock that runs on while the machine sleeps:
    /// counted from before the grant was asked for.
    public var certainUntil: ContinuousClock.Instant
}

/// A lease as the cluster sees it.
public struct LeaseStatus: Sendable, Hashable {
    public var id: LeaseID
    public var remaining: Duration
    public var granted: Duration
    /// The keys bound to it, if they were asked for.
    public var keys: [[UInt8]]
}

extension EtcdClient {
    /// A new lease.
    ///
    /// - Parameters:
    ///   - timeToLive: rounded up to whole seconds.
    ///   - id: the number it shall have; nil: one the client draws, so that a grant whose answer was lost is
    ///     asked for again without leaving a second lease behind.
    public func grantLease(
        timeToLive: Duration, id: LeaseID? = nil, timeout: Duration? = nil
    ) async throws -> Lease {
        var request = Etcdserverpb_LeaseGrantRequest()
        let (seconds, attoseconds) = timeToLive.components
        request.ttl = seconds + (attoseconds > 0 ? 1 : 0)
        let number = id ?? LeaseID(rawValue: Int64.random(in: 1...Int64.max))
        request.id = number.rawValue
        let begun = ContinuousClock.now
        do {
            let response = try await call(.leaseGrant, request, timeout: timeout, mayRepeat: id == nil)
            let granted = Duration.seconds(response.ttl)
            return Lease(id: LeaseID(rawValue: response.id), timeToLive: granted, certainUntil: begun + granted)
        } catch let error as EtcdError where id == nil && error.reason == .leaseExists {
            // Nobody else can have drawn this number: an earlier attempt was executed and its answer lost.
            // It may have been raised to the server's minimum; at least it lives as long as asked.
            let granted = Duration.seconds(request.ttl)
            return Lease(id: number, timeToLive: granted, certainUntil: begun + granted)
        }
    }

    /// Ends a lease; its keys are deleted, in one revision.
    public func revokeLease(_ lease: LeaseID, timeout: Duration? = nil) async throws {
        var request = Etcdserverpb_LeaseRevokeRequest()
        request.id = lease.rawValue
        _ = try await call(.leaseRevoke, request, timeout: timeout)
    }

    /// Renews a lease once. ``keepLease(_:)`` does it for as long as it is needed.
    ///
    /// - Returns: until when it lives for sure, counted from before it was asked; nil if there is no such lease.
    public func renewLease(_ lease: LeaseID, timeout: Duration? = nil) async throws -> Lease? {
        try await renewLease(
            lease, timeout: timeout ?? options.requestTimeout, attemptTimeout: options.attemptTimeout)
    }

    func renewLease(_ lease: LeaseID, timeout: Duration, attemptTimeout: Duration) async throws -> Lease? {
        var request = Etcdserverpb_LeaseKeepAliveRequest()
        request.id = lease.rawValue
        let (response, sentAt) = try await timedCall(
            .leaseKeepAlive, request, timeout: timeout, attemptTimeout: attemptTimeout)
        guard response.ttl > 0 else { return nil }
        let granted = Duration.seconds(response.ttl)
        return Lease(id: lease, timeToLive: granted, certainUntil: sentAt + granted)
    }

    /// - Returns: nil if there is no such lease.
    public func timeToLive(
        of lease: LeaseID, withKeys: Bool = false, timeout: Duration? = nil
    ) async throws -> LeaseStatus? {
        var request = Etcdserverpb_LeaseTimeToLiveRequest()
        request.id = lease.rawValue
        request.keys = withKeys
        let response = try await call(.leaseTimeToLive, request, timeout: timeout)
        guard response.ttl >= 0 else { return nil }
        return LeaseStatus(
            id: lease, remaining: .seconds(response.ttl), granted: .seconds(response.grantedTtl),
            keys: response.keys.map { Array($0) })
    }

    /// All leases.
    public func leases(timeout: Duration? = nil) async throws -> [LeaseID] {
        try await call(.leases, Etcdserverpb_LeaseLeasesRequest(), timeout: timeout).leases
            .map { LeaseID(rawValue: $0.id) }
    }
}
