import Testing

@testable import Store

@Suite struct AlarmTests {
    private func alarm(_ action: AlarmCommand.Action, _ kind: Alarm.Kind, _ member: UInt64 = 1) -> StoreCommand {
        .alarm(AlarmCommand(action, Alarm(kind, member: member)))
    }

    private var nestedPut: StoreCommand {
        let inner = TransactionCommand(failure: [.put(PutCommand(key: bytes("k"), value: []))])
        return .transaction(TransactionCommand(success: [.transaction(inner)]))
    }

    private let growing: [StoreCommand] = [
        put("k", "v"), .leaseGrant(LeaseGrantCommand(id: 9, ttl: 60)),
        // Whichever branch is taken, as in etcd.
        .transaction(
            TransactionCommand(
                compares: [Compare(key: bytes("k"), .version(99))],
                success: [.put(PutCommand(key: bytes("k"), value: []))])),
    ]
    private let shrinking: [StoreCommand] = [
        delete("a"), .compact(CompactCommand(revision: 2)), .leaseRevoke(LeaseRevokeCommand(id: 5)),
        .transaction(
            TransactionCommand(success: [.deleteRange(DeleteRangeCommand(key: bytes("b")))])),
    ]

    private func store() throws -> MemoryStore {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(put("a", "1"), put("b", "2"), .leaseGrant(LeaseGrantCommand(id: 5, ttl: 60)))
        return store
    }

    @Test func withoutSpaceNothingGrowsAndTheRestGoesOn() throws {
        var store = try store()
        try store.run(alarm(.activate, .noSpace, 7))
        let revision = store.revision
        for command in growing + [nestedPut] { #expect(try store.apply(command) == .failure(.noSpace), "\(command)") }
        #expect(store.revision == revision)
        for command in shrinking { _ = try store.apply(command).get() }
        #expect(try store.all() == [])
        // Another member's alarm still stands.
        try store.run(alarm(.activate, .noSpace, 8), alarm(.deactivate, .noSpace, 7))
        #expect(try store.apply(put("k", "v")) == .failure(.noSpace))
        try store.run(alarm(.deactivate, .noSpace, 8), put("k", "v"))
        #expect(StoreError.noSpace.message == "etcdserver: mvcc: database space exceeded")
    }

    @Test func aCorruptClusterChangesNothing() throws {
        var store = try store()
        try store.run(alarm(.activate, .noSpace), alarm(.activate, .corrupt))
        for command in growing + shrinking { #expect(try store.apply(command) == .failure(.corrupt), "\(command)") }
        #expect(try store.all() == ["a=1", "b=2"])
        try store.run(alarm(.deactivate, .corrupt))
        #expect(try store.apply(put("k", "v")) == .failure(.noSpace))
    }

    @Test func alarmsAnswerWhatIsOrWasActiveAndChangeNoRevision() throws {
        var store = try store()
        let revision = store.revision
        let alarm7 = Alarm(.noSpace, member: 7)
        let answered = CommandResult.alarm(revision: revision, [alarm7])
        #expect(try store.apply(alarm(.activate, .noSpace, 7)) == .success(answered))
        #expect(try store.apply(alarm(.activate, .noSpace, 7)) == .success(answered))
        #expect(try store.apply(alarm(.deactivate, .noSpace, 7)) == .success(answered))
        #expect(
            try store.apply(alarm(.deactivate, .noSpace, 7)) == .success(.alarm(revision: revision, [])))
        #expect(store.revision == revision)
    }

    @Test func alarmsAreFoundAgainInTheHistoryAndPartOfTheDigest() throws {
        var store = try store()
        let quiet = try store.digest()
        try store.run(alarm(.activate, .corrupt, 2), alarm(.activate, .noSpace, .max), alarm(.activate, .noSpace, 1))
        let expected = [Alarm(.noSpace, member: 1), Alarm(.noSpace, member: .max), Alarm(.corrupt, member: 2)]
        #expect(store.alarms == expected)
        let again = try MemoryStore(history: store.history)
        #expect(again.alarms == expected)
        #expect(try again.digest() == store.digest() && store.digest() != quiet)
        for alarm in expected { try store.run(.alarm(AlarmCommand(.deactivate, alarm))) }
        #expect(try store.digest() == quiet && MemoryStore(history: store.history).alarms == [])
    }

    @Test func aNoteThatIsNoAlarmIsRefused() throws {
        var history = MemoryHistory()
        history.setNote(bytes("store/alarm/") + [9] + [UInt8](repeating: 0, count: 8), [1])
        #expect(throws: CodecError.self) { try MemoryStore(history: history) }
    }

    @Test func aHistoryInMemoryKnowsItsSize() throws {
        var store = try store()
        let before = store.history.byteCount
        try store.run(put("a", "a longer value"), .compact(CompactCommand(revision: store.revision + 1)))
        #expect(store.history.byteCount > before)
        while store.compactStep(budget: 10) {}
        let records = try ["a", "b"].map { try store.range(RangeQuery(key: bytes($0))).get().kvs[0].count }
        #expect(store.history.byteCount == records.reduce(0, +))
    }
}
