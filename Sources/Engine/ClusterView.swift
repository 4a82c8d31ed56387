import LaunchModel

/// A key as the store has it: its value, or why the value is none, and its revisions.
public struct Stored<Value: Record>: Sendable, Hashable {
    public var value: Value?
    /// Why there is no value.
    public var complaint: String?
    public var createRevision: Int64
    public var modRevision: Int64

    init(json: [UInt8], createRevision: Int64, modRevision: Int64) {
        self.createRevision = createRevision
        self.modRevision = modRevision
        do { value = try Value(json: json) } catch { complaint = error.description }
    }
}

/// One assembly with all that is about it.
public struct AssemblyView: Sendable, Hashable {
    public var specification: Stored<AssemblySpecification>?
    public var wanted: Stored<Wanted>?
    public var record: Stored<AssemblyRecord>?
    /// Sequence numbers of the events that are kept.
    public var events: Set<Int> = []
    /// By instance and node.
    public var assignments: [InstanceID: [String: Stored<Assignment>]] = [:]
    public var reports: [InstanceID: [String: Stored<Report>]] = [:]

    var isEmpty: Bool {
        specification == nil && wanted == nil && record == nil && events.isEmpty && assignments.isEmpty
            && reports.isEmpty
    }
}

/// What the store says under `/megam/`, as far as it has been told.
///
/// It takes in what is read at a revision, what a watch tells from the next one on, and the engine's own commits as soon
/// as they are acknowledged, which is before the watch tells them. Each change carries the revision that made it, and one that is
/// not newer than what is known of its key changes nothing: a commit told a second time, by the watch, is no news.
public struct ClusterView: Sendable {
    public private(set) var nodes: [String: Stored<NodeRecord>] = [:]
    /// The nodes whose agents are there.
    public private(set) var alive: [String: Stored<NodePresence>] = [:]
    public private(set) var assemblies: [String: AssemblyView] = [:]
    public private(set) var status: Stored<EngineStatus>?
    /// Everything up to this revision has been taken in.
    public private(set) var revision: Int64

    /// The latest of the engine's own commits that were acknowledged.
    private var committed: Int64 = 0
    /// Own commits up to here are known only once they have been told.
    private var forgotten: Int64 = 0

    /// The revision that last wrote each key. Of a deleted one it is kept until the watch has passed it.
    private var revisions: [String: Int64] = [:]
    private var buried: [String] = []

    /// An empty store at a revision.
    public init(revision: Int64 = 0) { self.revision = revision }

    /// Whether everything that the engine has committed is in it. If not, the watch is yet to tell.
    public var isWhole: Bool { revision >= forgotten }

    /// Begins anew with what was read as of one revision. What the engine has committed since then is forgotten, although
    /// its transactions were acknowledged: until it is told again the view is not whole.
    public mutating func begin(with read: ClusterView) {
        let committed = committed
        self = read
        self.committed = committed
        forgotten = committed
    }

    /// What became of a key.
    public enum Change: Sendable, Hashable {
        case put([UInt8], createRevision: Int64)
        case delete
    }

    /// Takes in one change.
    public mutating func apply(_ key: String, _ change: Change, at modRevision: Int64) {
        guard modRevision > (revisions[key] ?? 0), let place = Place(key: Array(key.utf8)) else { return }
        revisions[key] = modRevision
        if change == .delete { buried.append(key) }
        switch place {
        case .engineCandidate: break
        case .engineStatus: status = Self.stored(change, modRevision)
        case .node(let node): nodes[node] = Self.stored(change, modRevision)
        case .alive(let node): alive[node] = Self.stored(change, modRevision)
        case .assignment(let node, let instance):
            changeAssembly(instance.assembly) {
                $0.assignments[instance, default: [:]][node] = Self.stored(change, modRevision)
                if $0.assignments[instance]?.isEmpty == true { $0.assignments[instance] = nil }
            }
        case .report(let node, let instance):
            changeAssembly(instance.assembly) {
                $0.reports[instance, default: [:]][node] = Self.stored(change, modRevision)
                if $0.reports[instance]?.isEmpty == true { $0.reports[instance] = nil }
            }
        case .specification(let name): changeAssembly(name) { $0.specification = Self.stored(change, modRevision) }
        case .wanted(let name): changeAssembly(name) { $0.wanted = Self.stored(change, modRevision) }
        case .state(let name): changeAssembly(name) { $0.record = Self.stored(change, modRevision) }
        case .event(let name, let sequence):
            changeAssembly(name) {
                if change == .delete { $0.events.remove(sequence) } else { $0.events.insert(sequence) }
            }
        }
    }

