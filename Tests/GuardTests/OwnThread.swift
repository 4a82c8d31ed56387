import Testing

@testable import Guard

/// Runs each test of a suite on threads of its own. These tests have real deadlines: they must not wait for the few
/// threads of Swift's pool while other tests keep these busy.
struct OwnThread: SuiteTrait, TestTrait, TestScoping {
    private final class Executor: TaskExecutor {
        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            do {
                try startThread { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
            } catch {
                preconditionFailure("a test needs a thread: \(error)")
            }
        }
    }

    var isRecursive: Bool { true }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing body: @Sendable () async throws -> Void
    ) async throws {
        try await withTaskExecutorPreference(Executor()) { try await body() }
    }
}

extension Trait where Self == OwnThread {
    static var ownThread: Self { OwnThread() }
}
