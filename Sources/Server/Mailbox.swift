#if canImport(Glibc)
    import Glibc
#endif

/// A queue with one reader thread that takes everything waiting at once, so that work gathers into batches
/// by itself while the reader is busy. Any thread may post; order of posts by one thread is kept.
///
/// `@unchecked Sendable`: `waiting` and `isReaderWaiting` are only touched between lock and unlock
/// of `mutex`, and the pointers themselves never change after `init`.
final class Mailbox<Element: Sendable>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var waiting: [Element] = []
    private var isReaderWaiting = false

    init() {
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // Deadlines are on the monotonic clock: a step of the wall clock must not delay a tick.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func post(_ element: Element) {
        pthread_mutex_lock(mutex)
        waiting.append(element)
        let wake = isReaderWaiting
        pthread_mutex_unlock(mutex)
        if wake { pthread_cond_signal(condition) }
    }

    /// Everything posted since the last call, waiting until there is something or the deadline has passed.
    /// - Parameter deadline: nanoseconds on the monotonic clock; nil waits without end.
    /// - Returns: empty when the deadline passed.
    func take(into batch: inout [Element], deadline: Int64?) {
        batch.removeAll(keepingCapacity: true)
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while waiting.isEmpty {
            isReaderWaiting = true
            defer { isReaderWaiting = false }
            guard let deadline else {
                pthread_cond_wait(condition, mutex)
                continue
            }
            var time = timespec(tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
            if pthread_cond_timedwait(condition, mutex, &time) == ETIMEDOUT { break }
        }
        swap(&batch, &waiting)
    }
}

/// Nanoseconds of the monotonic clock.
func monotonicNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// A named thread that can be joined once.
final class WorkerThread: Sendable {
    private let handle: pthread_t

    private final class Body {
        let name: String
        let run: () -> Void
        init(name: String, run: @escaping () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// - Parameter body: runs on the new thread; the thread ends with it. `sending`: the caller keeps nothing of it.
    init(name: String, _ body: sending @escaping () -> Void) {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Body(name: name, run: body)).toOpaque()
        let code = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                let body = Unmanaged<Body>.fromOpaque(context).takeRetainedValue()
                WorkerThread.nameThisThread(body.name)
                body.run()
                return nil
            }, context)
        precondition(code == 0, "the system refused a thread (error \(code)); raise the limit of processes")
        handle = thread
    }

    /// What `top -H` and `perf` show. Without it the thread only has the program's name.
    private static func nameThisThread(_ name: String) {
        guard let file = fopen("/proc/thread-self/comm", "w") else { return }
        fputs(name, file)
        fclose(file)
    }

    func join() { pthread_join(handle, nil) }

    /// Runs something that waits on a thread of its own, which nobody joins.
    static func run(name: String, _ body: sending @escaping () -> Void) {
        pthread_detach(WorkerThread(name: name, body).handle)
    }
}
