@testable import Linearizability

/// Whether a small history is linearizable, by trying all orders of all it may contain: slow and plain.
func isLinearizableByBruteForce<Model: SequentialModel>(
    _ operations: [History<Model.Call, Model.Answer>.Operation], _ model: Model
) -> Bool {
    func search(_ left: [Int], _ state: Model.State) -> Bool {
        if left.allSatisfy({ operations[$0].answer == nil }) { return true }
        for (position, candidate) in left.enumerated() {
            // Nothing else that is left may have been answered before this one was called.
            guard left.allSatisfy({ operations[$0].answeredAt >= operations[candidate].calledAt }),
                let after = model.apply(
                    operations[candidate].call, answered: operations[candidate].answer, to: state)
            else { continue }
            var rest = left
            rest.remove(at: position)
            if search(rest, after) { return true }
        }
        return false
    }
    return search(Array(operations.indices), model.initialState)
}

/// Numbers that look random, the same in every run.
struct TestRandom: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state &* 0x2545_f491_4f6c_dd1d
    }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

/// Operations that did take effect one after another, each at a moment within its interval; some lost their answers.
func randomHistory<Model: SequentialModel>(
    _ model: Model, count: Int, overlap: Int, unanswered: Int, _ random: inout TestRandom,
    draw: (inout TestRandom) -> Model.Call, answer: (Model.Call, Model.State) -> (Model.Answer, Model.State)
) -> [History<Model.Call, Model.Answer>.Operation] {
    var operations: [History<Model.Call, Model.Answer>.Operation] = []
    var state = model.initialState
    for number in 0..<count {
        let moment = Int64(number) * 10
        let calledAt = moment - Int64(random.below(overlap))
        let call = draw(&random)
        if random.chance(unanswered) {
            if random.chance(50) { state = answer(call, state).1 }
            operations.append(.init(client: number, call: call, calledAt: calledAt))
            continue
        }
        let (answer, after) = answer(call, state)
        state = after
        operations.append(
            .init(
                client: number, call: call, calledAt: calledAt, answer: answer,
                answeredAt: moment + Int64(random.below(overlap))))
    }
    return operations
}
