import Guard
import Synchronization

/// The ends that a watch told.
final class Ends: Sendable {
    private let outcomes = Mutex<[RunOutcome]>([])

    func add(_ outcome: RunOutcome) { outcomes.withLock { $0.append(outcome) } }

    var all: [RunOutcome] { outcomes.withLock { $0 } }
}
