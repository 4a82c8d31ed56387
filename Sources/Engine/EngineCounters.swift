import Synchronization

/// What an engine has cost the store since it was made.
public struct EngineCounters: Sendable, Hashable {
    /// Transactions that were executed, and those whose compares failed or whose outcome was not told.
    public var commits = 0
    public var failedCommits = 0
    /// Keys put and spans deleted by the executed ones.
    public var keysWritten = 0
    /// Changes told by the watch, the engine's own among them.
    public var watchEvents = 0
    /// How often everything was read: at each election, and when the watch had been compacted.
    public var reads = 0
    /// How often it planned.
    public var plans = 0
    /// How often it was elected.
    public var elections = 0

    public init() {}
}

/// The counters, shared by the engine and its terms.
final class CounterBoard: Sendable {
    private let counters = Mutex(EngineCounters())

    var snapshot: EngineCounters { counters.withLock { $0 } }

    func change(_ body: (inout EngineCounters) -> Void) { counters.withLock { body(&$0) } }
}
