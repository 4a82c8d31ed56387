import EtcdClient
import LaunchModel

/// A record with its revisions.
struct Stored<Value: Record>: Sendable {
    var value: Value
    var createRevision: Int64
    var modRevision: Int64
}

/// Where an instance is, or was.
struct Slot: Hashable, Comparable, Sendable {
    var instance: InstanceID
    var node: String

    static func < (a: Self, b: Self) -> Bool { (a.instance, a.node) < (b.instance, b.node) }
}

/// What was read of the store, by what it is about.
struct Inventory: Sendable {
    var revision: Int64 = 0
    var specifications: [String: Stored<AssemblySpecification>] = [:]
    var wanted: [String: Stored<Wanted>] = [:]
    var states: [String: Stored<AssemblyRecord>] = [:]
    var events: [String: [Int: AssemblyEvent]] = [:]
    var nodes: [String: Stored<NodeRecord>] = [:]
    var presences: [String: NodePresence] = [:]
    var assignments: [Slot: Stored<Assignment>] = [:]
    var reports: [Slot: Report] = [:]
    var engineStatus: EngineStatus?
    /// What cannot be read, a sentence each.
    var complaints: [String] = []

    mutating func take(_ kvs: [KeyValue]) {
        for kv in kvs {
            do throws(RecordError) { try take(kv) } catch { complaints.append("\(kv.keyText): \(error)") }
        }
    }

    private mutating func take(_ kv: KeyValue) throws(RecordError) {
        switch Place(key: kv.key) {
        case .specification(let name): specifications[name] = try stored(kv)
        case .wanted(let name): wanted[name] = try stored(kv)
        case .state(let name): states[name] = try stored(kv)
        case .event(let name, let sequence): events[name, default: [:]][sequence] = try AssemblyEvent(json: kv.value)
        case .node(let node): nodes[node] = try stored(kv)
        case .alive(let node): presences[node] = try NodePresence(json: kv.value)
        case .assignment(let node, let instance):
            assignments[Slot(instance: instance, node: node)] = try stored(kv)
        case .report(let node, let instance):
            reports[Slot(instance: instance, node: node)] = try Report(json: kv.value)
        case .engineStatus: engineStatus = try EngineStatus(json: kv.value)
        case .engineCandidate, nil: break
        }
    }

    private func stored<Value: Record>(_ kv: KeyValue) throws(RecordError) -> Stored<Value> {
        Stored(value: try Value(json: kv.value), createRevision: kv.createRevision, modRevision: kv.modRevision)
    }

    /// The places of an assembly's instances: what is assigned, and what is reported and not assigned any more.
    func slots(of assembly: String) -> [Slot] {
        Set(assignments.keys).union(reports.keys).filter { $0.instance.assembly == assembly }.sorted()
    }

    /// How many of an assembly's instances run.
    func running(of specification: AssemblySpecification) -> Int {
        let running = Set(
            reports.filter { $0.key.instance.assembly == specification.name && $0.value.state == .running }
                .map(\.key.instance))
        return specification.instances.count { running.contains($0) }
    }
}
