import Testing

@testable import Linearizability

@Suite struct KeyValueTests {
    typealias Model = KeyValueModel

    static func draw(keys: Int, _ random: inout TestRandom) -> Model.Call {
        let key = random.below(keys)
        let range = random.chance(30) ? 0..<keys : key..<key + 1
        let put = Model.Put(key, random.next() >> 40, wantsPrevious: random.chance(30))
        switch random.below(10) {
        case ..<3: return .put(put)
        case ..<6: return .query(.init(keys: range, limit: random.below(3)))
        case ..<8: return .delete(.init(range, wantsPrevious: random.chance(30)))
        default:
            let relations: [Model.Condition.Relation] = [.equal, .greater, .less, .notEqual]
            let condition = Model.Condition(
                range, relations[random.below(4)],
                random.chance(50) ? .version(Int64(random.below(3))) : .modRevision(Int64(random.below(6))))
            return .transaction(
                .init(
                    if: [condition], then: [.put(put), .query(.init(keys: 0..<keys))],
                    else: [.delete(.init(key..<key + 1))]))
        }
    }

    /// What a store that does one thing after another answers.
    static func answer(_ call: Model.Call, _ state: Model.State) -> (Model.Answer, Model.State) {
        var work = Model.Work(state)
        switch work.perform(call) {
        case .failure(let refusal): return (.refused(refusal, revision: state.revision), state)
        case .success(let outcome):
            let revision = state.revision + (work.changes.isEmpty ? 0 : 1)
            // The model itself says what the state is; without an answer it takes any.
            let after = Model(keys: state.slots.count).apply(call, answered: nil, to: state) ?? state
            return (.done(outcome, revision: revision), after)
        }
    }

    private func found(_ key: Int, _ value: UInt64, _ create: Int64, _ mod: Int64, _ version: Int64) -> Model.Found {
        Model.Found(key, value, createRevision: create, modRevision: mod, version: version)
    }
    private func page(_ found: Model.Found..., more: Bool = false, count: Int? = nil) -> Model.Outcome {
        .page(Model.Page(found, more: more, count: count))
    }

    // MARK: The model

    @Test func aKeysVersionsAndRevisionsAreThoseOfItsWrites() {
        var history = KeyValueHistory(keys: 2)
        history.append(.put(.init(0, 10)), by: 1, calledAt: 1, .done(.put(previous: nil), revision: 2), at: 2)
        history.append(.put(.init(1, 11)), by: 1, calledAt: 3, .done(.put(previous: nil), revision: 3), at: 4)
        history.append(
            .put(.init(0, 12, wantsPrevious: true)), by: 1, calledAt: 5,
            .done(.put(previous: found(0, 10, 2, 2, 1)), revision: 4), at: 6)
        let all = Model.Call.query(.init(keys: 0..<2))
        history.append(
            all, by: 2, calledAt: 7, .done(page(found(0, 12, 2, 4, 2), found(1, 11, 3, 3, 1)), revision: 4), at: 8)
        #expect(history.check().isLinearizable)
        history.append(
            all, by: 2, calledAt: 9, .done(page(found(0, 12, 2, 4, 3), found(1, 11, 3, 3, 1)), revision: 4), at: 10)
        #expect(history.check().explanation != nil, "a wrong version")
    }

    @Test func aQueryFiltersSortsAndCutsAsAsked() {
        var history = KeyValueHistory(keys: 4)
        for key in 0..<4 {
            let revision = Int64(key) + 2
            history.append(
                .put(.init(key, UInt64(9 - key))), by: 1, calledAt: revision,
                .done(.put(previous: nil), revision: revision),
                at: revision)
        }
        func ask(_ query: Model.Query, _ outcome: Model.Outcome) -> Bool {
            var asked = history
            asked.append(.query(query), by: 1, calledAt: 10, .done(outcome, revision: 5), at: 11)
            return asked.check().isLinearizable
        }
        func key(_ key: Int) -> Model.Found {
            let revision = Int64(key) + 2
            return found(key, UInt64(9 - key), revision, revision, 1)
        }
        var bare = key(2)
        bare.value = nil
        #expect(ask(.init(keys: 0..<4, limit: 2), page(key(0), key(1), more: true, count: 4)))
        #expect(!ask(.init(keys: 0..<4, limit: 2), page(key(0), key(1), more: false, count: 4)))
        #expect(ask(.init(keys: 1..<4, order: .value), page(key(3), key(2), key(1))))
        #expect(ask(.init(keys: 1..<4, descending: true), page(key(3), key(2), key(1))))
        #expect(ask(.init(keys: 0..<4, countOnly: true), page(count: 4)))
        #expect(ask(.init(keys: 0..<4, keysOnly: true, modRevisions: 4...4), page(bare, count: 4)))
        #expect(ask(.init(keys: 0..<4, createRevisions: 3...4), page(key(1), key(2), count: 4)))
        #expect(!ask(.init(keys: 0..<4, createRevisions: 3...4), page(key(1), count: 4)))
    }

