import LaunchModel

/// Which state follows from the assignments and the reports.
extension AssemblyPlanning {
    private enum Standing {
        case satisfied
        /// Time alone will not mend it.
        case stuck(String, node: String?)
        /// Its nodes seem dead together with too many others.
        case braked
        /// Its agent has taken it up.
        case started(String)
        case pending(String)
    }

    static let brakeReason =
        "some of its nodes are lost, and nothing is moved while more than half of all nodes seem dead; it goes on when "
        + "they are back (see `megam nodes`)"

    mutating func stopOutcome() -> Outcome {
        let isLive = view.reports.values.contains { reports in
            reports.values.contains { stored in
                guard let state = stored.value?.state else { return false }
                return state == .starting || state == .running || state == .waiting
            }
        }
        let wasPlaced = !holdings.isEmpty
        let isStopping = isLive || !draft.edits.isEmpty
        var outcome = Outcome(isStopping ? .stopping : .stopped)
        outcome.isStateFirst = true
        if draft.old != .stopping, isStopping || (wasPlaced && draft.old != .stopped) {
            outcome.tell(.stopping, "it is being stopped: \(instances(holdings.count)) end")
        }
        if !isStopping, draft.old != .stopped {
            outcome.tell(.stopped, wasPlaced ? "nothing of it runs; it keeps its places" : "it has not been placed")
        }
        return outcome
    }

    func runOutcome(_ specification: AssemblySpecification, _ wanted: Wanted) -> Outcome {
        let all = specification.instances
        var stuck: [(instance: InstanceID, text: String, node: String?)] = []
        var (isBraked, isAllSatisfied, isAllTakenUp, isAllToRun) = (false, true, true, true)
        var waiting: (instance: InstanceID, text: String)?
        for instance in all {
            let held = holdings[instance] ?? []
            if held.isEmpty || held.contains(where: { !$0.assignment.run }) { isAllToRun = false }
            switch standing(of: instance, held) {
            case .satisfied: continue
            case .stuck(let text, let node): stuck.append((instance, text, node))
            case .braked: isBraked = true
            case .started(let text): waiting = waiting ?? (instance, text)
            case .pending(let text):
                isAllTakenUp = false
                waiting = waiting ?? (instance, text)
            }
            isAllSatisfied = false
        }
        if let first = stuck.first {
            let more = stuck.count - 1
            let text = first.text + (more == 0 ? "" : "; \(more) more of \(instances(all.count)) cannot run either")
            var outcome = Outcome(holdings.isEmpty ? .preerror : .posterror, reason: text)
            if draft.old != outcome.state { outcome.tell(outcome.state, text, first.instance, first.node) }
            return outcome
        }
        if isBraked {
            var outcome = Outcome(.posterror, reason: Self.brakeReason)
            if draft.old != .posterror { outcome.tell(.posterror, Self.brakeReason) }
            return outcome
        }
        let hadBegun = draft.old == .bootstrapped || draft.old == .running || draft.old == .posterror
        let state: AssemblyState =
            isAllSatisfied ? .running : isAllToRun && (isAllTakenUp || hadBegun) ? .bootstrapped : .initialized
        let isRestart = wanted.generation > (view.record?.value?.generation ?? wanted.generation)
        return progress(to: state, waiting, all, isRestart: isRestart)
    }

    /// The states on the way to `state`, each with its event.
    private func progress(
        to state: AssemblyState, _ waiting: (instance: InstanceID, text: String)?, _ all: [InstanceID],
        isRestart: Bool
    ) -> Outcome {
        var outcome = Outcome(state)
        guard draft.old != state else { return outcome }
        var passed: [AssemblyState]
        switch draft.old {
        case nil, .initializing, .preerror, .stopping, .stopped, .destroying, .destroyed:
            passed = [.initialized, .bootstrapped, .running]
        case .initialized: passed = [.bootstrapped, .running]
        case .bootstrapped, .running, .posterror: passed = [state]
        }
        if let index = passed.firstIndex(of: state) { passed.removeSubrange((index + 1)...) }
        if passed.isEmpty || passed.last != state { passed = [state] }
        for state in passed {
            switch state {
            case .initialized: outcome.tell(state, "placed: \(places(all))")
            case .bootstrapped where draft.old == .running || draft.old == .posterror:
                let text = isRestart ? "it is started again" : "not all of it runs"
                outcome.tell(state, text + (waiting.map { ": \($0.text)" } ?? ""), waiting?.instance)
            case .bootstrapped:
                outcome.tell(
                    state, "\(all.count == 1 ? "its instance has" : "all \(all.count) instances have") been started")
            default: outcome.tell(state, all.count == 1 ? "its instance runs" : "all \(all.count) instances run")
            }
        }
        return outcome
    }

    private func places(_ all: [InstanceID]) -> String {
        let shown = all.prefix(10).map { instance in
            "\(instance) on \(holdings[instance]?.last?.node ?? "no node")"
        }
        return shown.joined(separator: ", ") + (all.count > 10 ? " and \(all.count - 10) more" : "")
    }

    private func standing(of instance: InstanceID, _ held: [Holding]) -> Standing {
        if held.contains(where: \.isSatisfied) { return .satisfied }
        if let refusal = refusals[instance] { return .stuck(refusal, node: held.last?.node) }
        guard let holding = held.last(where: { nodes.alive.contains($0.node) }) else {
            guard let node = held.last?.node else { return .pending("\(instance) has no place yet") }
            // A new assignment's node may have gone meanwhile: that shows in the next round.
            return nodes.isBraked && held.allSatisfy({ $0.createRevision != 0 })
                ? .braked : .pending("\(instance) is on \(node), which is lost")
        }
        guard let report = holding.report else { return .pending("\(instance) on \(holding.node) is yet to start") }
        let subject = "\(instance) on \(holding.node)"
        switch report.state {
        case .failed:
            return .stuck("\(subject) failed: \(report.reason ?? "its agent gives no reason")", node: holding.node)
        case .waiting:
            let end = (report.lastEnd?.text ?? report.reason).map { " (\($0))" } ?? ""
            return .started("\(subject) has ended\(end) and is started again")
        case .starting, .running, .completed: return .started("\(subject) is starting")
        case .stopped: return .pending("\(subject) is stopped")
        }
    }
}
