import Logging
import Synchronization

/// Where a thread says that the member cannot go on. The first reason counts.
final class FailureBox: Sendable {
    private struct State {
        var reason: String?
        var waiters: [CheckedContinuation<String, Never>] = []
    }
    private let state = Mutex(State())
    private let logger: Logger

    init(logger: Logger) { self.logger = logger }

    var fail: @Sendable (any Error) -> Void { { error in self.note("\(error)") } }

    private func note(_ reason: String) {
        logger.critical("the member stops", metadata: ["reason": "\(reason)"])
        let waiters = state.withLock { state -> [CheckedContinuation<String, Never>] in
            guard state.reason == nil else { return [] }
            state.reason = reason
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: reason) }
    }

    /// Returns once a thread has failed.
    func reason() async -> String {
        await withCheckedContinuation { waiter in
            let known = state.withLock { state -> String? in
                if state.reason == nil { state.waiters.append(waiter) }
                return state.reason
            }
            if let known { waiter.resume(returning: known) }
        }
    }
}
