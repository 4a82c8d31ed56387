/// Why a history is not linearizable: how far the longest order that fits goes, and what fits nowhere after it.
public struct Explanation: Sendable, CustomStringConvertible {
    /// The longest order found, as positions in the history.
    public var longestOrder: [Int]
    /// The operation that had to be next at the latest: it was answered before anything else that is left was called.
    public var stuck: Int
    /// Answered operations in the history.
    public var answered: Int
    public var description: String

    init<Model: SequentialModel>(
        _ history: History<Model.Call, Model.Answer>, _ model: Model, order: [Int], state: Model.State, stuck: Int
    ) {
        longestOrder = order
        self.stuck = stuck
        answered = history.operations.count { $0.answer != nil }

        func line(_ position: Int) -> String {
            let operation = history.operations[position]
            let until = operation.answer == nil ? "…" : "\(operation.answeredAt)"
            return "  client \(operation.client), \(operation.calledAt)-\(until): "
                + model.describe(operation.call, answered: operation.answer)
        }
        let used = Set(order)
        let blocked = history.operations[stuck]
        // Whatever else could have been next.
        let others = history.operations.indices.filter {
            $0 != stuck && !used.contains($0) && history.operations[$0].calledAt <= blocked.answeredAt
        }
        var lines = [
            "of \(answered) answered operations \(order.count { history.operations[$0].answer != nil }) fit in an order, then this one does not:"
        ]
        lines.append(line(stuck))
        lines.append("the state is then \(model.describe(state))")
        if !order.isEmpty {
            lines.append("the last in that order:")
            lines += order.suffix(6).map(line)
        }
        if !others.isEmpty {
            lines.append("also under way, and of no help (\(others.count)):")
            lines += others.suffix(8).map(line)
        }
        description = lines.joined(separator: "\n")
    }
}
