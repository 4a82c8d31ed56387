/// What clients of one store saw, from every side: answers, reads of past revisions, watches.
///
/// Reads that may be stale (serializable ones), reads at a revision and watches tell of a past state; when they were asked for
/// says nothing about when that state was. They are held against the order that the other operations have, as witnesses.
public struct KeyValueHistory: Sendable {
    public private(set) var history = History<KeyValueModel.Call, KeyValueModel.Answer>()
    private var model: KeyValueModel
    /// The newest revision that anybody has seen.
    public private(set) var newest: Int64

    public init(keys: Int, revision: Int64 = 1) {
        model = KeyValueModel(keys: keys, revision: revision)
        newest = revision
    }

    /// Records a call of unknown outcome. Of a call that only reads, record what it showed (`append`).
    ///
    /// - Returns: which operation it is, for `answer`.
    public mutating func call(_ call: KeyValueModel.Call, by client: Int, at time: Int64) -> Int {
        history.call(call, by: client, at: time)
    }

    public mutating func answer(_ operation: Int, _ answer: KeyValueModel.Answer, at time: Int64) {
        history.answer(operation, answer, at: time)
        learn(from: history.operations[operation].call, answer)
    }

    /// Records an operation and its answer at once.
    public mutating func append(
        _ call: KeyValueModel.Call, by client: Int, calledAt: Int64, _ answer: KeyValueModel.Answer, at time: Int64
    ) {
        history.append(
            .init(client: client, call: call, calledAt: calledAt, answer: answer, answeredAt: time))
        learn(from: call, answer)
    }

    /// Records what somebody saw of a past state: a read that may be stale, or an event of a watch.
    public mutating func witness(
        _ witness: KeyValueModel.Witness, at revision: Int64, by client: Int, seenAt time: Int64
    ) {
        if revision <= model.initialState.revision {
            // No call leads to the first state: whoever is asked first must agree.
            guard case .read(let query, let page) = witness else { return }
            let answer = KeyValueModel.Answer.done(.page(page), revision: revision)
            return history.append(
                .init(client: client, call: .query(query), calledAt: .min, answer: answer, answeredAt: time))
        }
        model.witnesses.add(witness, at: revision)
        if case .read(_, let page) = witness { learn(from: .page(page)) }
        reach(revision, by: client, at: time)
    }

    /// Records that somebody has seen the store's revision.
    public mutating func reach(_ revision: Int64, by client: Int, at time: Int64) {
        guard revision > newest else { return }
        newest = revision
        history.append(
            .init(
                client: client, call: .reached(revision), calledAt: time,
                answer: .done(.nothing, revision: revision), answeredAt: time))
    }

    private mutating func learn(from call: KeyValueModel.Call, _ answer: KeyValueModel.Answer) {
        guard case .done(let outcome, let revision) = answer else { return }
        newest = max(newest, revision)
        learn(from: outcome)
        if case .query(let query) = call, query.revision > model.initialState.revision, query.revision < revision,
            case .page(let page) = outcome
        {
            model.witnesses.add(.read(query, page), at: query.revision)
        }
    }

    private mutating func learn(from outcome: KeyValueModel.Outcome) {
        outcome.visitFound { model.witnesses.add(.record($0), at: $0.modRevision) }
    }

    /// Whether all of it could have come from a store that does one thing after another.
    public func check(maximumSteps: Int = 2_000_000) -> Verdict {
        var model = model
        for operation in history.operations {
            guard case .done(let outcome, let revision) = operation.answer else { continue }
            model.ledger.addPuts(of: operation.call, outcome, at: revision)
            if case .query(let query) = operation.call, query.revision > 0 { continue }
            outcome.visitFound { model.ledger.add($0, seenAt: outcome.wrote ? revision - 1 : revision) }
        }
        model.witnesses.visit { witness, revision in
            switch witness {
            case .read(_, let page): for found in page.found { model.ledger.add(found, seenAt: revision) }
            case .record(let found): model.ledger.add(found, seenAt: revision)
            case .changes(_, let changes):
                for case let found? in changes.map(\.found) { model.ledger.add(found, seenAt: revision) }
            }
        }
        model.ledger.close()
        return checkLinearizability(of: history, against: model, maximumSteps: maximumSteps)
    }
}
