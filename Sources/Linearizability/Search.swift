/// The search for an order of a history's operations that its model agrees with.
///
/// Calls and answers of the answered operations stand in a doubly linked list in the order of time. An operation
/// is put next in the order by taking its call and answer out of the list, and taken back by putting them in again. Whatever
/// is called before the first answer in the list may be next; that first answer's own operation must come before anything
/// called after it. Operations without an answer are candidates from their call on, and need never be used.
struct Search<Model: SequentialModel> {
    /// One operation put in order.
    private struct Step {
        var operation: Int
        var before: Model.State
        /// What else could have been put here: `choices[nextChoice...]` up to the next step's. nil: nothing else need be.
        var firstChoice: Int?
        var nextChoice = 0
    }

    /// Which operations are in the order, and the state they led to. The set is represented by the sum of 128-bit random
    /// numbers, one for each operation: two of a billion sets coincide with a probability of 10⁻²¹.
    private struct Visited: Hashable {
        var low: UInt64
        var high: UInt64
        var state: Model.State
    }

    private let history: History<Model.Call, Model.Answer>
    private let model: Model
    private let maximumSteps: Int

    // The list. Place 0 is its head; places ascend in time. An operation has two places, its call's and its answer's.
    private var next: [Int32]
    private var previous: [Int32]
    private var operationAt: [Int32]
    private var isAnswer: [Bool]
    private var callPlace: [Int]
    private var answerPlace: [Int]
    /// Operations without an answer that are not in the order, by their call's place.
    private var unanswered: [Int] = []
    private var isOrdered: [Bool]
    /// Answered operations that change no state.
    private var isRead: [Bool]

    /// Answered operations with a ceiling, by it. All below `lowest` are in the order.
    private var byCeiling: [(ceiling: Int64, operation: Int)] = []
    private var rank: [Int]
    private var lowest = 0

    private var state: Model.State
    private var steps: [Step] = []
    private var choices: [(operation: Int, state: Model.State)] = []
    private var visited: Set<Visited> = []
    private var low: UInt64 = 0
    private var high: UInt64 = 0
    private var effort = 0
    private var answeredInOrder = 0
    private var longest: (answered: Int, order: [Int], state: Model.State, stuck: Int)?

    init(_ history: History<Model.Call, Model.Answer>, _ model: Model, maximumSteps: Int) {
        self.history = history
        self.model = model
        self.maximumSteps = maximumSteps
        state = model.initialState
        let operations = history.operations
        callPlace = Array(repeating: 0, count: operations.count)
        answerPlace = Array(repeating: 0, count: operations.count)
        isOrdered = Array(repeating: false, count: operations.count)
        isRead = isOrdered
        rank = Array(repeating: -1, count: operations.count)

        // At equal times calls come first: then the operations overlap.
        var moments: [(time: Int64, isAnswer: Bool, operation: Int)] = []
        for (position, operation) in operations.enumerated() {
            moments.append((operation.calledAt, false, position))
            if operation.answer != nil { moments.append((operation.answeredAt, true, position)) }
        }
        moments.sort { a, b in
            if a.time != b.time { return a.time < b.time }
            if a.isAnswer != b.isAnswer { return !a.isAnswer }
            return a.operation < b.operation
        }
        next = Array(repeating: 0, count: moments.count + 1)
        previous = next
        operationAt = next
        isAnswer = Array(repeating: false, count: moments.count + 1)
        var last = 0
        for (position, moment) in moments.enumerated() {
            let place = position + 1
            operationAt[place] = Int32(moment.operation)
            isAnswer[place] = moment.isAnswer
            if moment.isAnswer { answerPlace[moment.operation] = place } else { callPlace[moment.operation] = place }
            guard operations[moment.operation].answer != nil else {
                unanswered.append(moment.operation)
                continue
            }
            next[last] = Int32(place)
            previous[place] = Int32(last)
            last = place
        }
        for (position, operation) in operations.enumerated() {
            guard let answer = operation.answer else { continue }
            isRead[position] = model.changesNothing(operation.call, answered: answer)
            guard let ceiling = model.ceiling(of: operation.call, answered: answer) else { continue }
            byCeiling.append((ceiling, position))
        }
        byCeiling.sort { $0.ceiling != $1.ceiling ? $0.ceiling < $1.ceiling : $0.operation < $1.operation }
        for (position, bounded) in byCeiling.enumerated() { rank[bounded.operation] = position }
    }

    mutating func run() -> Verdict {
        while next[0] != 0 {
            if effort > maximumSteps { return .undecided(steps: effort) }
            if advance() { continue }
            guard goBack() else { return violation() }
        }
        return .linearizable(order: steps.map(\.operation))
    }

    // MARK: Forth

