import Replica
import Storage

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
    private let threads = LockedThreads()
    private let flusher = LockedThreads()

    init(mailboxes: Mailboxes, flushThread: FlushThread, storage: MemberStorage) {
        self.mailboxes = mailboxes
        self.flushThread = flushThread
        self.storage = storage
    }

    func start(
        consensus: sending ConsensusDriver, log: sending LogDriver, apply: sending ApplyDriver
    ) {
        flusher.add(WorkerThread(name: "flush") { [flushThread] in flushThread.run() })
        threads.add(WorkerThread(name: "apply") { apply.run() })
        threads.add(WorkerThread(name: "log") { log.run() })
        threads.add(WorkerThread(name: "consensus") { consensus.run() })
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

    /// Stops the threads in the order of the flow, so that what is under way ends in the state, and writes the state's
    /// memory out, so that the next start has little to replay.
    func stop() async {
        await withCheckedContinuation { continuation in
            WorkerThread.run(name: "stop") { [self] in
                mailboxes.consensus.post(.stop)
                mailboxes.log.post(.stop)
                mailboxes.apply.post(.stop)
                threads.joinAll()
                flushThread.stop(final: storage.states.files)
                flusher.joinAll()
                continuation.resume()
            }
        }
    }
}
