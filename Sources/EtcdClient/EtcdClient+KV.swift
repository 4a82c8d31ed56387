import EtcdAPI

/// The key-value store. All of these throw ``EtcdError`` or `CancellationError`; `timeout` is for all attempts
/// together, and nil takes the client's.
extension EtcdClient {
    /// Reads a key or a range. Linearizable unless the options say otherwise: it sees every write that was
    /// acknowledged, to anyone, before it began.
    public func get(
        _ range: KeyRange, options: GetOptions = GetOptions(), timeout: Duration? = nil
    ) async throws -> GetResponse {
        GetResponse(
            try await call(
                .range, Etcdserverpb_RangeRequest(range, options), timeout: timeout,
                needsLeader: !options.isSerializable))
    }

    /// Writes a key.
    ///
    /// - Parameters:
    ///   - lease: the lease whose end deletes the key; without one the key is bound to none from now on.
    ///   - keepsLease: the key keeps the lease it has instead; an error if there is no such key.
    ///   - wantsPrevious: answer what the key was before.
    @discardableResult
    public func put(
        _ key: some EtcdBytes, _ value: some EtcdBytes, lease: LeaseID? = nil, keepsLease: Bool = false,
        wantsPrevious: Bool = false, timeout: Duration? = nil
    ) async throws -> PutResponse {
        let request = Etcdserverpb_PutRequest(
            key: key.etcdBytes, value: value.etcdBytes, lease: lease, keepsLease: keepsLease,
            wantsPrevious: wantsPrevious)
        return PutResponse(try await call(.put, request, timeout: timeout))
    }

    /// Writes a key with the value it has: a new revision, under another lease or none. An error if there is no such key.
    @discardableResult
    public func touch(
        _ key: some EtcdBytes, lease: LeaseID? = nil, wantsPrevious: Bool = false, timeout: Duration? = nil
    ) async throws -> PutResponse {
        let request = Etcdserverpb_PutRequest(
            key: key.etcdBytes, value: nil, lease: lease, keepsLease: false, wantsPrevious: wantsPrevious)
        return PutResponse(try await call(.put, request, timeout: timeout))
    }

    /// Deletes a key or a range, in one revision.
    @discardableResult
    public func delete(
        _ range: KeyRange, wantsPrevious: Bool = false, timeout: Duration? = nil
    ) async throws -> DeleteResponse {
        let request = Etcdserverpb_DeleteRangeRequest(range, wantsPrevious: wantsPrevious)
        return DeleteResponse(try await call(.deleteRange, request, timeout: timeout))
    }

    /// Forgets all that was overwritten or deleted before `revision`.
    ///
    /// - Parameter physically: answer only when it is gone from the disk of the member asked.
    @discardableResult
    public func compact(
        to revision: Int64, physically: Bool = false, timeout: Duration? = nil
    ) async throws -> ResponseHeader {
        var request = Etcdserverpb_CompactionRequest()
        request.revision = revision
        request.physical = physically
        return ResponseHeader(try await call(.compact, request, timeout: timeout).header)
    }
}
