import Testing

@testable import Store

private let second: Int64 = 1_000_000_000

@Suite struct LeaseTests {
    private func grant(_ id: Int64, _ ttl: Int64) -> StoreCommand { .leaseGrant(LeaseGrantCommand(id: id, ttl: ttl)) }

    @Test func aRevocationDeletesTheKeysInOneRevisionSorted() throws {
        var store = try MemoryStore(history: MemoryHistory())
        #expect(try store.apply(grant(7, 60)) == .success(.leaseGrant(revision: 1, id: 7, ttl: 60)))
        try store.run(
            put("c", "1", lease: 7), put("a", "1", lease: 7), put("b", "1", lease: 7), put("d", "1", lease: 7))
        try store.run(put("d", "2"), delete("b"))
        _ = store.takeEvents()
        #expect(store.leases.keys(of: 7) == [bytes("a"), bytes("c")])
        #expect(try store.apply(.leaseRevoke(LeaseRevokeCommand(id: 7))) == .success(.leaseRevoke(revision: 8)))
        let events = store.takeEvents()
        #expect(events.map(\.key) == [bytes("a"), bytes("c")])
        #expect(events.map(\.revision) == [Revision(main: 8, sub: 0), Revision(main: 8, sub: 1)])
        #expect(try store.all() == ["d=2"])
        #expect(try store.apply(.leaseRevoke(LeaseRevokeCommand(id: 7))) == .failure(.leaseNotFound))
        try store.run(grant(8, 60))
        #expect(try store.apply(.leaseRevoke(LeaseRevokeCommand(id: 8))) == .success(.leaseRevoke(revision: 8)))
    }

    @Test func grantsAreCheckedAsEtcdDoes() throws {
        var store = try MemoryStore(history: MemoryHistory())
        #expect(try store.apply(grant(0, 60)) == .failure(.leaseNotFound))
        #expect(try store.apply(grant(1, 9_000_000_001)) == .failure(.leaseTTLTooLarge))
        try store.run(grant(1, 9_000_000_000))
        #expect(try store.apply(grant(1, 5)) == .failure(.leaseExists))
    }

    @Test func timeInWhichNobodyCouldRenewDoesNotCount() throws {
        var store = try MemoryStore(history: MemoryHistory())
        store.leases.promote(now: 0, extend: 0)
        try store.run(grant(1, 5), grant(2, 10))
        #expect(store.leases.expired(now: 0, limit: 9) == [])
        #expect(store.leases.expired(now: 6 * second, limit: 9) == [1])
        // From the 6th to the 106th second nothing was served.
        store.leases.extend(by: 100 * second, since: 6 * second)
        #expect(store.leases.renew(1, now: 106 * second) == .failure(.leaseNotFound), "it had run out before")
        #expect(try store.leases.timeToLive(2, now: 106 * second, keys: false).get().ttl == 4)
        #expect(!store.leases.expired(now: 109 * second, limit: 9).contains(2))
        #expect(store.leases.expired(now: 110 * second, limit: 9).contains(2))
    }

    @Test func leasesAndTheirKeysSurviveARestart() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(
            grant(1, 10), grant(2, 20), put("a", "1", lease: 1), put("b", "1", lease: 2), put("b", "2", lease: 1))
        try store.run(
            .leaseCheckpoint([LeaseCheckpoint(id: 2, remainingTTL: 5), LeaseCheckpoint(id: 9, remainingTTL: 5)]))
        let restarted = try MemoryStore(history: store.history)
        #expect(try restarted.digest() == store.digest())
        #expect(restarted.leases.ids == [1, 2] && restarted.leases.keys(of: 1) == [bytes("a"), bytes("b")])
        #expect(restarted.leases.keys(of: 2) == [])
        #expect(restarted.leases.needsCheckpointCleared(2))
    }

    @Test func onlyTheLeaderLetsLeasesRunOut() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(grant(1, 10), grant(2, 5))
        #expect(store.leases.renew(1, now: 0) == .failure(.notPrimary))
        #expect(store.leases.expired(now: 100 * second, limit: 9) == [])
        store.leases.promote(now: 100 * second, extend: second)
        #expect(store.leases.nextExpiry == 106 * second)
        try store.run(grant(3, 2))
        #expect(store.leases.expired(now: 101 * second, limit: 9) == [])
        #expect(
            store.leases.timeToLive(3, now: 102 * second, keys: false)
                == .success(LeaseTimeToLive(id: 3, ttl: 1, grantedTTL: 2, keys: [])))
        #expect(store.leases.renew(2, now: 104 * second) == .success(5))
        #expect(store.leases.expired(now: 108 * second, limit: 9) == [3])
        #expect(store.leases.renew(3, now: 108 * second) == .failure(.leaseNotFound))
        #expect(store.leases.expired(now: 110 * second, limit: 1) == [2])
        // Reported again until it is revoked; in the order they fell due.
        #expect(store.leases.expired(now: 111 * second, limit: 1) == [1])
        #expect(store.leases.expired(now: 111 * second, limit: 9) == [3])
        #expect(store.leases.expired(now: 113 * second, limit: 9) == [2])
        try store.run(.leaseRevoke(LeaseRevokeCommand(id: 3)))
        store.leases.demote()
        #expect(store.leases.expired(now: 900 * second, limit: 9) == [])
        #expect(store.leases.timeToLive(3, now: 0, keys: true) == .failure(.leaseNotFound))
    }

    @Test func renewingOftenDoesNotFillTheQueue() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(grant(1, 10))
        store.leases.promote(now: 0, extend: 0)
        for tick in 0..<1000 as Range<Int64> { #expect(store.leases.renew(1, now: tick * second / 10) == .success(10)) }
        #expect(store.leases.expired(now: 109 * second, limit: 9) == [])
        #expect(store.leases.expired(now: 110 * second, limit: 9) == [1])
    }

    @Test func checkpointsCarryTheRemainingTimeToTheNextLeader() throws {
        var store = try MemoryStore(history: MemoryHistory())
        store.leases.checkpointInterval = 300 * second
        try store.run(grant(1, 1000), grant(2, 100))
        store.leases.promote(now: 0, extend: 0)
        #expect(store.leases.checkpointsDue(now: 299 * second, limit: 9) == [])
        let due = store.leases.checkpointsDue(now: 300 * second, limit: 9)
        #expect(due == [LeaseCheckpoint(id: 1, remainingTTL: 700)])
        try store.run(.leaseCheckpoint(due))
        #expect(store.leases.checkpointsDue(now: 600 * second, limit: 9) == [LeaseCheckpoint(id: 1, remainingTTL: 400)])
        store.leases.demote()
        store.leases.promote(now: 0, extend: 0)
        #expect(try store.leases.timeToLive(1, now: 0, keys: false).get().ttl == 700)
        #expect(store.leases.renew(1, now: 0) == .success(1000))
    }

    @Test func aNewLeaderSpreadsLeasesThatWouldRunOutTogether() throws {
        var store = try MemoryStore(history: MemoryHistory())
        for id in 1...3000 as ClosedRange<Int64> { try store.run(grant(id, 10)) }
        store.leases.promote(now: 0, extend: 0)
        #expect(store.leases.expired(now: 10 * second, limit: 9999).count == 1)
        #expect(store.leases.expired(now: 11 * second, limit: 9999).count <= 750)
        var table = store.leases
        #expect(table.expired(now: 14 * second, limit: 9999).count >= 2240)
    }
}
