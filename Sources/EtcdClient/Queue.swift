import EtcdAPI

/// The order that locks and elections stand in, laid out as etcd's own clients do, so that all of them can contend
/// with each other: each contender has one key, `NAME/LEASE-IN-HEX`, bound to its lease, and the key that was
/// created first is the owner's. A contender waits for the key just before its own, so that an owner
/// that goes wakes one and not all.
struct Queue: Sendable {
    let client: EtcdClient
    let prefix: [UInt8]

    init(client: EtcdClient, name: [UInt8]) {
        self.client = client
        prefix = name + [UInt8(ascii: "/")]
    }

    func key(of lease: LeaseID) -> [UInt8] { prefix + Array("\(lease)".utf8) }

    /// Puts the lease's key in, or finds the one it has.
    ///
    /// - Returns: the key as it stands, and whether it is the first.
    func enter(
        _ lease: LeaseID, value: [UInt8], timeout: Duration? = nil
    ) async throws -> (place: Place, isOwner: Bool) {
        let key = key(of: lease)
        let entering = Transaction.if(.isAbsent(key))
            .then(.put(key, value, lease: lease), owner)
            .else(.get(.key(key)), owner)
        // In a task of its own, which is not cancelled: a key of which nobody knows would stand in the way
        // for as long as the lease lives.
        let entry = try await Task {
            try await client.commit(entering, timeout: timeout, mayRepeat: true)
        }.value
        let present = entry.succeeded ? nil : entry.get(0)?.first
        let revision = present?.createRevision ?? entry.header.revision
        let place = Place(
            client: client, key: key, revision: revision, lease: lease, value: present?.value ?? value)
        // A transaction's own put is seen by the gets after it.
        return (place, entry.get(1)?.first?.createRevision == revision)
    }

    private var owner: Transaction.Operation {
        .get(.prefix(prefix), options: .first(by: .createRevision))
    }

    /// Returns when no key stands before this one.
    func waitForTurn(_ place: Place) async throws {
        while let (before, readAt) = try await keyBefore(place) {
            let watch = client.watch(.key(before), from: readAt + 1)
            updates: for try await update in watch {
                switch update {
                case .events(let events) where events.contains { $0.kind == .delete }: break updates
                case .compacted: break updates
                default: continue
                }
            }
        }
    }

    /// The key just before this one and the revision at which it was read; nil: this one is the first.
    private func keyBefore(_ place: Place) async throws -> (key: [UInt8], readAt: Int64)? {
        var options = GetOptions.first(by: .createRevision, .descending)
        options.maxCreateRevision = place.revision - 1
        options.keysOnly = true
        let reading = Transaction.if(place.condition).then(.get(.prefix(prefix), options: options))
        // However long it takes: the caller waits no longer than the lease lives.
        let read = try await client.untilAnswered { try await client.commit(reading) }
        guard read.succeeded else { throw place.lost }
        return read.get(0)?.first.map { ($0.key, read.header.revision) }
    }

    /// Waits for the turn for as long as the lease is kept. Leaves the queue if it comes to nothing.
    func takeTurn(_ place: Place, isOwner: Bool, under keeper: LeaseKeeper) async throws {
        do {
            try Task.checkCancellation()
            if isOwner { return }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await waitForTurn(place) }
                group.addTask {
                    let loss = try await keeper.waitUntilLost()
                    throw EtcdError(.failedPrecondition, "the lease \(keeper.lease) was lost while waiting: \(loss)")
                }
                defer { group.cancelAll() }
                try await group.next()
            }
        } catch {
            // In a task of its own: this one may be cancelled, and the place would block those behind it. Not for long: if
            // the cluster is away, the lease's end takes the place away.
            await Task { try? await place.leave(timeout: .seconds(2)) }.value
            throw error
        }
    }
}

/// A contender's key.
struct Place: Sendable, Hashable {
    let client: EtcdClient
    let key: [UInt8]
    /// That created the key.
    let revision: Int64
    let lease: LeaseID
    let value: [UInt8]

    /// The key is still the one that was put in.
    var condition: Transaction.Compare { .createRevision(.key(key), .equal, revision) }

    var lost: EtcdError {
        EtcdError(.failedPrecondition, "the key \(String(decoding: key, as: UTF8.self)) is gone: its lease has ended")
    }

    /// Takes the key away, if it is still there.
    func leave(timeout: Duration? = nil) async throws {
        _ = try await client.commit(
            Transaction.if(condition).then(.delete(.key(key))), timeout: timeout, mayRepeat: true)
    }

    static func == (a: Place, b: Place) -> Bool { a.key == b.key && a.revision == b.revision }
    func hash(into hasher: inout Hasher) {
        hasher.combine(key)
        hasher.combine(revision)
    }
}
