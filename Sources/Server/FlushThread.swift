import Replica
import Storage

/// Writes the state's memory to table files, beside the apply thread, and tells consensus how far the log may be cut.
final class FlushThread: Sendable {
    private enum Job: Sendable {
        case flush(StateFlusher)
        case report(Completion)
        /// The last: of the state as the stopped apply thread left it.
        case finish(StateFiles)
    }
    private let mailbox = Mailbox<Job>()
    private let consensusMailbox: Mailbox<ConsensusEvent>
    private let metrics: Metrics
    private let fail: @Sendable (any Error) -> Void

    init(consensusMailbox: Mailbox<ConsensusEvent>, metrics: Metrics, fail: @escaping @Sendable (any Error) -> Void) {
        self.consensusMailbox = consensusMailbox
        self.metrics = metrics
        self.fail = fail
    }

    func request(_ flusher: StateFlusher) { mailbox.post(.flush(flusher)) }

    /// Returns when no flush is under way and none requested before is left.
    func waitUntilIdle() {
        let idle = Completion()
        mailbox.post(.report(idle))
        _ = idle.wait()
    }

    /// Flushes once more, when the apply thread has stopped, and ends.
    func stop(final files: StateFiles) { mailbox.post(.finish(files)) }

    func run() {
        var jobs: [Job] = []
        while true {
            mailbox.take(into: &jobs, deadline: nil)
            // One flush serves all that were asked for while the last one ran.
            var flusher: StateFlusher?
            for job in jobs {
                switch job {
                case .flush(let requested): flusher = requested
                case .report(let idle):
                    if let requested = flusher { flush(requested) }
                    flusher = nil
                    idle.finish(true)
                case .finish(let files):
                    flush(StateFlusher(files))
                    return
                }
            }
            if let flusher { flush(flusher) }
        }
    }

    private func flush(_ flusher: StateFlusher) {
        do {
            let start = monotonicNanoseconds()
            let mark = try flusher.flush()
            metrics.stateCommits.observe(nanoseconds: monotonicNanoseconds() - start)
            consensusMailbox.post(.flushed(mark.index, mark.configuration))
        } catch {
            fail(error)
        }
    }
}
