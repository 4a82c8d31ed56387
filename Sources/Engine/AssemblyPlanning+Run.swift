import LaunchModel

/// Giving every instance its node, and letting it run when what it depends on runs.
extension AssemblyPlanning {
    mutating func run(_ specification: AssemblySpecification, _ wanted: Wanted) -> Outcome {
        if holdings.isEmpty {
            guard touched.isEmpty else { return waitToPlace("what is left of a former launch is cleared away first") }
            return placeAll(specification, wanted)
        }
        // As it is before anything is moved.
        let ready = readyComponents(specification)
        for component in specification.components {
            for instance in component.instances(of: name) where !touched.contains(instance) {
                if holdings[instance] == nil {
                    placeAgain(instance, component, wanted, run: ready.contains(component.name))
                } else {
                    settle(instance, wanted)
                }
            }
        }
        letRun(specification, wanted, ready)
        return runOutcome(specification, wanted)
    }

    /// The first placement: all instances or none.
    private mutating func placeAll(_ specification: AssemblySpecification, _ wanted: Wanted) -> Outcome {
        for instance in specification.instances {
            guard let waiting = formerRun(of: instance, specification.component(instance.component)) else { continue }
            return waitToPlace(waiting)
        }
        let before = self
        for component in specification.components {
            for instance in component.instances(of: name) {
                switch placement.place(instance, component.requirements) {
                case .success(let node):
                    create(instance, on: node, component, wanted.generation, run: component.dependsOn.isEmpty)
                case .failure(let refusal):
                    self = before
                    var outcome = Outcome(.preerror, reason: refusal.description)
                    if draft.old != .preerror { outcome.tell(.preerror, refusal.description, instance) }
                    return outcome
                }
            }
        }
        return runOutcome(specification, wanted)
    }

    private func waitToPlace(_ reason: String) -> Outcome {
        var outcome = Outcome(.initializing, reason: reason)
        if draft.old != nil, draft.old != .initializing { outcome.tell(.initializing, reason) }
        return outcome
    }

    /// An instance that has lost its assignment.
    private mutating func placeAgain(
        _ instance: InstanceID, _ component: ComponentSpecification, _ wanted: Wanted, run: Bool
    ) {
        guard formerRun(of: instance, component) == nil else { return }
        switch placement.place(instance, component.requirements) {
        case .success(let node):
            create(instance, on: node, component, wanted.generation, run: run)
            // Of a placement in several steps each instance needs no event of its own.
            if draft.old != nil, draft.old != .initializing {
                draft.edits[draft.edits.count - 1].tell("\(instance) is placed on \(node)", node)
            }
        case .failure(let refusal): refusals[instance] = refusal.description
        }
    }

    /// Why an instance must wait for a run of the past to end. An instance of which only one may ever run is not given a
    /// node while another still reports it.
    private func formerRun(of instance: InstanceID, _ component: ComponentSpecification?) -> String? {
        guard component?.onDisconnect == .stop, let node = view.reports[instance]?.keys.min() else { return nil }
        return "\(instance) waits for its former run on \(node) to end"
    }

    private mutating func create(
        _ instance: InstanceID, on node: String, _ component: ComponentSpecification, _ generation: Int, run: Bool
    ) {
        let assignment = Assignment(
            instance: instance, launch: view.specification?.createRevision ?? 0, generation: generation, run: run,
            component: component)
        let key = Keys.assignment(node, instance)
        var edit = Edit(instance)
        edit.compares.append(.init(key: key, modRevision: 0))
        edit.puts.append(.init(key: key, value: assignment.json))
        let resources = component.requirements.resources
        edit.reservations.append(.init(node: node, instance: instance, resources: resources))
        draft.edits.append(edit)
        placement.occupy(node, instance, resources)
        holdings[instance, default: []].append(Holding(node: node, assignment: assignment))
        touched.insert(instance)
    }

    // MARK: Where it has been placed

    private mutating func settle(_ instance: InstanceID, _ wanted: Wanted) {
        let held = holdings[instance] ?? []
        if let surplus = surplus(held) {
            let other = held.first { $0.node != surplus.holding.node }
            var edit = Edit(instance)
            edit.delete(Keys.assignment(surplus.holding.node, instance), surplus.holding.modRevision)
            // Decided on this report, if it was on one.
            if let other, other.isSatisfied, let report = view.reports[instance]?[other.node] {
                edit.compares.append(.init(key: Keys.report(other.node, instance), modRevision: report.modRevision))
            }
            edit.tell("\(instance) is taken off \(surplus.holding.node): \(surplus.reason)", surplus.holding.node)
            draft.edits.append(edit)
            touched.insert(instance)
            holdings[instance]?.removeAll { $0.node == surplus.holding.node }
            return
        }
        guard let newest = held.last, held.allSatisfy({ nodes.lost.contains($0.node) }), !nodes.isBraked else { return }
        move(instance, from: newest, held, wanted)
    }

