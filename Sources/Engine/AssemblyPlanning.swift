import LaunchModel

/// The next step for one assembly: what it should have is compared with what it has.
///
/// First the assignments are edited (here), then the state that follows from the edited assignments and the reports is
/// found (`AssemblyPlanning+State`), then both become one transaction with the events that tell of them (`StepDraft`).
struct AssemblyPlanning {
    /// An assignment of an instance, with what its agent says of it.
    struct Holding {
        var node: String
        var assignment: Assignment
        /// Both 0: this step creates it.
        var createRevision: Int64 = 0
        var modRevision: Int64 = 0
        /// Only a report about this very assignment and generation.
        var report: Report?

        /// Runs, or has done what it was to do.
        var isSatisfied: Bool {
            assignment.run && (report?.state == .running || report?.state == .completed)
        }
    }

    let name: String
    let view: AssemblyView
    let nodes: NodesNow
    let now: Timestamp
    var placement: Placement

    /// By instance, the oldest first: as this step will leave it.
    var holdings: [InstanceID: [Holding]] = [:]
    var draft: StepDraft
    /// Instances whose assignments this step changes: they are left alone otherwise until it is done.
    var touched: Set<InstanceID> = []
    /// Why an instance has no place.
    var refusals: [InstanceID: String] = [:]
    /// The step only says the same state for another reason.
    private(set) var changesReasonOnly = false
    private(set) var writesReason = false

    init(name: String, view: AssemblyView, nodes: NodesNow, now: Timestamp, placement: Placement) {
        self.name = name
        self.view = view
        self.nodes = nodes
        self.now = now
        self.placement = placement
        draft = StepDraft(name: name, view: view, now: now)
    }

    /// nil: nothing is to be done now.
    mutating func step() -> Step? {
        guard let specification = view.specification else { return clearLeftovers() }
        if view.wanted?.value?.state == .destroyed || draft.old == .destroying || draft.old == .destroyed {
            return destroy()
        }
        var outcome: Outcome
        if let complaint = unsoundness(specification) {
            outcome = Outcome(view.assignments.isEmpty ? .preerror : .posterror, reason: complaint)
            if draft.old != outcome.state { outcome.tell(outcome.state, complaint) }
        } else if let specification = specification.value, let wanted = view.wanted?.value {
            collect(specification)
            outcome = wanted.state == .stopped ? stop() : run(specification, wanted)
        } else {
            return nil
        }
        let step = draft.step(outcome)
        changesReasonOnly = draft.changesReasonOnly
        writesReason = draft.writesReason
        return step
    }

    private func unsoundness(_ specification: Stored<AssemblySpecification>) -> String? {
        let remedy = "; destroy it and launch one that is sound"
        if let complaint = specification.complaint { return "its specification cannot be read: \(complaint)\(remedy)" }
        if let complaint = specification.value?.complaint(named: name) {
            return "its specification is not sound: \(complaint)\(remedy)"
        }
        guard let wanted = view.wanted else {
            return "nothing says what is wanted of it (\(Keys.wanted(name)) is missing); start, stop or destroy it"
        }
        return wanted.complaint.map { "what is wanted of it cannot be read: \($0); start, stop or destroy it" }
    }

    // MARK: What there is

    /// Sorts the assignments into those of this launch and those that nobody wants.
    private mutating func collect(_ specification: AssemblySpecification) {
        let launch = view.specification?.createRevision
        let instances = Set(specification.instances)
        for (instance, stored) in view.assignments.sorted(by: { $0.key < $1.key }) {
            for (node, stored) in stored.sorted(by: { $0.key < $1.key }) {
                guard let assignment = stored.value, assignment.instance == instance, assignment.launch == launch,
                    instances.contains(instance)
                else {
                    remove(
                        instance, from: node, modRevision: stored.modRevision,
                        because: stored.complaint.map { "it cannot be read: \($0)" }
                            ?? "it belongs to no instance of this launch")
                    continue
                }
                let report = view.reports[instance]?[node]?.value
                let isAbout =
                    report?.token == stored.createRevision && report?.generation == assignment.generation
                    && nodes.alive.contains(node)
                holdings[instance, default: []].append(
                    Holding(
                        node: node, assignment: assignment, createRevision: stored.createRevision,
                        modRevision: stored.modRevision, report: isAbout ? report : nil))
            }
            holdings[instance]?.sort { $0.createRevision < $1.createRevision }
        }
    }

    private mutating func remove(_ instance: InstanceID, from node: String, modRevision: Int64, because reason: String)
    {
        var edit = Edit(instance)
        edit.delete(Keys.assignment(node, instance), modRevision)
        edit.tell("removed the assignment of \(instance) to \(node): \(reason)", node)
        draft.edits.append(edit)
        touched.insert(instance)
    }

    // MARK: Destroying

