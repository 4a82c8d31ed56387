import Dispatch
import Foundation
import Synchronization

/// SIGINT and SIGTERM as something to wait for, so that what is held can be given back.
final class TerminationSignals: Sendable {
    private struct State {
        var hasArrived = false
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        var nextWaiter = 0
    }

    private let state = Mutex(State())

    /// From here on neither signal ends the process by itself.
    init() {
        for number in [SIGINT, SIGTERM] {
            // The default action would end the process before the source is told.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { [self] in
                // The handler is what keeps its source, for as long as the process lives.
                withExtendedLifetime(source) { arrived() }
            }
            source.resume()
        }
    }

    /// Returns when one of them has come; throws when the task is cancelled.
    func wait() async throws {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    guard !state.hasArrived, !Task.isCancelled else { return true }
                    state.waiters[id] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
        }
        try Task.checkCancellation()
    }

    private func arrived() {
        let waiters = state.withLock { state in
            state.hasArrived = true
            defer { state.waiters.removeAll() }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume() }
    }
}
