import CGuard
import Glibc
import Synchronization

/// Sees the ends of any number of runs, on one thread that sleeps in poll() on the pidfds of their guards.
///
/// It enforces what a guard cannot: a guard that is still there at the run's deadline and `slack` (it may be stopped by
/// SIGSTOP) is killed with its run, and what a killed guard left behind is swept before the end is told. It also reaps
/// the guards that this process launched; those of other processes are left alone. Closing it (or letting go of it)
/// ends the watching, not the runs.
public final class GuardWatch: Sendable {
    private let mailbox: WatchMailbox

    /// Starts the thread. Throws if the system has no descriptors or threads left.
    public init(slack: Duration = .milliseconds(250)) throws(GuardError) {
        mailbox = try WatchMailbox(slack: slack)
        try startThread { [mailbox] in WatchLoop(mailbox).run() }
    }

    deinit { mailbox.close() }

    /// Watches a run that was launched, by whichever process. Each callback is called once at most, on the watch's
    /// thread, and must return soon: the deadlines of all runs wait for it.
    ///
    /// `onRunning` is called when the child runs (at once, if it does so already): its pid and the time of its start
    /// in Unix milliseconds. `onEnd` is called when the run is over and nothing of it is left (at once, if it is so
    /// already), with the recorded outcome. A run that was never launched is waited for.
    public func watch(
        _ run: RunDirectory,
        onRunning: (@Sendable (_ pid: Int32, _ startedAt: Int64) -> Void)? = nil,
        onEnd: @escaping @Sendable (RunOutcome) -> Void
    ) {
        mailbox.add(WatchedRun(run: run, onRunning: onRunning, onEnd: onEnd))
    }

    /// Ends the watching. A callback may still be under way; none follows.
    public func close() {
        mailbox.close()
    }
}

/// A run as `GuardWatch` was given it.
struct WatchedRun: Sendable {
    let run: RunDirectory
    let onRunning: (@Sendable (Int32, Int64) -> Void)?
    let onEnd: @Sendable (RunOutcome) -> Void
}

/// What the watch's owner and its thread share.
final class WatchMailbox: Sendable {
    private struct State {
        var arrived: [WatchedRun] = []
        var isClosed = false
    }

    let slack: Duration
    /// Readable when something arrived or the watch was closed.
    let wake: Descriptor
    /// On CLOCK_BOOTTIME: poll's own timeout does not count a machine's sleep.
    let timer: Descriptor
    private let state = Mutex(State())

    init(slack: Duration) throws(GuardError) {
        self.slack = slack
        wake = try Descriptor(cguard_event(), cannot: "create", "the event descriptor of a watch")
        timer = try Descriptor(cguard_timer(), cannot: "create", "the timer of a watch")
    }

    func add(_ run: WatchedRun) {
        state.withLock { $0.arrived.append(run) }
        signal()
    }

    func close() {
        state.withLock { $0.isClosed = true }
        signal()
    }

    /// What arrived since the last call; nil when the watch is closed.
    func take() -> [WatchedRun]? {
        var count: UInt64 = 0
        _ = read(wake.number, &count, MemoryLayout<UInt64>.size)
        return state.withLock { state in
            let arrived = state.arrived
            state.arrived = []
            return state.isClosed ? nil : arrived
        }
    }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    private func signal() {
        var one: UInt64 = 1
        _ = write(wake.number, &one, MemoryLayout<UInt64>.size)
    }
}

/// Starts a detached thread.
func startThread(_ body: @escaping @Sendable () -> Void) throws(GuardError) {
    final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    let context = Unmanaged.passRetained(Body(body))
    var thread = pthread_t()
    let error = pthread_create(
        &thread, nil,
        { pointer in
            guard let pointer else { return nil }
            Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run()
            return nil
        }, context.toOpaque())
    guard error == 0 else {
        context.release()
        throw GuardError(cannot: "start", "the thread of a watch", error)
    }
    pthread_detach(thread)
}
