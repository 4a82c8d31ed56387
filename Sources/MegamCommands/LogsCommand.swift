import ArgumentParser
import AssemblyFile
import EtcdClient
import LaunchModel

struct LogsCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show what components wrote, in the order of time.",
        discussion: """
            The lines are asked of the agents that have them. Lines that begin with "-- " are the agents' own. \
            With several instances each line begins with its component and index. With -o json each is an object.

            With -f it goes on through restarts of components and agents, and follows instances to other nodes, \
            until the assembly is gone. Without, an agent that cannot be asked makes the exit code 1.

            \(CommandStatus.help)
            """)

    @Argument(help: "An assembly, one of its components, or one instance.")
    var name: String

    @Flag(name: [.short, .long], help: "Go on with new lines.")
    var follow = false

    @Option(help: "Only the last so many lines of each instance.")
    var tail: Int64?

    @OptionGroup var global: GlobalOptions

    func validate() throws {
        if let tail, tail < 1 { throw ValidationError("--tail must be at least 1") }
    }

    func run(in session: Session) async throws {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let assembly = parts[0]
        let inventory = try await session.store.inventory([
            .key(Keys.specification(assembly)), .prefix(Keys.nodes), .prefix(Keys.agents), .prefix(Keys.reports),
        ])
        guard let specification = inventory.specifications[assembly] else {
            throw try await session.store.notFound(assembly)
        }
        let instances = try select(parts, specification.value)
        let component = parts.count > 1 ? parts[1] : nil
        let index = parts.count > 2 ? Int(parts[2]) : nil
        let wants: @Sendable (InstanceID) -> Bool = {
            $0.assembly == assembly && (component == nil || $0.component == component)
                && (index == nil || $0.index == index)
        }
        let slots = inventory.slots(of: assembly).filter { wants($0.instance) }
        let placed = Set(slots.map(\.instance))
        for instance in instances where !placed.contains(instance) {
            session.console.complain("\(instance) has no node yet")
        }

        let agents = AgentLogs(connectTimeout: min(session.timeout, .seconds(5)))
        let printer = LogPrinter(session, instances: instances, slots: slots)
        let result: Result<Void, any Error>
        do {
            let merge = LogMerge(session: session, agents: agents, printer: printer, tail: tail ?? 0)
            let ends = try await merge.run(slots, addresses: inventory.nodes.mapValues(\.value.agentAddress))
            if follow {
                try await LogFollow(
                    session: session, agents: agents, printer: printer, assembly: assembly,
                    launch: specification.createRevision, wants: wants
                ).run(from: inventory, ends)
            } else if ends.values.contains(where: { if case .unknown = $0 { true } else { false } }) {
                throw CommandFailure(.failed, "these are not all lines of \(name): not every agent could be asked")
            }
            result = .success(())
        } catch { result = .failure(error) }
        await agents.close()
        try result.get()
    }

    /// The instances meant by `ASSEMBLY[.COMPONENT[.INDEX]]`.
    private func select(_ parts: [String], _ specification: AssemblySpecification) throws -> [InstanceID] {
        guard parts.count <= 3 else {
            throw CommandFailure(.usage, "\"\(name)\" is not ASSEMBLY, ASSEMBLY.COMPONENT or ASSEMBLY.COMPONENT.INDEX")
        }
        guard parts.count > 1 else { return specification.instances }
        let components = specification.components.map(\.name)
        guard let component = specification.component(parts[1]) else {
            let hint =
                Spelling.nearest(to: parts[1], among: components).map { "did you mean \($0)?" }
                ?? "it has \(components.joined(separator: ", "))"
            throw CommandFailure(.failed, "\(parts[0]) has no component \"\(parts[1])\"; \(hint)")
        }
        let instances = specification.instances.filter { $0.component == component.name }
        guard parts.count > 2 else { return instances }
        guard let instance = instances.first(where: { "\($0.index)" == parts[2] }) else {
            throw CommandFailure(
                .failed, "\(parts[0]).\(component.name) has the instances 0 to \(component.count - 1), not \(parts[2])")
        }
        return [instance]
    }
}