    @Test func aTransactionJudgesBeforeItWritesAndReadsWhatItWrote() {
        var history = KeyValueHistory(keys: 2)
        let inner = Model.Transaction(
            if: [.init(0..<1, .equal, .version(0))], then: [.put(.init(1, 6))], else: [.delete(.init(0..<2))])
        let outer = Model.Transaction(
            if: [.init(0..<2, .equal, .createRevision(0)), .init(0..<1, .less, .modRevision(1))],
            then: [.put(.init(0, 5)), .transaction(inner), .query(.init(keys: 0..<2))])
        let outcome = Model.Outcome.transaction(
            succeeded: true,
            [
                .put(previous: nil), .transaction(succeeded: true, [.put(previous: nil)]),
                page(found(0, 5, 2, 2, 1), found(1, 6, 2, 2, 1)),
            ])
        history.append(.transaction(outer), by: 1, calledAt: 1, .done(outcome, revision: 2), at: 2)
        #expect(history.check().isLinearizable)
        let value = Model.Transaction(
            if: [.init(0..<1, .equal, .value(5))], then: [.delete(.init(0..<2, wantsPrevious: true))])
        history.append(
            .transaction(value), by: 1, calledAt: 3,
            .done(
                .transaction(
                    succeeded: true, [.deleted(2, previous: [found(0, 5, 2, 2, 1), found(1, 6, 2, 2, 1)])]),
                revision: 3), at: 4)
        #expect(history.check().isLinearizable)
        // A key that is not there has no value.
        history.append(
            .transaction(.init(if: [.init(0..<1, .notEqual, .value(5))], then: [], else: [])), by: 1, calledAt: 5,
            .done(.transaction(succeeded: true, []), revision: 3), at: 6)
        #expect(history.check().explanation != nil)
    }

    @Test func aPutThatKeepsWhatIsNotThereIsRefused() {
        var history = KeyValueHistory(keys: 1)
        let keep = Model.Call.put(.init(0, 0, keepsValue: true))
        history.append(keep, by: 1, calledAt: 1, .refused(.keyNotFound, revision: 1), at: 2)
        history.append(.put(.init(0, 4)), by: 1, calledAt: 3, .done(.put(previous: nil), revision: 2), at: 4)
        history.append(keep, by: 1, calledAt: 5, .done(.put(previous: nil), revision: 3), at: 6)
        history.append(
            .query(.init(keys: 0..<1)), by: 1, calledAt: 7, .done(page(found(0, 4, 2, 3, 2)), revision: 3), at: 8)
        #expect(history.check().isLinearizable)
        history.append(keep, by: 1, calledAt: 9, .refused(.keyNotFound, revision: 3), at: 10)
        #expect(history.check().explanation != nil)
    }

    @Test func aLeaseTakesItsKeysWithIt() {
        var history = KeyValueHistory(keys: 3)
        history.append(.put(.init(0, 1, lease: 7)), by: 1, calledAt: 1, .done(.put(previous: nil), revision: 2), at: 2)
        history.append(.put(.init(2, 1, lease: 7)), by: 1, calledAt: 3, .done(.put(previous: nil), revision: 3), at: 4)
        history.append(.put(.init(2, 2)), by: 1, calledAt: 5, .done(.put(previous: nil), revision: 4), at: 6)
        _ = history.call(.revoke(lease: 7), by: 0, at: 7)
        var other = history
        history.append(
            .query(.init(keys: 0..<3)), by: 1, calledAt: 8, .done(page(found(2, 2, 3, 4, 2)), revision: 5), at: 9)
        #expect(history.check().isLinearizable)
        other.append(.query(.init(keys: 0..<3)), by: 1, calledAt: 8, .done(page(), revision: 5), at: 9)
        #expect(other.check().explanation != nil, "a key that had left the lease")
    }

    // MARK: Unanswered calls and witnesses

