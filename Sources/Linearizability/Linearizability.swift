/// Judges a history of concurrent operations: could all of them have happened one after another, each at one moment between
/// its call and its answer, the way a sequential model says? (Herlihy and Wing, "Linearizability", 1990.)
///
/// ```
///   clients ──call, answer──► History ──► checkLinearizability(of:against:) ──► Verdict
///                                              ▲
///                     SequentialModel: what one operation after another would do and answer
/// ```
///
/// - `History` records calls and answers with times of one clock. A call without an answer may have taken effect at any
///   time since, or never.
/// - The search is Wing and Gong's ("Testing and verifying concurrent objects", 1993): whoever was called may be next,
///   unless another one was answered before that. Lowe's memoisation ("Testing for linearizability", 2017) keeps it from looking twice at the same state
///   reached by the same operations. Three rules of ours, each shown where it stands, let it run through long histories of
///   a store whose answers carry revisions almost without a choice.
/// - `RegisterModel` is a plain register, `VersionedRegister` a key with versions and revisions (check each key by itself:
///   `checkLinearizability(of:by:against:)`), `KeyValueModel` a whole small key space with transactions, where past reads
///   and watches bear witness, too.
/// - Deciding this is NP-complete: past a bound on its effort the search says so (`Verdict.undecided`) instead of running on.
///
/// It depends on nothing, and knows nothing of how the operations were carried out.

/// What is to be said of a history.
public enum Verdict: Sendable {
    /// - Parameter order: in which the operations may have taken effect, as positions in the history; those without an
    ///   answer appear only where they are needed.
    case linearizable(order: [Int])
    case violated(Explanation)
    /// The search was given up after so many steps.
    case undecided(steps: Int)

    public var isLinearizable: Bool { if case .linearizable = self { true } else { false } }
    public var explanation: Explanation? { if case .violated(let explanation) = self { explanation } else { nil } }
}

/// Whether a history could have come from a model.
///
/// - Parameter maximumSteps: how often the model may be asked before the search is given up.
public func checkLinearizability<Model: SequentialModel>(
    of history: History<Model.Call, Model.Answer>, against model: Model, maximumSteps: Int = 10_000_000
) -> Verdict {
    var search = Search(history, model, maximumSteps: maximumSteps)
    return search.run()
}

/// Whether each part of a history, taken by itself, could have come from a model: a history of independent objects is
/// linearizable exactly if that of each of them is (Herlihy and Wing's locality), and small searches are quick.
///
/// - Parameters:
///   - key: the object that a call is about.
///   - maximumSteps: for each part.
/// - Returns: the first part that is violated, else an undecided one, else `.linearizable` without an order.
public func checkLinearizability<Model: SequentialModel, Key: Hashable>(
    of history: History<Model.Call, Model.Answer>, by key: (Model.Call) -> Key, against model: Model,
    maximumSteps: Int = 10_000_000
) -> Verdict {
    var undecided: Verdict?
    for part in history.partitioned(by: key) {
        switch checkLinearizability(of: part, against: model, maximumSteps: maximumSteps) {
        case .linearizable: break
        case .violated(let explanation): return .violated(explanation)
        case .undecided(let steps): undecided = .undecided(steps: steps)
        }
    }
    return undecided ?? .linearizable(order: [])
}