    /// Everything up to `revision` has been told.
    public mutating func advance(to revision: Int64) {
        self.revision = max(self.revision, revision)
        let told = buried.filter { (revisions[$0] ?? 0) <= self.revision }
        guard !told.isEmpty else { return }
        // One may have been written again since.
        for key in told where !holds(key) { revisions[key] = nil }
        buried.removeAll { (revisions[$0] ?? 0) <= self.revision }
    }

    /// Takes in a transaction of the engine's own that was acknowledged. One that the watch has told already is no news.
    public mutating func apply(_ step: Step, at modRevision: Int64) {
        committed = max(committed, modRevision)
        guard modRevision > revision else { return }
        for put in step.puts {
            apply(put.key, .put(put.value, createRevision: createRevision(put.key) ?? modRevision), at: modRevision)
        }
        for span in step.deletes {
            for key in keys(in: span) { apply(key, .delete, at: modRevision) }
        }
    }

    private mutating func changeAssembly(_ name: String, _ change: (inout AssemblyView) -> Void) {
        var assembly = assemblies[name] ?? AssemblyView()
        // So that the change does not copy it.
        assemblies[name] = nil
        change(&assembly)
        if !assembly.isEmpty { assemblies[name] = assembly }
    }

    private static func stored<Value>(_ change: Change, _ modRevision: Int64) -> Stored<Value>? {
        guard case .put(let json, let createRevision) = change else { return nil }
        return Stored(json: json, createRevision: createRevision, modRevision: modRevision)
    }

    // MARK: Keys

    private func holds(_ key: String) -> Bool {
        guard let place = Place(key: Array(key.utf8)) else { return false }
        if case .event(let name, let sequence) = place { return assemblies[name]?.events.contains(sequence) ?? false }
        return createRevision(key) != nil
    }

    /// nil: there is no such key. Events are written once, and theirs is not kept.
    private func createRevision(_ key: String) -> Int64? {
        switch Place(key: Array(key.utf8)) {
        case .engineStatus: status?.createRevision
        case .node(let node): nodes[node]?.createRevision
        case .alive(let node): alive[node]?.createRevision
        case .assignment(let node, let instance):
            assemblies[instance.assembly]?.assignments[instance]?[node]?.createRevision
        case .report(let node, let instance): assemblies[instance.assembly]?.reports[instance]?[node]?.createRevision
        case .specification(let name): assemblies[name]?.specification?.createRevision
        case .wanted(let name): assemblies[name]?.wanted?.createRevision
        case .state(let name): assemblies[name]?.record?.createRevision
        case .engineCandidate, .event, nil: nil
        }
    }

    private func keys(in span: Step.Span) -> [String] {
        switch span {
        case .key(let key): return [key]
        case .events(let name, let range):
            return (assemblies[name]?.events ?? []).filter(range.contains).map { Keys.event(name, $0) }
        case .assembly(let name):
            guard let assembly = assemblies[name] else { return [] }
            return [Keys.specification(name), Keys.wanted(name), Keys.state(name)].filter { createRevision($0) != nil }
                + assembly.events.map { Keys.event(name, $0) }
        }
    }
}
