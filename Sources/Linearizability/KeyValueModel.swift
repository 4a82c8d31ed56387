/// A small key space of a store like etcd: versions, revisions, conditions on them, several keys in one transaction.
///
/// Keys and values are numbers: name yours so that the order of the numbers is that of the keys or values. Every command
/// that changes something makes the next revision, so that answers, which carry revisions, leave the search hardly a choice:
/// only where a revision is missing among the answers one of the unanswered commands must have made it. Which one it was is
/// narrowed down by what later answers, past reads and watches show of that revision (`Witness`).
///
/// Leases are known as far as keys are attached to them; how long they live is for others to check.
public struct KeyValueModel: SequentialModel, Sendable {
    /// One key's record. Version 0: there is none.
    struct Slot: Sendable, Hashable {
        var value: UInt64 = 0
        var createRevision: Int64 = 0
        var modRevision: Int64 = 0
        var version: Int64 = 0
        var lease: Int64 = 0
    }

    public struct State: Sendable, Hashable {
        public fileprivate(set) var revision: Int64
        private(set) var slots: [Slot]
        /// The sum of the slots' hashes.
        private var digest: UInt64 = 0

        init(revision: Int64, keys: Int) {
            self.revision = revision
            slots = Array(repeating: Slot(), count: keys)
        }

        mutating func set(_ key: Int, _ slot: Slot) {
            digest = digest &- Self.hash(key, slots[key]) &+ Self.hash(key, slot)
            slots[key] = slot
        }

        private static func hash(_ key: Int, _ slot: Slot) -> UInt64 {
            var mixed = UInt64(truncatingIfNeeded: key) &+ 1
            for word in [slot.value, UInt64(bitPattern: slot.modRevision), UInt64(bitPattern: slot.version)] {
                mixed = (mixed ^ word) &* 0x9e37_79b9_7f4a_7c15
                mixed ^= mixed >> 29
            }
            return mixed
        }

        public static func == (a: State, b: State) -> Bool {
            a.revision == b.revision && a.digest == b.digest && a.slots == b.slots
        }

        public func hash(into hasher: inout Hasher) {
            hasher.combine(revision)
            hasher.combine(digest)
        }
    }

    public let initialState: State
    var witnesses = Witnesses()
    var ledger: Ledger

    /// - Parameters:
    ///   - keys: there are keys `0 ..< keys`.
    ///   - revision: of the empty store.
    public init(keys: Int, revision: Int64 = 1) {
        initialState = State(revision: revision, keys: keys)
        ledger = Ledger(keys: keys)
    }

    public func apply(_ call: Call, answered answer: Answer?, to state: State) -> State? {
        switch answer {
        case nil:
            guard mayBe(call, at: state.revision + 1) else { return nil }
            var work = Work(state)
            // An unanswered command that would have been refused is one that need not be used.
            guard case .success = work.perform(call) else { return state }
            if work.changes.contains(where: { ledger.isClosed($0.key, at: state.revision + 1) }) { return nil }
            return finished(work, state)
        case .refused(let refusal, let revision):
            if let revision, revision != state.revision { return nil }
            return admits(refusal, of: call, in: state) ? state : nil
        case .done(let outcome, let revision):
            switch call {
            case .reached(let seen):
                return seen <= state.revision ? state : nil
            case .query(let query) where query.revision > 0 && query.revision < state.revision:
                // The past is a witness's business, but for the very first state.
                if query.revision <= initialState.revision, outcome != .page(initialState.page(query)) { return nil }
                return revision == state.revision ? state : nil
            default:
                guard revision == state.revision || revision == state.revision + 1 else { return nil }
                var work = Work(state)
                guard case .success(let expected) = work.perform(call), expected == outcome,
                    revision == (work.changes.isEmpty ? state.revision : state.revision + 1)
                else { return nil }
                return finished(work, state)
            }
        }
    }

    /// Whether an unanswered call can have made a revision, as far as can be told without trying.
    private func mayBe(_ call: Call, at revision: Int64) -> Bool {
        if case .put(let put) = call, ledger.isClosed(put.key, at: revision) { return false }
        return witnesses.mayBe(call, at: revision)
    }

    private func finished(_ work: Work, _ state: State) -> State? {
        if work.changes.isEmpty { return state }
        var after = work.state
        after.revision = state.revision + 1
        return witnesses.agree(with: work.changes, after) ? after : nil
    }

    private func admits(_ refusal: Refusal, of call: Call, in state: State) -> Bool {
        switch refusal {
        case .other:
            return true
        case .futureRevision:
            guard case .query(let query) = call else { return false }
            return query.revision > state.revision
        case .keyNotFound:
            var work = Work(state)
            if case .failure(.keyNotFound) = work.perform(call) { return true }
            return false
        }
    }