    /// Two puts nobody was answered about, and a revision that one of them made.
    private func twoUnanswered() -> KeyValueHistory {
        var history = KeyValueHistory(keys: 2)
        _ = history.call(.put(.init(0, 5)), by: 1, at: 1)
        _ = history.call(.put(.init(1, 6)), by: 2, at: 1)
        history.append(.put(.init(0, 7)), by: 3, calledAt: 2, .done(.put(previous: nil), revision: 3), at: 3)
        return history
    }

    @Test func aMissingRevisionIsThatOfAnUnansweredCall() {
        var history = twoUnanswered()
        #expect(history.check().isLinearizable)
        history.append(.put(.init(0, 8)), by: 3, calledAt: 4, .done(.put(previous: nil), revision: 6), at: 5)
        #expect(history.check().explanation != nil, "revisions 4 and 5 have only one call that could have made them")
    }

    @Test func aPastReadTellsWhichCallItWas() {
        var history = twoUnanswered()
        history.witness(.read(.init(keys: 0..<2), Model.Page([found(1, 6, 2, 2, 1)])), at: 2, by: 4, seenAt: 9)
        #expect(history.check().isLinearizable)
        history.append(
            .query(.init(keys: 0..<1, revision: 2)), by: 4, calledAt: 10,
            .done(page(found(0, 5, 2, 2, 1)), revision: 3),
            at: 11)
        #expect(history.check().explanation != nil, "revision 2 cannot have been both")
    }

    @Test func aWatchTellsWhatARevisionChanged() {
        var history = twoUnanswered()
        history.witness(.changes(0..<1, [.init(key: 0, found: found(0, 5, 2, 2, 1))]), at: 2, by: 4, seenAt: 9)
        #expect(history.check().isLinearizable)
        var other = history
        history.witness(.changes(1..<2, [.init(key: 1, found: found(1, 6, 2, 2, 1))]), at: 2, by: 5, seenAt: 9)
        #expect(history.check().explanation != nil, "one revision, two puts that were no transaction")
        other.witness(.changes(0..<2, []), at: 3, by: 5, seenAt: 9)
        #expect(other.check().explanation != nil, "a watch that has skipped an event")
    }

    @Test func aPastStateIsSeenOnlyOnceItIsThere() {
        var history = KeyValueHistory(keys: 1)
        history.witness(.read(.init(keys: 0..<1), Model.Page([found(0, 5, 2, 2, 1)])), at: 2, by: 4, seenAt: 3)
        _ = history.call(.put(.init(0, 5)), by: 1, at: 2)
        #expect(history.check().isLinearizable)
        var early = KeyValueHistory(keys: 1)
        early.witness(.read(.init(keys: 0..<1), Model.Page([found(0, 5, 2, 2, 1)])), at: 2, by: 4, seenAt: 3)
        _ = early.call(.put(.init(0, 5)), by: 1, at: 4)
        #expect(early.check().explanation != nil)
    }

    @Test func theFirstStateIsEmptyForEverybody() {
        var history = KeyValueHistory(keys: 1)
        history.witness(.read(.init(keys: 0..<1), Model.Page([])), at: 1, by: 4, seenAt: 3)
        #expect(history.check().isLinearizable)
        history.witness(.read(.init(keys: 0..<1), Model.Page([found(0, 5, 1, 1, 1)])), at: 1, by: 4, seenAt: 3)
        #expect(history.check().explanation != nil)
    }

    // MARK: Size

    /// Ten thousand operations, up to twelve at a time, one in twenty without an answer.
    @Test func aLongHistoryIsDecidedWithHardlyAChoice() {
        var random = TestRandom(9)
        let model = Model(keys: 16)
        let operations = randomHistory(
            model, count: 10_000, overlap: 60, unanswered: 5, &random, draw: { Self.draw(keys: 16, &$0) },
            answer: Self.answer)
        var history = KeyValueHistory(keys: 16)
        for operation in operations {
            if let answer = operation.answer {
                history.append(
                    operation.call, by: operation.client % 12, calledAt: operation.calledAt, answer,
                    at: operation.answeredAt)
            } else {
                _ = history.call(operation.call, by: operation.client % 12, at: operation.calledAt)
            }
        }
        let start = ContinuousClock.now
        let verdict = history.check(maximumSteps: 1_000_000)
        print("10,000 operations of a store were judged in \(ContinuousClock.now - start)")
        #expect(verdict.isLinearizable, "\(verdict)")
    }
}
