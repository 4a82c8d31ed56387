/// A register that is read, written, and written if it holds a value. No revisions: the textbook's object.
public struct RegisterModel: SequentialModel, Sendable {
    public enum Call: Sendable, Hashable {
        case read
        case write(Int)
        case compareAndSet(expected: Int?, new: Int)
    }

    public enum Answer: Sendable, Hashable {
        case value(Int?)
        case written
        /// Of a `compareAndSet`, whether it wrote.
        case compared(Bool)
    }

    public let initialState: Int?

    public init(initial: Int? = nil) { initialState = initial }

    public func apply(_ call: Call, answered answer: Answer?, to state: Int?) -> Int?? {
        switch call {
        case .read:
            if let answer, answer != .value(state) { return .none }
            return .some(state)
        case .write(let value):
            if let answer, answer != .written { return .none }
            return .some(value)
        case .compareAndSet(let expected, let new):
            let holds = state == expected
            if let answer, answer != .compared(holds) { return .none }
            return .some(holds ? new : state)
        }
    }

    public func changesNothing(_ call: Call, answered answer: Answer) -> Bool {
        switch answer {
        case .value, .compared(false): true
        case .written, .compared(true): false
        }
    }
}
