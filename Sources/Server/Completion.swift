import Synchronization

/// A result that one thread waits for and another gives, once.
final class Completion: Sendable {
    private let result = Mutex<Bool?>(nil)
    private let mailbox = Mailbox<Bool>()

    /// The first call counts.
    func finish(_ succeeded: Bool) {
        let isFirst = result.withLock { result in
            defer { result = result ?? succeeded }
            return result == nil
        }
        if isFirst { mailbox.post(succeeded) }
    }

    /// Waits, by default without end: whoever holds a completion must finish it.
    /// - Returns: the result; false when the deadline passed.
    func wait(deadline: Int64? = nil) -> Bool {
        var values: [Bool] = []
        mailbox.take(into: &values, deadline: deadline)
        return values.first ?? false
    }
}
