/// How a run's child ended.
public enum Ending: Hashable, Sendable {
    /// It ended by itself with this code.
    case exited(code: Int32)
    /// A signal ended it.
    case signalled(Int32)
    /// It never ran: no such command, user or directory, or (with errno 0) it was stopped or its deadline passed
    /// before. The message says what to do.
    case notStarted(errno: Int32, message: String)
    /// The guard died, and the child with it: nobody saw the end.
    case lost
}

/// Why a run ended.
public enum Cause: String, Hashable, Sendable {
    /// Nobody ended it.
    case byItself
    /// `requestStop` or `killNow` was called, or the guard got SIGTERM.
    case stopRequested
    /// Its deadline was not moved on in time.
    case deadlinePassed
}

/// The end of a run.
public struct RunOutcome: Hashable, Sendable {
    /// How.
    public var ending: Ending
    /// Why.
    public var cause: Cause
    /// Unix milliseconds on the wall clock; for a lost run, when that was found out.
    public var endedAt: Int64

    /// For tests of those who use it; the outcome of a run is made by its guard.
    public init(ending: Ending, cause: Cause, endedAt: Int64) {
        self.ending = ending
        self.cause = cause
        self.endedAt = endedAt
    }
}

/// Where a run is in its life.
public enum RunStatus: Hashable, Sendable {
    /// It was not launched, or its child does not run yet.
    case preparing
    /// The child runs. `startedAt` is in Unix milliseconds; `stopping` says that a stop was requested.
    case running(pid: Int32, startedAt: Int64, stopping: Bool)
    /// It is over. If the ending is `lost` and neither a watch nor `killNow` has settled it yet, processes of the run
    /// may still live: see `RunDirectory.sweep`.
    case ended(RunOutcome)
}

extension RunOutcome {
    var record: RunRecord {
        var record = RunRecord(kind: "exit")
        switch ending {
        case .exited(let code): record.add("exited", String(code))
        case .signalled(let signal): record.add("signalled", String(signal))
        case .notStarted(let error, let message):
            record.add("not-started", String(error))
            record.add("message", message)
        case .lost: record.add("lost", "")
        }
        record.add("cause", cause.rawValue)
        record.add("ended-at", String(endedAt))
        return record
    }

    init(_ record: RunRecord) throws(GuardError) {
        let ending: Ending
        if record.first("exited") != nil {
            ending = .exited(code: try record.number("exited"))
        } else if record.first("signalled") != nil {
            ending = .signalled(try record.number("signalled"))
        } else if record.first("not-started") != nil {
            ending = .notStarted(errno: try record.number("not-started"), message: try record.text("message"))
        } else if record.first("lost") != nil {
            ending = .lost
        } else {
            throw record.damaged("the ending")
        }
        guard let cause = Cause(rawValue: try record.text("cause")) else { throw record.damaged("cause") }
        self.init(ending: ending, cause: cause, endedAt: try record.number("ended-at"))
    }
}
