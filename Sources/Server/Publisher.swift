import Replica
import Synchronization

/// Makes the member known through the log, name and client URLs, as etcd's members do when they start:
/// once that is applied here, the member has a leader and has caught up.
final class Publisher: Sendable {
    private struct State {
        /// nil while it is open.
        var outcome: Bool?
        var waiters: [CheckedContinuation<Bool, Never>] = []
        var count: UInt64
    }
    private let member: MemberAttributes
    private let consensus: Mailbox<ConsensusEvent>
    /// No request of this run has it or one before it.
    private let firstCount: UInt64
    private let state: Mutex<State>
    private let proposing = Mutex<Task<Void, Never>?>(nil)
    /// A proposal that was lost with a leader is made again after so long.
    private static let retryInterval = Duration.seconds(5)

    init(_ member: MemberAttributes, firstCount: UInt64, consensus: Mailbox<ConsensusEvent>) {
        self.member = member
        self.consensus = consensus
        self.firstCount = firstCount
        state = Mutex(State(count: firstCount))
    }

    func start() {
        // Made under the lock, so that the end of it finds the task to cancel.
        proposing.withLock { proposing in
            proposing = Task {
                while !Task.isCancelled {
                    propose()
                    try? await Task.sleep(for: Publisher.retryInterval)
                }
            }
        }
    }

    private func propose() {
        let count = state.withLock { state in
            state.count += 1
            return state.count
        }
        let call = CallID(loop: CallID.publisherLoop, count: count)
        let proposal = Proposal(origin: member.id, requestID: call.requestID, command: .publish(member))
        // The one before may still be held for want of a leader: one is enough.
        consensus.post(.withdrawn([CallID(loop: CallID.publisherLoop, count: count - 1).requestID]))
        consensus.post(.proposals([ProposedEntry(requestID: call.requestID, payload: proposal.encoded())]))
    }

    /// An entry by which the member made itself known was applied here. One of an earlier run, which a restart replays
    /// before there is a leader, says nothing.
    func published(by request: RequestID) {
        let before = CallID(loop: CallID.publisherLoop, count: firstCount).rawValue
        let made = state.withLock { $0.count - firstCount }
        if request.rawValue > before, request.rawValue - before <= made { finish(true) }
    }

    func stop() { finish(false) }

    private func finish(_ outcome: Bool) {
        proposing.withLock { $0?.cancel() }
        let waiters = state.withLock { state -> [CheckedContinuation<Bool, Never>] in
            guard state.outcome == nil else { return [] }
            state.outcome = outcome
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: outcome) }
    }

    func whenPublished() async -> Bool {
        await withCheckedContinuation { waiter in
            let known = state.withLock { state -> Bool? in
                if state.outcome == nil { state.waiters.append(waiter) }
                return state.outcome
            }
            if let known { waiter.resume(returning: known) }
        }
    }
}
