/// What concurrent clients asked, and what they were answered.
public struct History<Call, Answer> {
    public struct Operation {
        /// Who asked; only for explanations.
        public var client: Int
        public var call: Call
        public var calledAt: Int64
        /// nil: nobody knows whether, or when, it took effect.
        public var answer: Answer?
        /// `Int64.max` without an answer.
        public var answeredAt: Int64

        public init(
            client: Int, call: Call, calledAt: Int64, answer: Answer? = nil, answeredAt: Int64 = .max
        ) {
            precondition(answer == nil || calledAt <= answeredAt, "an answer before its call")
            self.client = client
            self.call = call
            self.calledAt = calledAt
            self.answer = answer
            self.answeredAt = answer == nil ? .max : answeredAt
        }
    }

    /// In any order.
    public private(set) var operations: [Operation] = []

    public init() {}

    /// Records a call. It has no answer, and an unknown outcome, until `answer` gives it one.
    ///
    /// - Parameter time: of one clock for all clients, in any unit. Operations are taken to overlap when one is answered
    ///   at the very time at which another is called.
    /// - Returns: which operation it is, for `answer`.
    public mutating func call(_ call: Call, by client: Int, at time: Int64) -> Int {
        operations.append(Operation(client: client, call: call, calledAt: time))
        return operations.count - 1
    }

    public mutating func answer(_ operation: Int, _ answer: Answer, at time: Int64) {
        precondition(operations[operation].calledAt <= time, "an answer before its call")
        operations[operation].answer = answer
        operations[operation].answeredAt = time
    }

    public mutating func append(_ operation: Operation) { operations.append(operation) }

    /// One history for each object, in the order in which they were first called.
    func partitioned<Key: Hashable>(by key: (Call) -> Key) -> [History] {
        var parts: [History] = []
        var positions: [Key: Int] = [:]
        for operation in operations {
            let key = key(operation.call)
            if let position = positions[key] {
                parts[position].append(operation)
            } else {
                positions[key] = parts.count
                parts.append(History())
                parts[parts.count - 1].append(operation)
            }
        }
        return parts
    }
}

extension History: Sendable where Call: Sendable, Answer: Sendable {}
extension History.Operation: Sendable where Call: Sendable, Answer: Sendable {}
