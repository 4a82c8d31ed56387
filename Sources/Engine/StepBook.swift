import LaunchModel

/// The steps that are on their way, and those that came to nothing: what may not be planned for the moment, and what
/// is taken on the nodes without the store saying so yet.
///
/// Moments are milliseconds on the clock of ``Planner/Moment/uptime``.
struct StepBook: Sendable {
    private enum Hold: Sendable {
        /// A transaction is on its way.
        case committing
        /// Until the watch has told everything up to a revision.
        case untilTold(Int64)
        /// It was not answered, or refused: until a moment.
        case until(Int64)
    }

    /// How often in a row a step has failed, and after how many milliseconds the next is tried.
    struct Failure: Sendable, Hashable {
        var count: Int
        var pause: Int64

        /// Once for each doubling of the count.
        var isWorthTelling: Bool { count & (count - 1) == 0 }
    }

    /// The first pause after a failure; each is twice the one before, up to the longest.
    static let firstPause: Int64 = 100
    /// A store that did not answer will, and all wait for it.
    static let longestPauseUnanswered: Int64 = 5_000
    /// A store that has refused a step will most likely refuse it again.
    static let longestPauseRefused: Int64 = 30_000

    private var holds: [Step.Subject: Hold] = [:]
    private var failures: [Step.Subject: Int] = [:]
    /// An earlier step about these may have been executed, or may yet be.
    private var doubtful: Set<Step.Subject> = []
    /// What steps would take that are on their way or of unknown outcome.
    private(set) var reservations: [Step.Subject: [Step.Reservation]] = [:]

    /// About what nothing is to be planned.
    var busy: Set<Step.Subject> { Set(holds.keys) }

    mutating func begin(_ step: Step) {
        holds[step.subject] = .committing
        for place in step.reservations where reservations[step.subject]?.contains(place) != true {
            reservations[step.subject, default: []].append(place)
        }
    }

    /// It was executed at this revision, and the view has taken it in. An earlier one of unknown outcome never will be:
    /// it compared the same record.
    ///
    /// After a step that has taken assignments away nothing is planned about the assembly until the view has been told
    /// everything up to there. The step did not compare the reports, and the view, which knows of the deletion already,
    /// may lack reports that were written before it: it would show neither the assignment nor that it is being run.
    /// Then it shows them: an agent begins a run that must not be doubled (`on-disconnect: stop`) only after a report
    /// of it was written by a transaction that found the assignment there, hence before the deletion. (To compare each
    /// report, too, would add nothing to that, and reports that change often would keep a large assembly from ending.)
    mutating func succeeded(_ step: Step, at revision: Int64) {
        holds[step.subject] = step.deletesAssignments ? .untilTold(revision) : nil
        reservations[step.subject] = nil
        answered(step)
    }

    /// Its compares failed, at this revision.
    mutating func overtaken(_ step: Step, at revision: Int64) {
        holds[step.subject] = .untilTold(revision)
        answered(step)
    }

    private mutating func answered(_ step: Step) {
        failures[step.subject] = nil
        doubtful.remove(step.subject)
    }

    /// It may or may not have been executed, or may yet be. The watch tells, or the next step about the same subject
    /// finds out, since both write the same record; until then what it would take stays reserved.
    mutating func notAnswered(_ step: Step, at now: Int64) -> Failure {
        doubtful.insert(step.subject)
        return failed(step, now, Self.longestPauseUnanswered)
    }

    /// The store has refused it whatever it compared. It changes nothing, and what it would have taken is for others.
    mutating func refused(_ step: Step, at now: Int64) -> Failure {
        if !doubtful.contains(step.subject) { reservations[step.subject] = nil }
        return failed(step, now, Self.longestPauseRefused)
    }

    /// Each subject has its own count: that others succeed says nothing about this one.
    private mutating func failed(_ step: Step, _ now: Int64, _ longestPause: Int64) -> Failure {
        let count = failures[step.subject, default: 0] + 1
        failures[step.subject] = count
        let pause = min(Self.firstPause << min(count - 1, 16), longestPause)
        holds[step.subject] = .until(now + pause)
        return Failure(count: count, pause: pause)
    }

    /// Lets go what need not wait any longer.
    ///
    /// - Parameter revision: up to where the view has been told everything.
    mutating func release(toldUpTo revision: Int64, at now: Int64) {
        for (subject, hold) in holds {
            switch hold {
            case .committing: continue
            case .untilTold(let needed):
                guard revision >= needed else { continue }
                // What was written shows in the view by now, and what was not never will be.
                holds[subject] = nil
                reservations[subject] = nil
            case .until(let moment):
                if now >= moment { holds[subject] = nil }
            }
        }
    }

    /// Something waits for the watch.
    var waitsToBeTold: Bool {
        holds.values.contains { if case .untilTold = $0 { true } else { false } }
    }

    /// When something that was not answered, or refused, may be tried again.
    var nextMoment: Int64? {
        holds.values.compactMap { if case .until(let moment) = $0 { moment } else { nil } }.min()
    }
}
