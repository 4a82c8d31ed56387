import ArgumentParser
import EtcdClient
import LaunchModel

struct ShowCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show an assembly and its instances.", discussion: CommandStatus.help)

    @Argument(help: "The assembly.")
    var name: String

    @OptionGroup var global: GlobalOptions

    func run(in session: Session) async throws {
        let inventory = try await session.store.inventory([
            .key(Keys.specification(name)), .key(Keys.wanted(name)), .key(Keys.state(name)), .prefix(Keys.agents),
            .prefix(Keys.reports),
        ])
        guard let document = Document(name, inventory) else { throw try await session.store.notFound(name) }
        try session.print(document) { document.text }
    }

    /// One place of an instance; several when a replacement runs while the old node is away.
    struct Instance: Encodable {
        var instance: InstanceID
        var node: String?
        /// The revision that made the assignment.
        var token: Int64?
        /// `unplaced`, `lost` (its node is), `assigned` (not reported yet), or the report's state.
        var state: String
        var report: Report?
    }

    struct Document: Encodable {
        var name: String
        var launch: Int64
        var specification: AssemblySpecification
        var wanted: Wanted?
        var state: AssemblyRecord?
        var instances: [Instance]

        init?(_ name: String, _ inventory: Inventory) {
            guard let stored = inventory.specifications[name] else { return nil }
            self.name = name
            launch = stored.createRevision
            specification = stored.value
            wanted = inventory.wanted[name]?.value
            state = inventory.states[name]?.value
            let slots = Dictionary(grouping: inventory.slots(of: name), by: \.instance)
            instances = Set(slots.keys).union(stored.value.instances).sorted().flatMap { instance in
                let places = (slots[instance] ?? []).map { slot in
                    let report = inventory.reports[slot]
                    let isUp = inventory.presences[slot.node] != nil
                    return Instance(
                        instance: instance, node: slot.node,
                        token: inventory.assignments[slot]?.createRevision ?? report?.token,
                        state: report?.state.rawValue ?? (isUp ? "assigned" : "lost"), report: report)
                }
                return places.isEmpty ? [Instance(instance: instance, state: "unplaced")] : places
            }
        }

        var text: String {
            var lines = ["name      \(name)"]
            if let state {
                lines.append("state     \(state.state) for \(Words.age(since: state.since))")
                if let reason = state.reason { lines.append("reason    \(printable(reason))") }
            } else {
                lines.append("state     accepted, not looked at by an engine yet")
            }
            if let wanted { lines.append("wanted    \(wanted.state), generation \(wanted.generation)") }
            lines.append("launch    \(launch)")
            if !specification.inputs.isEmpty {
                let inputs = specification.inputs.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                lines.append("inputs    \(printable(inputs.joined(separator: ", ")))")
            }
            return lines.map { $0 + "\n" }.joined() + "\n" + componentsText + "\n" + instancesText
        }

        private var componentsText: String {
            var table = Table(
                "COMPONENT", "COUNT", "CORES", "MEMORY", "RESTART", "ON-DISCONNECT", "DEPENDS-ON", "COMMAND")
            for component in specification.components {
                let resources = component.requirements.resources
                let command = ([component.command] + component.arguments).joined(separator: " ")
                table.add(
                    component.name, "\(component.count)",
                    resources.millicores == 0 ? "-" : Words.cores(resources.millicores),
                    resources.memoryBytes == 0 ? "-" : Words.bytes(resources.memoryBytes),
                    component.restart.when.rawValue, component.onDisconnect.rawValue,
                    component.dependsOn.isEmpty ? "-" : component.dependsOn.joined(separator: ","),
                    Words.shortened(command, to: 50))
            }
            return table.text
        }

        private var instancesText: String {
            var table = Table("INSTANCE", "STATE", "NODE", "PID", "RESTARTS", "UPTIME", "TOKEN")
            for place in instances {
                let report = place.report
                let isUp = report?.state == .running || report?.state == .starting
                var notes = (report?.outputs ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                if let reason = report?.reason { notes.append("reason: \(reason)") }
                if let end = report?.lastEnd {
                    notes.append("last end: \(end.text), \(Words.age(since: end.time)) ago")
                }
                table.add(
                    "\(place.instance.component).\(place.instance.index)", place.state, place.node ?? "-",
                    isUp ? report?.pid.map { "\($0)" } ?? "-" : "-", report.map { "\($0.restarts)" } ?? "-",
                    isUp ? report?.startedAt.map { Words.age(since: $0) } ?? "-" : "-",
                    place.token.map { "\($0)" } ?? "-", notes: notes)
            }
            return table.text
        }
    }
}
