import LaunchModel

@testable import Engine

/// A store and one engine, with agents played by hand.
struct World {
    var store = SimulatedStore()
    var engine: SimulatedEngine
    private var dice = Dice(seed: 1)
    private(set) var now: Int64 = 0

    init(nodes: [String] = ["n1", "n2"], millicores: Int64 = 1_000) {
        engine = SimulatedEngine(name: "e", &store, at: 0)
        for node in nodes { add(node, millicores: millicores) }
    }

    mutating func add(_ node: String, millicores: Int64 = 1_000) {
        store.put(
            Keys.node(node),
            NodeRecord(
                name: node, address: "127.0.0.1", agentAddress: "127.0.0.1:1",
                capacity: Resources(millicores: millicores, memoryBytes: 1 << 30), version: "1"))
        arrive(node)
    }

    mutating func arrive(_ node: String) {
        store.put(Keys.alive(node), NodePresence(since: Timestamp(milliseconds: 0), pid: 1), lease: node)
    }

    mutating func lose(_ nodes: String...) { for node in nodes { store.endLease(node) } }

    /// Lets the engine do what there is to do, and time pass.
    mutating func pass(milliseconds: Int64 = 0) {
        let end = now + milliseconds
        repeat {
            // Several rounds without a moment in between: one for each step that follows from another.
            for _ in 0..<20 { tick() }
            now += 100
        } while now < end
    }

    /// The engine hears, what it has decided is executed, and it decides anew.
    mutating func tick() { engine.tick(&store, &dice, at: now, isCalm: true) }

    mutating func launch(_ name: String, _ components: ComponentSpecification...) {
        submit(name, components)
        pass()
    }

    /// Launches without giving the engine a turn.
    mutating func submit(_ name: String, _ components: [ComponentSpecification]) {
        let specification = AssemblySpecification(name: name, components: components)
        store.put([(Keys.specification(name), specification.json), (Keys.wanted(name), Wanted(.running).json)])
    }

    mutating func want(_ name: String, _ state: Wanted.State, generation: Int = 1) {
        store.put(Keys.wanted(name), Wanted(state, generation: generation))
        pass()
    }

    /// All agents that are there report this of what they are to run, or of one instance alone.
    mutating func report(_ state: Report.State, of only: String? = nil, on node: String? = nil, reason: String? = nil) {
        for (key, assignment) in assignments() {
            guard case .assignment(let place, let instance) = Place(key: Array(key.utf8)),
                store.entries[Keys.alive(place)] != nil, only == nil || only == "\(instance)",
                node == nil || node == place, assignment.run || state == .stopped
            else { continue }
            store.put(
                Keys.report(place, instance),
                Report(
                    token: store.entries[key]?.createRevision ?? 0, generation: assignment.generation, state: state,
                    since: Timestamp(milliseconds: now), reason: reason), lease: place)
        }
        pass()
    }

    /// A report that the engine will not hear of until it hears again.
    mutating func reportUntold(_ instance: String, _ state: Report.State) -> String {
        engine.isDeaf = true
        let key = Keys.assignment("n1", InstanceID(instance)!)
        let report = Report(
            token: store.entries[key]?.createRevision ?? 0, generation: 1, state: state,
            since: Timestamp(milliseconds: now))
        let place = Keys.report("n1", InstanceID(instance)!)
        store.put(place, report, lease: "n1")
        return place
    }

    func assignments() -> [(key: String, value: Assignment)] {
        store.keys(Keys.agents).compactMap { key in
            key.contains("/assignments/") ? store.value(key, Assignment.self).map { (key, $0) } : nil
        }
    }

    /// `INSTANCE on NODE`, with a star where it is to run.
    var places: [String] {
        assignments().compactMap { key, value in
            guard case .assignment(let node, let instance) = Place(key: Array(key.utf8)) else { return nil }
            return "\(instance) on \(node)" + (value.run ? "*" : "")
        }.sorted()
    }

    func record(_ name: String) -> AssemblyRecord? { store.value(Keys.state(name)) }
    func state(_ name: String) -> AssemblyState? { record(name)?.state }
    func reason(_ name: String) -> String { record(name)?.reason ?? "" }

    func events(_ name: String) -> [AssemblyEvent] {
        store.keys(Keys.events(name)).compactMap { store.value($0) }
    }

    var status: EngineStatus? { store.value(Keys.engineStatus) }
}

func component(
    _ name: String = "web", count: Int = 1, millicores: Int64 = 100, dependsOn: [String] = [],
    onDisconnect: OnDisconnect = .keep
) -> ComponentSpecification {
    ComponentSpecification(
        name: name, command: "run", count: count,
        requirements: Requirements(resources: Resources(millicores: millicores)), dependsOn: dependsOn,
        onDisconnect: onDisconnect)
}