    /// What lies about without a specification.
    private func clearLeftovers() -> Step? {
        var step = Step(.assembly(name))
        step.compares = [.init(key: Keys.specification(name), modRevision: 0)]
        let assignments = assignmentKeys.prefix(Step.maximumOperations - 10)
        if !assignments.isEmpty {
            step.compares += assignments.map { .init(key: $0.key, modRevision: $0.modRevision) }
            step.deletes = assignments.map { .key($0.key) }
            return step
        }
        // Its agents clear away the reports. What is wanted without anything else is the beginning of a launch.
        guard view.reports.isEmpty, view.record != nil || !view.events.isEmpty else { return nil }
        step.compares.append(.init(key: Keys.state(name), modRevision: view.record?.modRevision ?? 0))
        step.deletes = [.assembly(name)]
        return step
    }

    private var assignmentKeys: [(key: String, modRevision: Int64)] {
        view.assignments.sorted { $0.key < $1.key }.flatMap { instance, stored in
            stored.sorted { $0.key < $1.key }.map { (Keys.assignment($0.key, instance), $0.value.modRevision) }
        }
    }

    private mutating func destroy() -> Step? {
        if draft.old == .destroyed, view.assignments.isEmpty {
            var step = draft.emptyStep()
            step.deletes = [.assembly(name)]
            return step
        }
        for (key, modRevision) in assignmentKeys {
            var edit = Edit(nil)
            edit.delete(key, modRevision)
            draft.edits.append(edit)
        }
        var outcome = Outcome(.destroying)
        outcome.isStateFirst = true
        if draft.old != .destroying {
            let count = view.assignments.count
            outcome.tell(
                .destroying, count == 0 ? "it is being destroyed" : "it is being destroyed: \(instances(count)) end")
        }
        if view.assignments.isEmpty, view.reports.isEmpty {
            outcome.state = .destroyed
            outcome.tell(.destroyed, "nothing of it is left on any node")
        }
        return draft.step(outcome)
    }

    func instances(_ count: Int) -> String { count == 1 ? "1 instance" : "\(count) instances" }

    // MARK: Stopping

    private mutating func stop() -> Outcome {
        for (instance, held) in holdings.sorted(by: { $0.key < $1.key }) where !touched.contains(instance) {
            for holding in held where holding.assignment.run {
                var assignment = holding.assignment
                assignment.run = false
                rewrite(holding, assignment)
            }
            // One place is enough to come back to.
            guard held.count > 1, held.allSatisfy({ !$0.assignment.run }) else { continue }
            let kept = held.last { nodes.alive.contains($0.node) } ?? held[held.count - 1]
            for holding in held where holding.node != kept.node {
                remove(
                    instance, from: holding.node, modRevision: holding.modRevision, because: "it is on \(kept.node) too"
                )
            }
        }
        return stopOutcome()
    }

    /// Writes an assignment anew where it is.
    mutating func rewrite(_ holding: Holding, _ assignment: Assignment) {
        let key = Keys.assignment(holding.node, assignment.instance)
        var edit = Edit(assignment.instance)
        edit.compares.append(.init(key: key, modRevision: holding.modRevision))
        edit.puts.append(.init(key: key, value: assignment.json))
        draft.edits.append(edit)
        guard let index = holdings[assignment.instance]?.firstIndex(where: { $0.node == holding.node }) else { return }
        holdings[assignment.instance]?[index].assignment = assignment
        if holding.assignment.generation != assignment.generation {
            holdings[assignment.instance]?[index].report = nil
        }
    }
}

/// A change of assignments that is whole or not at all.
struct Edit {
    var instance: InstanceID?
    var compares: [Step.Compare] = []
    var puts: [Step.Put] = []
    var deletes: [String] = []
    var reservations: [Step.Reservation] = []
    var event: (text: String, node: String?)?

    init(_ instance: InstanceID?) { self.instance = instance }

    mutating func delete(_ key: String, _ modRevision: Int64) {
        compares.append(.init(key: key, modRevision: modRevision))
        deletes.append(key)
    }

    mutating func tell(_ text: String, _ node: String?) { event = (text, node) }
}

/// The state that an assembly comes to, and what is told of it.
struct Outcome {
    struct Telling {
        var state: AssemblyState
        var text: String
        var instance: InstanceID?
        var node: String?
    }

    var state: AssemblyState
    var reason: String?
    var tellings: [Telling] = []
    /// The state is entered although not all edits fit into the step.
    var isStateFirst = false

    init(_ state: AssemblyState, reason: String? = nil) {
        self.state = state
        self.reason = reason
    }

    mutating func tell(_ state: AssemblyState, _ text: String, _ instance: InstanceID? = nil, _ node: String? = nil) {
        tellings.append(Telling(state: state, text: text, instance: instance, node: node))
    }
}