    public func changesNothing(_ call: Call, answered answer: Answer) -> Bool {
        switch answer {
        case .refused: return true
        case .done(let outcome, _):
            if case .revoke = call { return false }
            return !outcome.wrote
        }
    }

    public func ceiling(of call: Call, answered answer: Answer) -> Int64? {
        switch answer {
        case .refused(_, let revision): return revision
        case .done(let outcome, let revision):
            if case .reached = call { return nil }
            return outcome.wrote ? revision - 1 : revision
        }
    }

    public func position(of state: State) -> Int64 { state.revision }

    public func describe(_ state: State) -> String {
        var text = "at revision \(state.revision)"
        for (key, slot) in state.slots.enumerated() where slot.version > 0 {
            text +=
                ", \(key) = \(slot.value) (created \(slot.createRevision), modified \(slot.modRevision), version \(slot.version)"
            text += slot.lease == 0 ? ")" : ", lease \(slot.lease))"
        }
        let next = witnesses.describe(at: state.revision + 1)
        return next.isEmpty ? text : text + "; of revision \(state.revision + 1) is known: \(next)"
    }
}

extension KeyValueModel {
    /// A call being carried out.
    struct Work {
        var state: State
        /// In order.
        private(set) var changes: [Change] = []
        private let revision: Int64

        init(_ state: State) {
            self.state = state
            revision = state.revision + 1
        }

        mutating func perform(_ call: Call) -> Result<Outcome, Refusal> {
            do {
                if case .transaction(let transaction) = call {
                    // What could be refused is, before anything is written.
                    var paths: [Bool] = []
                    try choose(transaction, &paths)
                    var position = 0
                    return .success(try run(transaction, paths, &position))
                }
                return .success(try run(call))
            } catch {
                return .failure(error)
            }
        }

        private mutating func run(_ call: Call) throws(Refusal) -> Outcome {
            switch call {
            case .query(let query):
                if query.revision > state.revision { throw .futureRevision }
                return .page(state.page(query))
            case .put(let put):
                if put.keepsValue || put.keepsLease, state.slots[put.key].version == 0 {
                    throw .keyNotFound
                }
                return self.put(put)
            case .delete(let deletion):
                return delete(deletion)
            case .revoke(let lease):
                for key in state.slots.indices where lease != 0 && state.slots[key].lease == lease { remove(key) }
                return .nothing
            case .transaction, .reached:
                return .nothing
            }
        }

        private func choose(_ transaction: Transaction, _ paths: inout [Bool]) throws(Refusal) {
            let holds = transaction.conditions.allSatisfy { state.meets($0) }
            paths.append(holds)
            for call in holds ? transaction.success : transaction.failure {
                switch call {
                case .put(let put) where put.keepsValue || put.keepsLease:
                    if state.slots[put.key].version == 0 { throw .keyNotFound }
                case .transaction(let inner): try choose(inner, &paths)
                default: break
                }
            }
        }

        private mutating func run(_ transaction: Transaction, _ paths: [Bool], _ position: inout Int) throws(Refusal)
            -> Outcome
        {
            let holds = paths[position]
            position += 1
            var outcomes: [Outcome] = []
            for call in holds ? transaction.success : transaction.failure {
                switch call {
                case .transaction(let inner): outcomes.append(try run(inner, paths, &position))
                case .put(let put): outcomes.append(self.put(put))
                default: outcomes.append(try run(call))
                }
            }
            return .transaction(succeeded: holds, outcomes)
        }

        private mutating func put(_ put: Put) -> Outcome {
            let old = state.slots[put.key]
            let isNew = old.version == 0
            let slot = Slot(
                value: put.keepsValue && !isNew ? old.value : put.value,
                createRevision: isNew ? revision : old.createRevision, modRevision: revision,
                version: old.version + 1, lease: put.keepsLease && !isNew ? old.lease : put.lease)
            state.set(put.key, slot)
            changes.append(Change(key: put.key, found: Found(put.key, slot)))
            return .put(previous: put.wantsPrevious && !isNew ? Found(put.key, old) : nil)
        }

        private mutating func delete(_ deletion: Deletion) -> Outcome {
            let gone = deletion.keys.filter { state.slots[$0].version > 0 }
            let previous = deletion.wantsPrevious ? gone.map { Found($0, state.slots[$0]) } : []
            for key in gone { remove(key) }
            return .deleted(gone.count, previous: previous)
        }

        private mutating func remove(_ key: Int) {
            state.set(key, Slot())
            changes.append(Change(key: key, found: nil))
        }
    }
}

extension KeyValueModel.Found {
    init(_ key: Int, _ slot: KeyValueModel.Slot) {
        self.init(
            key, slot.value, createRevision: slot.createRevision, modRevision: slot.modRevision, version: slot.version,
            lease: slot.lease)
    }
}
