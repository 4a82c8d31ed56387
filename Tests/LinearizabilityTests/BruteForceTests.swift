import Testing

@testable import Linearizability

/// The search and a plain one agree about thousands of small histories, right and wrong ones.
@Suite struct BruteForceTests {
    private func verdict<Model: SequentialModel>(
        _ operations: [History<Model.Call, Model.Answer>.Operation], _ model: Model
    ) -> Bool {
        var history = History<Model.Call, Model.Answer>()
        for operation in operations { history.append(operation) }
        return checkLinearizability(of: history, against: model).isLinearizable
    }

    /// - Returns: whether the history is linearizable, on which both have to agree; one that happened is.
    private func compare<Model: SequentialModel>(
        _ operations: [History<Model.Call, Model.Answer>.Operation], _ model: Model, isDoctored: Bool, _ round: Int
    ) -> Bool {
        let expected = isLinearizableByBruteForce(operations, model)
        #expect(isDoctored || expected, "round \(round): the model denies what happened")
        #expect(verdict(operations, model) == expected, "round \(round): \(operations)")
        return expected
    }

    @Test func aboutRegisters() {
        var random = TestRandom(1)
        var right = 0
        let model = RegisterModel()
        for round in 0..<4_000 {
            var operations = randomHistory(
                model, count: 2 + random.below(6), overlap: 40, unanswered: 20, &random,
                draw: { random in
                    switch random.below(4) {
                    case 0: .read
                    case 1: .compareAndSet(expected: random.below(3), new: random.below(3))
                    default: .write(random.below(3))
                    }
                },
                answer: { call, state in
                    switch call {
                    case .read: (.value(state), state)
                    case .write(let value): (.written, value)
                    case .compareAndSet(let expected, let new):
                        (.compared(state == expected), state == expected ? new : state)
                    }
                })
            let isDoctored = random.chance(60)
            if isDoctored {
                let place = random.below(operations.count)
                if case .value = operations[place].answer { operations[place].answer = .value(random.below(3)) }
                if case .compared(let done) = operations[place].answer { operations[place].answer = .compared(!done) }
            }
            operations.shuffle(using: &random)
            if compare(operations, model, isDoctored: isDoctored, round) { right += 1 }
        }
        #expect(right > 1_000 && right < 3_900, "\(right) of 4,000 were right: the comparison is one-sided")
    }

    @Test func aboutVersionedRegisters() {
        var random = TestRandom(2)
        var right = 0
        let model = VersionedRegister()
        for round in 0..<4_000 {
            var revision: Int64 = 0
            var operations = randomHistory(
                model, count: 2 + random.below(6), overlap: 40, unanswered: 20, &random,
                draw: { random in
                    switch random.below(5) {
                    case 0, 1: .get
                    case 2: .delete
                    case 3: .putIf(modRevision: Int64(random.below(4) * 2), UInt64(random.below(5)))
                    default: .put(UInt64(random.below(5)))
                    }
                },
                answer: { call, state in
                    revision += 2
                    let put = { (value: UInt64) -> (VersionedRegister.Answer, VersionedRegister.State) in
                        (
                            .put(revision),
                            .init(value: value, version: state.version + 1, modRevision: revision, knownRevision: 0)
                        )
                    }
                    let now = state.modRevision ?? 0
                    switch call {
                    case .get where state.version == 0: return (.absent, state)
                    case .get: return (.found(value: state.value, version: state.version, modRevision: now), state)
                    case .delete where state.version == 0: return (.deleted(nil), state)
                    case .delete: return (.deleted(revision), .init())
                    case .put(let value): return put(value)
                    case .putIf(let expected, let value): return now == expected ? put(value) : (.refused, state)
                    }
                })
            let isDoctored = random.chance(60)
            if isDoctored {
                let place = random.below(operations.count)
                switch operations[place].answer {
                case .found(let value, let version, let revision):
                    operations[place].answer = .found(value: value, version: version, modRevision: revision - 2)
                case .put(let revision): operations[place].answer = .put(revision - 3)
                case .absent: operations[place].answer = .found(value: 1, version: 1, modRevision: 2)
                default: break
                }
            }
            operations.shuffle(using: &random)
            if compare(operations, model, isDoctored: isDoctored, round) { right += 1 }
        }
        #expect(right > 1_000 && right < 3_900, "\(right) of 4,000 were right: the comparison is one-sided")
    }

    @Test func aboutTransactions() {
        var random = TestRandom(3)
        var right = 0
        let model = KeyValueModel(keys: 3)
        for round in 0..<4_000 {
            var operations = randomHistory(
                model, count: 2 + random.below(5), overlap: 40, unanswered: 25, &random,
                draw: { KeyValueTests.draw(keys: 3, &$0) }, answer: KeyValueTests.answer)
            let isDoctored = random.chance(60)
            if isDoctored {
                let place = random.below(operations.count)
                if case .done(let outcome, let revision) = operations[place].answer {
                    operations[place].answer = .done(outcome, revision: revision + (random.chance(50) ? 1 : -1))
                }
            }
            operations.shuffle(using: &random)
            if compare(operations, model, isDoctored: isDoctored, round) { right += 1 }
        }
        #expect(right > 1_000 && right < 3_900, "\(right) of 4,000 were right: the comparison is one-sided")
    }
}
