import ArgumentParser
import AssemblyFile
import EtcdClient
import LaunchModel

struct NodesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nodes", abstract: "List the nodes, or forget one that is gone.", discussion: CommandStatus.help,
        subcommands: [NodesListCommand.self, NodesForgetCommand.self], defaultSubcommand: NodesListCommand.self)
}

struct NodesListCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the nodes, with what is taken of them.", discussion: CommandStatus.help)

    @OptionGroup var global: GlobalOptions

    func run(in session: Session) async throws {
        let inventory = try await session.store.inventory([
            .prefix(Keys.nodes), .prefix(Keys.agents), .key(Keys.engineStatus),
        ])
        let nodes = inventory.nodes.keys.sorted().compactMap { Node($0, inventory) }
        let brake = inventory.engineStatus?.brake
        try session.print(Document(nodes: nodes, brake: brake)) {
            var table = Table("NAME", "STATE", "ZONE", "ADDRESS", "CORES", "MEMORY", "INSTANCES")
            for node in nodes {
                let (used, capacity) = (node.used, node.record.capacity)
                table.add(
                    node.record.name, node.isUp ? "up" : "down", node.record.zone ?? "-", node.record.address,
                    "\(Words.cores(used.millicores))/\(Words.cores(capacity.millicores))",
                    "\(Words.bytes(used.memoryBytes))/\(Words.bytes(capacity.memoryBytes))", "\(node.instances)")
            }
            return table.text
        }
        if let brake {
            session.console.complain(
                "warning: the brake holds since \(Words.time(brake.since)), nothing is moved: \(brake.reason) "
                    + "(nodes that seem dead: \(brake.nodes.joined(separator: ", ")))")
        }
    }

    struct Document: Encodable {
        var nodes: [Node]
        var brake: EngineStatus.Brake?
    }

    struct Node: Encodable {
        var record: NodeRecord
        /// Its agent has a lease.
        var isUp: Bool
        var presence: NodePresence?
        /// What the instances assigned to it require.
        var used: Resources
        var instances: Int

        enum CodingKeys: String, CodingKey {
            case record
            case isUp = "up"
            case presence, used, instances
        }

        init?(_ name: String, _ inventory: Inventory) {
            guard let record = inventory.nodes[name]?.value else { return nil }
            self.record = record
            presence = inventory.presences[name]
            isUp = presence != nil
            used = Resources()
            instances = 0
            for (slot, assignment) in inventory.assignments where slot.node == name {
                let resources = assignment.value.component.requirements.resources
                used.millicores = used.millicores.addingReportingOverflow(resources.millicores).partialValue
                used.memoryBytes = used.memoryBytes.addingReportingOverflow(resources.memoryBytes).partialValue
                instances += 1
            }
        }
    }
}

struct NodesForgetCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Forget a node that is down for good.",
        discussion: "Its record goes, so that nobody waits for it any longer.\n\n\(CommandStatus.help)")

    @Argument(help: "The node.")
    var name: String

    @OptionGroup var global: GlobalOptions

    func run(in session: Session) async throws {
        let result = try await session.client.commit(
            Transaction.if(.exists(Keys.node(name)), .isAbsent(Keys.alive(name)))
                .then(.delete(.key(Keys.node(name))))
                .else(.get(.prefix(Keys.nodes))))
        if result.succeeded {
            if session.format == .table { try session.console.write("forgot \(name)\n") }
            return
        }
        var inventory = Inventory()
        inventory.take(result.get(0)?.kvs ?? [])
        guard inventory.nodes[name] == nil else {
            throw CommandFailure(.failed, "node \(name) is up; end its gulpd first, then forget it")
        }
        let names = inventory.nodes.keys.sorted()
        let hint = Spelling.nearest(to: name, among: names).map { "did you mean \($0)?" } ?? "megam nodes lists them"
        throw CommandFailure(.failed, "there is no node \"\(name)\"; \(hint)")
    }
}