    /// Which of several assignments of an instance goes, if one can go now. The replacement must run before the old
    /// one goes, unless the old one is back and runs before it.
    private func surplus(_ held: [Holding]) -> (holding: Holding, reason: String)? {
        guard held.count > 1, let newest = held.last else { return nil }
        let oldest = held[0]
        if let running = held.last(where: \.isSatisfied) {
            guard let other = held.first(where: { $0.node != running.node }) else { return nil }
            return (other, "it runs on \(running.node)")
        }
        // Never wanted twice: somebody else has written the store.
        if newest.assignment.component.onDisconnect == .stop {
            return (oldest, "it is assigned to \(newest.node) too, and only one may run")
        }
        if nodes.lost.contains(newest.node), held.dropLast().contains(where: { nodes.alive.contains($0.node) }) {
            return (newest, "the node is lost, and \(oldest.node) is there")
        }
        return held.count > 2 ? (oldest, "it is assigned to others too") : nil
    }

    /// Gives an instance whose nodes are all lost another one.
    private mutating func move(_ instance: InstanceID, from newest: Holding, _ held: [Holding], _ wanted: Wanted) {
        let component = newest.assignment.component
        guard formerRun(of: instance, component) == nil else { return }
        // One that may run on without the store keeps its assignment until the replacement runs. One that
        // must not, or was not to run, gives it up at once: its node's lease has expired, so it has been stopped.
        let staysBehind = component.onDisconnect == .keep && newest.assignment.run && held.count == 1
        // What it leaves behind frees its place on a lost node only, which takes nothing anyway.
        switch placement.place(instance, component.requirements, excluding: Set(held.map(\.node))) {
        case .failure(let refusal):
            refusals[instance] = "its node \(newest.node) is lost, and \(refusal)"
        case .success(let node):
            create(
                instance, on: node, component, max(newest.assignment.generation, wanted.generation),
                run: newest.assignment.run)
            let last = draft.edits.count - 1
            for holding in held {
                let key = Keys.assignment(holding.node, instance)
                draft.edits[last].compares.append(.init(key: Keys.alive(holding.node), modRevision: 0))
                draft.edits[last].compares.append(.init(key: key, modRevision: holding.modRevision))
            }
            if staysBehind {
                draft.edits[last].tell(
                    "\(newest.node) is lost: \(instance) is started on \(node), and may run on there until it is back",
                    node)
            } else {
                draft.edits[last].deletes.append(Keys.assignment(newest.node, instance))
                holdings[instance]?.removeAll { $0.node == newest.node }
                draft.edits[last].tell("\(newest.node) is lost: \(instance) is moved to \(node)", node)
            }
        }
    }

    // MARK: Dependencies

    /// The components whose depends-on all run.
    private func readyComponents(_ specification: AssemblySpecification) -> Set<String> {
        let running = Set(
            specification.components.filter { component in
                component.instances(of: name).allSatisfy { holdings[$0]?.contains(where: \.isSatisfied) ?? false }
            }.map(\.name))
        return Set(specification.components.filter { $0.dependsOn.allSatisfy(running.contains) }.map(\.name))
    }

    /// Switches on what may run, and tells the agents of a new generation. What runs already is not switched off when
    /// something it depends on fails: it may do without.
    private mutating func letRun(_ specification: AssemblySpecification, _ wanted: Wanted, _ ready: Set<String>) {
        for component in specification.components {
            let isReady = ready.contains(component.name)
            for instance in component.instances(of: name) where !touched.contains(instance) {
                for holding in holdings[instance] ?? [] {
                    var assignment = holding.assignment
                    assignment.run = assignment.run || isReady
                    assignment.generation = max(assignment.generation, wanted.generation)
                    if assignment != holding.assignment { rewrite(holding, assignment) }
                }
            }
        }
    }
}

extension ComponentSpecification {
    func instances(of assembly: String) -> [InstanceID] {
        (0..<max(0, count)).map { InstanceID(assembly: assembly, component: name, index: $0) }
    }
}
