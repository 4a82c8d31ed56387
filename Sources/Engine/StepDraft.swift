import LaunchModel

/// Puts one assembly's edits, state and events into a transaction.
struct StepDraft {
    let name: String
    private let view: AssemblyView
    private let now: Timestamp
    /// The state that is on record for this launch; nil: there is none yet.
    let old: AssemblyState?
    private let oldReason: String?
    var edits: [Edit] = []
    private(set) var changesReasonOnly = false
    private(set) var writesReason = false

    /// How many events are kept.
    static let eventsKept = 200

    init(name: String, view: AssemblyView, now: Timestamp) {
        self.name = name
        self.view = view
        self.now = now
        let record = view.record?.value
        let isOfThisLaunch = record?.launch == view.specification?.createRevision
        old = isOfThisLaunch ? record?.state : nil
        oldReason = isOfThisLaunch ? record?.reason : nil
    }

    /// A step that holds while nothing of this was written by anybody.
    func emptyStep() -> Step {
        var step = Step(.assembly(name))
        step.compares = [
            .init(key: Keys.specification(name), modRevision: view.specification?.modRevision ?? 0),
            .init(key: Keys.wanted(name), modRevision: view.wanted?.modRevision ?? 0),
            .init(key: Keys.state(name), modRevision: view.record?.modRevision ?? 0),
        ]
        return step
    }

    /// nil: nothing changes.
    mutating func step(_ outcome: Outcome) -> Step? {
        let generation = view.wanted?.value?.generation ?? view.record?.value?.generation ?? 0
        let launch = view.specification?.createRevision ?? 0
        var record = AssemblyRecord(
            state: outcome.state, reason: outcome.reason, since: now, launch: launch, generation: generation)
        let isSame =
            old == outcome.state && oldReason == outcome.reason && view.record?.value?.generation == generation
        guard !edits.isEmpty || !isSame else { return nil }

        var tellings = outcome.tellings
        if old == nil, outcome.state != .destroying, outcome.state != .destroyed {
            tellings.insert(.init(state: .initializing, text: acceptance), at: 0)
        }
        var step = emptyStep()
        var events: [AssemblyEvent] = []
        let included = take(into: &step, &events, stateThen: outcome.state)
        if included < edits.count, !outcome.isStateFirst {
            // Not all of it fits: the state follows with the last part.
            record.state = old ?? .initializing
            record.reason = oldReason
            tellings.removeAll { $0.state != .initializing || old != nil }
        }
        let told = tellings.map {
            AssemblyEvent(time: now, state: $0.state, text: $0.text, instance: $0.instance, node: $0.node)
        }
        // An assembly's acceptance comes before what was done for it.
        events = old == nil ? told.prefix(1) + events + told.dropFirst() : events + told
        if record.state == old, let since = view.record?.value?.since { record.since = since }
        changesReasonOnly = edits.isEmpty && old == outcome.state
        writesReason = record.reason != nil && record.reason != oldReason
        if old == record.state, writesReason, told.isEmpty, let reason = outcome.reason {
            events.append(AssemblyEvent(time: now, state: outcome.state, text: reason))
        }
        number(events, &record, &step)
        // The record is written in every step: it is what lets only one of two steps succeed.
        step.puts.append(.init(key: Keys.state(name), value: record.json))
        return step
    }

    private var acceptance: String {
        guard let specification = view.specification?.value, specification.complaint(named: name) == nil else {
            return "it was launched"
        }
        let count = specification.instances.count
        return "it was launched: \(count) instance\(count == 1 ? "" : "s") of "
            + specification.components.map(\.name).joined(separator: ", ")
    }

    /// As many edits as fit.
    private func take(into step: inout Step, _ events: inout [AssemblyEvent], stateThen: AssemblyState) -> Int {
        // Room for the record, a few events, what goes of old ones, and the leadership's compare.
        let room = Step.maximumOperations - 12
        var (operations, compares, bytes) = (0, 0, 0)
        for (index, edit) in edits.enumerated() {
            operations += edit.puts.count + edit.deletes.count + (edit.event == nil ? 0 : 1)
            compares += edit.compares.count
            bytes += edit.puts.reduce(0) { $0 + $1.value.count }
            if index > 0, operations > room || compares > room || bytes > Step.maximumBytes {
                // Their room is kept while this part is on its way; then it is their turn before others'.
                step.reservations += edits[index...].flatMap(\.reservations)
                return index
            }
            step.compares += edit.compares
            step.puts += edit.puts
            step.deletes += edit.deletes.map { .key($0) }
            step.reservations += edit.reservations
            if let event = edit.event {
                events.append(
                    AssemblyEvent(
                        time: now, state: stateThen, text: event.text, instance: edit.instance, node: event.node))
            }
        }
        return edits.count
    }

    /// Gives the events their numbers and lets the oldest go.
    private func number(_ events: [AssemblyEvent], _ record: inout AssemblyRecord, _ step: inout Step) {
        // Ten digits, beyond which keys would not sort by number. Anybody may have written the store.
        let sound = 1..<9_999_999_000
        let known = view.events.filter(sound.contains)
        var (first, next) = (known.min() ?? 1, (known.max() ?? 0) + 1)
        if let old = view.record?.value, sound.contains(old.firstEvent), sound.contains(old.nextEvent),
            old.firstEvent <= old.nextEvent, known.allSatisfy({ $0 < old.nextEvent })
        {
            (first, next) = (old.firstEvent, old.nextEvent)
        }
        step.story = events.map(\.text)
        for event in events {
            step.puts.append(.init(key: Keys.event(name, next), value: event.json))
            next += 1
        }
        if next - first > Self.eventsKept {
            let kept = next - Self.eventsKept
            step.deletes.append(.events(name, first..<min(kept, next - events.count)))
            first = kept
        }
        (record.firstEvent, record.nextEvent) = (first, next)
    }
}
