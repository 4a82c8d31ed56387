import Glibc
import Guard
import LaunchModel

/// What follows the end of a run whose instance is still wanted.
enum Sequel: Hashable {
    case completed
    case failed(reason: String)
    /// Another attempt after a pause. `counts`: as one of the restarts in a row after which it has failed.
    case again(after: Duration, counts: Bool, reason: String)
}

/// When an instance is started again, and when no more.
enum RestartRules {
    /// A run that was up for this long was no failed attempt: the counting begins anew.
    static let steadyAfterMilliseconds: Int64 = 60_000
    /// The longest pause between two attempts, unless the policy's first one is longer.
    static let longestBackoffMilliseconds: Int64 = 300_000

    /// The pause before the restart that follows `failures` restarts in a row.
    static func backoff(_ policy: RestartPolicy, after failures: Int) -> Duration {
        let first = max(1, policy.backoffMilliseconds)
        let longest = max(first, longestBackoffMilliseconds)
        // 2^40 times a millisecond is past every bound, and fits.
        let (doubled, overflow) = first.multipliedReportingOverflow(by: 1 << min(max(0, failures), 40))
        return .milliseconds(overflow ? longest : min(doubled, longest))
    }

    /// - Parameters:
    ///   - upMilliseconds: how long the child ran; nil if it never did.
    ///   - failures: restarts in a row before this end.
    static func sequel(
        of outcome: RunOutcome, upMilliseconds: Int64?, failures: Int, policy: RestartPolicy, instance: InstanceID
    ) -> Sequel {
        switch outcome.cause {
        case .deadlinePassed:
            return .again(
                after: .zero, counts: false,
                reason: "was stopped because its node could not renew its lease in the store (on-disconnect: stop)")
        case .stopRequested:
            return .again(after: backoff(policy, after: 0), counts: false, reason: "was stopped, and is to run")
        case .byItself: break
        }
        let again = "mend it, then \"megam start \(instance.assembly)\""
        switch outcome.ending {
        case .exited(code: 0) where policy.when != .always: return .completed
        case .notStarted(errno: 0, _):
            return .again(after: backoff(policy, after: 0), counts: false, reason: outcome.words)
        case .notStarted(let error, let message) where ![EAGAIN, ENOMEM, EMFILE, ENFILE].contains(error):
            return .failed(reason: "could not be started: \(message); \(again)")
        case .exited, .signalled, .lost, .notStarted: break
        }
        let look = "see \"megam logs \(instance.assembly)\", \(again)"
        if policy.when == .never {
            return .failed(reason: "\(outcome.words), and its restart policy is never; \(look)")
        }
        let row = (upMilliseconds ?? 0) >= steadyAfterMilliseconds ? 0 : failures
        guard row < policy.attempts else {
            return .failed(
                reason: row == 0
                    ? "\(outcome.words), and its restart policy allows no restart; \(look)"
                    : "ended \(row + 1) times in a row, last: \(outcome.words); \(look)")
        }
        return .again(after: backoff(policy, after: row), counts: true, reason: outcome.words)
    }
}

extension RunOutcome {
    /// How it ended, as in "ended with exit code 3".
    var words: String {
        let text =
            switch ending {
            case .exited(let code): "ended with exit code \(code)"
            case .signalled(let signal): "ended by signal \(signal)\(signalName(signal).map { " (\($0))" } ?? "")"
            case .notStarted(_, let message): "was not started: \(message)"
            case .lost: "ended when its guard was killed or the machine restarted"
            }
        return cause == .deadlinePassed ? "\(text) at the deadline of its node's lease" : text
    }

    /// For the report.
    var end: Report.End {
        var end = Report.End(time: Timestamp(milliseconds: endedAt), text: words)
        if case .exited(let code) = ending { end.code = code }
        if case .signalled(let signal) = ending { end.signal = signal }
        return end
    }

    private func signalName(_ signal: Int32) -> String? {
        let names: [Int32: String] = [
            SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGQUIT: "SIGQUIT", SIGILL: "SIGILL", SIGABRT: "SIGABRT",
            SIGFPE: "SIGFPE", SIGKILL: "SIGKILL", SIGSEGV: "SIGSEGV", SIGPIPE: "SIGPIPE", SIGALRM: "SIGALRM",
            SIGTERM: "SIGTERM", SIGUSR1: "SIGUSR1", SIGUSR2: "SIGUSR2", SIGBUS: "SIGBUS", SIGSYS: "SIGSYS",
        ]
        return names[signal]
    }
}
