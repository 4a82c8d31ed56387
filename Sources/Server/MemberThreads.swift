import Replica
import Storage
import Synchronization

/// The mailboxes that join a member's threads.
struct Mailboxes: Sendable {
    let consensus = Mailbox<ConsensusEvent>()
    let log = Mailbox<LogJob>()
    let apply = Mailbox<ApplyEvent>()
}

/// A member's own threads: consensus, log, apply, flush. (The event loops are NIO's.)
final class MemberThreads: Sendable {
    private let mailboxes: Mailboxes
    private let flushThread: FlushThread
    private let storage: MemberStorage
    /// In the order of the flow: consensus, log, apply, flush.
    private let threads = Mutex<[WorkerThread]>([])

    init(mailboxes: Mailboxes, flushThread: FlushThread, storage: MemberStorage) {
        self.mailboxes = mailboxes
        self.flushThread = flushThread
        self.storage = storage
    }

    func start(
        consensus: sending ConsensusDriver, log: sending LogDriver, apply: sending ApplyDriver
    ) {
        let flush = WorkerThread(name: "flush") { [flushThread] in flushThread.run() }
        let applying = WorkerThread(name: "apply") { apply.run() }
        let logging = WorkerThread(name: "log") { log.run() }
        let deciding = WorkerThread(name: "consensus") { consensus.run() }
        threads.withLock { $0 = [deciding, logging, applying, flush] }
    }

    /// Whether the consensus thread takes what is posted within a second.
    func isResponsive() async -> Bool {
        await withCheckedContinuation { continuation in
            let once = Completion()
            mailboxes.consensus.post(.status { _ in once.finish(true) })
            WorkerThread.run(name: "watchdog") {
                continuation.resume(returning: once.wait(deadline: monotonicNanoseconds() + 1_000_000_000))
            }
        }
    }

    /// If this member leads, lets another take over, as far as that is done within `milliseconds`: the cluster need not
    /// wait for an election timeout, nor lose what is forwarded here meanwhile.
    func handOverLeadership(within milliseconds: Int, board: StatusBoard) async {
        guard threads.withLock({ !$0.isEmpty }) else { return }
        let isHandedOver = await withCheckedContinuation { continuation in
            mailboxes.consensus.post(.handOver { continuation.resume(returning: $0) })
        }
        guard isHandedOver else { return }
        let end = ContinuousClock.now + .milliseconds(milliseconds)
        while ContinuousClock.now < end {
            let leadership = board.current.leadership
            if !leadership.isLeader, leadership.leader != .none { return }
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Stops the threads in the order of the flow, so that what is under way ends in the state, and writes the state's
    /// memory out, so that the next start has little to replay.
    func stop() async {
        await withCheckedContinuation { continuation in
            WorkerThread.run(name: "stop") { [self] in
                // One after the other: an earlier one may still wait for a later one.
                let stops: [() -> Void] = [
                    { self.mailboxes.consensus.post(.stop) }, { self.mailboxes.log.post(.stop) },
                    { self.mailboxes.apply.post(.stop) },
                    { self.flushThread.stop(final: self.storage.states.files) },
                ]
                let running = threads.withLock { threads in
                    defer { threads = [] }
                    return threads
                }
                for (stop, thread) in zip(stops, running) {
                    stop()
                    thread.join()
                }
                continuation.resume()
            }
        }
    }
}
