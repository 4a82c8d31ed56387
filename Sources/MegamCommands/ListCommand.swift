import ArgumentParser
import EtcdClient
import LaunchModel

struct ListCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the assemblies.",
        discussion: "AGE is for how long the assembly has been in its state.\n\n\(CommandStatus.help)")

    @OptionGroup var global: GlobalOptions

    func run(in session: Session) async throws {
        let names = try await session.store.names()
        let reports = try await session.store.inventory([.prefix(Keys.reports)])
        var rows: [Document] = []
        // A transaction has at most 128 operations. Events, which are many, are not read.
        for start in stride(from: 0, to: names.count, by: 32) {
            let some = names[start..<min(start + 32, names.count)]
            let ranges = some.flatMap { name in
                [Keys.specification(name), Keys.wanted(name), Keys.state(name)].map { KeyRange.key($0) }
            }
            let inventory = try await session.store.inventory(ranges)
            for name in some {
                guard let specification = inventory.specifications[name] else { continue }
                rows.append(
                    Document(
                        name: name, launch: specification.createRevision, wanted: inventory.wanted[name]?.value,
                        state: inventory.states[name]?.value, running: reports.running(of: specification.value),
                        instances: specification.value.instances.count))
            }
        }
        try session.print(rows) {
            var table = Table("NAME", "STATE", "RUNNING", "AGE", "REASON")
            for row in rows {
                table.add(
                    row.name, row.state?.state.rawValue ?? "accepted", "\(row.running)/\(row.instances)",
                    row.state.map { Words.age(since: $0.since) } ?? "-",
                    Words.shortened(row.state?.reason ?? "", to: 60))
            }
            return table.text
        }
    }

    struct Document: Encodable {
        var name: String
        var launch: Int64
        var wanted: Wanted?
        /// Not there until an engine has looked at it.
        var state: AssemblyRecord?
        var running: Int
        var instances: Int
    }
}
