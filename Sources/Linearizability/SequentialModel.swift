/// What an object does when it is asked one thing after another: the specification that a history is held against.
///
/// It must be a function of its arguments: the search asks about the same states again and again.
public protocol SequentialModel {
    associatedtype Call
    associatedtype Answer
    associatedtype State: Hashable

    var initialState: State { get }

    /// The state after a call that took effect in `state` and was answered so; nil if it could not have been.
    ///
    /// - Parameter answer: nil if the outcome is unknown: any answer would do.
    func apply(_ call: Call, answered answer: Answer?, to state: State) -> State?

    /// Whether a call answered so changes no state whatever (a read, a refusal), so that it may be put in order as soon as it
    /// fits. The default says no, which is always right and costs time.
    func changesNothing(_ call: Call, answered answer: Answer) -> Bool

    /// For objects whose states have a number that never falls along any order of operations, such as a store's revision:
    /// the highest number that a state may have in which the call could be answered so; nil if the answer does not tell.
    /// The search uses it to see early that an order has gone past an answer. The default knows nothing.
    func ceiling(of call: Call, answered answer: Answer) -> Int64?

    /// A state's number, if `ceiling` gives any.
    func position(of state: State) -> Int64

    /// For explanations.
    func describe(_ call: Call, answered answer: Answer?) -> String
    func describe(_ state: State) -> String
}

extension SequentialModel {
    public func changesNothing(_ call: Call, answered answer: Answer) -> Bool { false }
    public func ceiling(of call: Call, answered answer: Answer) -> Int64? { nil }
    public func position(of state: State) -> Int64 { 0 }
    public func describe(_ call: Call, answered answer: Answer?) -> String {
        "\(call) → \(answer.map { "\($0)" } ?? "no answer")"
    }
    public func describe(_ state: State) -> String { "\(state)" }
}
