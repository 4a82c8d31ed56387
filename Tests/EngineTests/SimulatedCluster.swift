import LaunchModel

@testable import Engine

/// A store, agents, engines and users, driven by a seed, in steps of 100 ms. What must always hold is checked after each.
struct SimulatedCluster {
    var store = SimulatedStore()
    var dice: Dice
    var agents: [SimulatedAgent]
    /// The last one leads; those before it do not know that they lead no longer.
    var engines: [SimulatedEngine] = []
    var now: Int64 = 0
    var isCalm = false
    /// What users wanted last, by assembly.
    var wanted: [String: Wanted] = [:]
    private(set) var complaints: [String] = []
    private var checked: Int64 = 0

    init(seed: UInt64, nodes: Int = 4, millicores: Int64 = 800) {
        dice = Dice(seed: seed)
        agents = (1...nodes).map { SimulatedAgent(name: "n\($0)", millicores: millicores) }
        elect()
    }

    mutating func elect() {
        if !engines.isEmpty { engines[engines.count - 1].depose(&store) }
        engines.append(SimulatedEngine(name: "e\(engines.count)", &store, at: now))
        if engines.count > 3 { engines.removeFirst() }
    }

    mutating func tick() {
        now += 100
        for index in agents.indices { agents[index].tick(&store, &dice, at: now, isCalm: isCalm) }
        for index in engines.indices { engines[index].tick(&store, &dice, at: now, isCalm: isCalm) }
        check()
    }

    /// - Returns: whether it came about in time.
    mutating func run(atMost milliseconds: Int64, until condition: (SimulatedCluster) -> Bool) async -> Bool {
        let end = now + milliseconds
        while now < end {
            if condition(self) { return true }
            // Other tests want the thread, too.
            await Task.yield()
            tick()
        }
        return condition(self)
    }

    // MARK: Users

    mutating func launch(_ name: String, _ components: [ComponentSpecification]) {
        let specification = AssemblySpecification(name: name, components: components)
        wanted[name] = Wanted(.running)
        store.put([(Keys.specification(name), specification.json), (Keys.wanted(name), Wanted(.running).json)])
    }

    mutating func want(_ name: String, _ state: Wanted.State, again: Bool = false) {
        guard var value = store.value(Keys.wanted(name), Wanted.self), value.state != .destroyed else { return }
        value.state = state
        if again { value.generation += 1 }
        wanted[name] = value
        store.put(Keys.wanted(name), value)
    }

    mutating func randomComponents() -> [ComponentSpecification] {
        let count = dice.number(1...3)
        return (0..<count).map { index in
            ComponentSpecification(
                name: "c\(index)", command: "run", count: dice.number(1...3),
                requirements: Requirements(resources: Resources(millicores: Int64(dice.number(0...4)) * 100)),
                dependsOn: index > 0 && dice.one(in: 2) ? ["c\(index - 1)"] : [],
                onDisconnect: dice.one(in: 2) ? .stop : .keep)
        }
    }

    /// Something goes wrong, or somebody wants something.
    mutating func stir() {
        // A node likes to be back just when its instances are being moved.
        for node in engines.flatMap(\.nodesGivenUp) where dice.one(in: 3) {
            if let index = agents.firstIndex(where: { $0.name == node }) { agents[index].comeBack() }
        }
        // And a user to destroy what has just been placed, before the agents have said anything.
        for name in wanted.keys.sorted() where state(name)?.state == .initialized && dice.one(in: 8) {
            want(name, .destroyed)
        }
        let name = "a\(dice.number(1...4))"
        let agent = dice.number(0...agents.count - 1)
        switch dice.number(0...99) {
        case 0...3 where store.keys(Keys.assembly(name)).isEmpty: launch(name, randomComponents())
        case 4: want(name, .stopped)
        case 5: want(name, .running, again: true)
        case 6: want(name, .destroyed)
        case 7, 13: agents[agent].cut(at: now)
        case 8 where dice.one(in: 3): agents[agent].die(at: now)
        case 9...11: agents[agent].comeBack()
        case 12 where dice.one(in: 3): elect()
        default: return
        }
    }

    // MARK: What must always hold

    private mutating func check() {
        checkRuns()
        guard store.revision != checked else { return }
        checked = store.revision
        var assigned: [InstanceID: [String]] = [:]
        var taken: [String: Int64] = [:]
        for key in store.keys(Keys.agents) {
            guard case .assignment(let node, let instance) = Place(key: Array(key.utf8)),
                let assignment = store.value(key, Assignment.self)
            else { continue }
            assigned[instance, default: []].append(node)
            taken[node, default: 0] += assignment.component.requirements.resources.millicores
            let most = assignment.component.onDisconnect == .stop ? 1 : 2
            if let all = assigned[instance], all.count > most { complain("\(instance) is assigned to \(all)") }
        }
        for agent in agents where taken[agent.name, default: 0] > agent.capacity.millicores {
            complain("\(agent.name) is overbooked: \(taken[agent.name, default: 0])")
        }
        for name in Set(store.keys(Keys.assemblies).compactMap { $0.split(separator: "/").dropFirst(2).first }) {
            let kept = store.keys(Keys.events(String(name)))
            guard let record = store.value(Keys.state(String(name)), AssemblyRecord.self) else { continue }
            let expected = (record.firstEvent..<record.nextEvent).map { Keys.event(String(name), $0) }
            if kept != expected || kept.count > StepDraft.eventsKept {
                complain("the events of \(name) are \(kept.count), and the record says \(expected.count)")
            }
        }
    }

    private mutating func checkRuns() {
        var live: [String: String] = [:]
        for agent in agents {
            for (instance, run) in agent.runs where run.isLive && run.mustStop {
                // Of one launch or of two.
                if let other = live.updateValue(agent.name, forKey: "\(instance)") {
                    complain("\(instance) runs on \(other) and \(agent.name)")
                }
                let record = state(instance.assembly)
                if record?.state == .destroyed, record?.launch == run.launch {
                    complain("\(instance) runs on \(agent.name), and the assembly is said to be destroyed")
                }
            }
        }
    }

    mutating func complain(_ text: String) { complaints.append("at \(now) ms: \(text)") }

    // MARK: How it stands

    func state(_ name: String) -> AssemblyRecord? { store.value(Keys.state(name)) }

    /// Everything is as the users want it.
    var isSettled: Bool {
        wanted.allSatisfy { name, wanted in
            switch wanted.state {
            case .running: state(name)?.state == .running && state(name)?.generation == wanted.generation
            case .stopped: state(name)?.state == .stopped
            case .destroyed: isGone(name)
            }
        }
    }

    func isGone(_ name: String) -> Bool {
        store.keys(Keys.assembly(name)).isEmpty
            && !store.entries.keys.contains { $0.contains("/\(name).") }
            && !agents.contains { $0.runs.keys.contains { $0.assembly == name } }
    }

    /// Instances that run, by assembly.
    func runs(_ name: String) -> [InstanceID: [String]] {
        var found: [InstanceID: [String]] = [:]
        for agent in agents {
            for (instance, run) in agent.runs where instance.assembly == name && run.isLive {
                found[instance, default: []].append(agent.name)
            }
        }
        return found
    }
}