    /// Puts one more operation in the order; false if there is none that fits.
    private mutating func advance() -> Bool {
        let firstChoice = choices.count
        var place = Int(next[0])
        // First rule: an order is dead once its state is past what an answer that is left could have been given in.
        let ceiling = lowest < byCeiling.count ? byCeiling[lowest].ceiling : .max
        let position = model.position(of: state)
        guard position <= ceiling else {
            noteDeadEnd(before: place)
            return false
        }
        while !isAnswer[place] {
            let operation = Int(operationAt[place])
            effort += 1
            if let after = apply(operation) {
                if isRead[operation] {
                    // Second rule: a read that fits now may as well be next. In any order in which it comes later it can be
                    // moved here, and nothing else notices. (A write of what is there already is no read: it may be needed
                    // later.)
                    choices.removeSubrange(firstChoice...)
                    put(operation, after, firstChoice: nil)
                    return true
                }
                choices.append((operation, after))
            }
            place = Int(next[place])
        }
        let deadline = place
        // What was called last is most likely to be what took effect now; what has long been waiting may never have.
        for operation in unanswered.reversed() where callPlace[operation] < deadline && !isOrdered[operation] {
            effort += 1
            // Third rule: an operation without an answer that changes nothing here need not have happened here.
            guard let after = apply(operation), after != state, model.position(of: after) <= ceiling else { continue }
            choices.append((operation, after))
        }
        if choose(from: firstChoice, firstChoice: firstChoice) { return true }
        noteDeadEnd(before: deadline)
        return false
    }

    private func apply(_ operation: Int) -> Model.State? {
        model.apply(
            history.operations[operation].call, answered: history.operations[operation].answer, to: state)
    }

    /// Puts the first choice from `position` on that leads to something new; false, and no choices left, if none does.
    private mutating func choose(from position: Int, firstChoice: Int) -> Bool {
        var position = position
        while position < choices.count {
            let (operation, after) = choices[position]
            position += 1
            let random = Self.random(operation)
            let key = Visited(low: low &+ random.low, high: high &+ random.high, state: after)
            guard visited.insert(key).inserted else { continue }
            put(operation, after, firstChoice: firstChoice, nextChoice: position)
            return true
        }
        choices.removeSubrange(firstChoice...)
        return false
    }

    private mutating func put(_ operation: Int, _ after: Model.State, firstChoice: Int?, nextChoice: Int = 0) {
        steps.append(Step(operation: operation, before: state, firstChoice: firstChoice, nextChoice: nextChoice))
        state = after
        isOrdered[operation] = true
        let random = Self.random(operation)
        low &+= random.low
        high &+= random.high
        guard answerPlace[operation] > 0 else { return }
        answeredInOrder += 1
        unlink(callPlace[operation])
        unlink(answerPlace[operation])
        while lowest < byCeiling.count, isOrdered[byCeiling[lowest].operation] { lowest += 1 }
    }

    // MARK: Back

    /// Takes operations back up to a choice that is not yet explored, and makes it; false if there is none.
    private mutating func goBack() -> Bool {
        while let step = steps.popLast() {
            takeBack(step)
            guard let firstChoice = step.firstChoice else { continue }
            if choose(from: step.nextChoice, firstChoice: firstChoice) { return true }
        }
        return false
    }

    private mutating func takeBack(_ step: Step) {
        let operation = step.operation
        state = step.before
        isOrdered[operation] = false
        let random = Self.random(operation)
        low &-= random.low
        high &-= random.high
        guard answerPlace[operation] > 0 else { return }
        answeredInOrder -= 1
        relink(answerPlace[operation])
        relink(callPlace[operation])
        if rank[operation] >= 0 { lowest = min(lowest, rank[operation]) }
    }

    private mutating func unlink(_ place: Int) {
        next[Int(previous[place])] = next[place]
        previous[Int(next[place])] = previous[place]
    }

    private mutating func relink(_ place: Int) {
        next[Int(previous[place])] = Int32(place)
        previous[Int(next[place])] = Int32(place)
    }

    private mutating func noteDeadEnd(before place: Int) {
        guard answeredInOrder > longest?.answered ?? -1 else { return }
        var place = place
        while !isAnswer[place] { place = Int(next[place]) }
        longest = (answeredInOrder, steps.map(\.operation), state, Int(operationAt[place]))
    }

    private func violation() -> Verdict {
        guard let longest else { preconditionFailure("a search fails only at a dead end") }
        return .violated(
            Explanation(history, model, order: longest.order, state: longest.state, stuck: longest.stuck))
    }

    /// An operation's share of the sum that stands for a set. (SplitMix64.)
    private static func random(_ operation: Int) -> (low: UInt64, high: UInt64) {
        func mixed(_ number: UInt64) -> UInt64 {
            var mixed = number &* 0x9e37_79b9_7f4a_7c15
            mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
            return mixed ^ (mixed >> 31)
        }
        return (mixed(2 * UInt64(operation) + 1), mixed(2 * UInt64(operation) + 2))
    }
}
