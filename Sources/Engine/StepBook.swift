import LaunchModel

/// The steps that are on their way, and those that came to nothing: what may not be planned for the moment, and what
/// is taken on the nodes without the store saying so yet.
///
/// Moments are milliseconds on the clock of ``Planner/Moment/uptime``.
struct StepBook: Sendable {
    private enum Hold: Sendable {
        /// A transaction is on its way.
        case committing
        /// Its compares failed: until the watch has told what it was that changed.
        case untilTold(Int64)
        /// It was not answered: until a moment.
        case until(Int64)
    }

    private var holds: [Step.Subject: Hold] = [:]
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

    /// It was executed and the view has taken it in. An earlier one of unknown outcome never will be: it compared the same record.
    mutating func succeeded(_ step: Step) {
        holds[step.subject] = nil
        reservations[step.subject] = nil
    }

    /// Its compares failed, at this revision.
    mutating func overtaken(_ step: Step, at revision: Int64) { holds[step.subject] = .untilTold(revision) }

    /// It may or may not have been executed, or may yet be. The watch tells, or the next step about the same subject
    /// finds out, since both write the same record; until then what it would take stays reserved.
    mutating func notAnswered(_ step: Step, until moment: Int64) { holds[step.subject] = .until(moment) }

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

    /// When something that was not answered may be tried again.
    var nextMoment: Int64? {
        holds.values.compactMap { if case .until(let moment) = $0 { moment } else { nil } }.min()
    }
}
