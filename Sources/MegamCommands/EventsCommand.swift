import ArgumentParser
import EtcdClient
import LaunchModel

struct EventsCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Show what happened to an assembly.",
        discussion: """
            The newest 200 or so are kept, for as long as the assembly is there. \
            With -w, json is one line an event and yaml one document an event; without, it is one list.

            \(CommandStatus.help)
            """)

    @Argument(help: "The assembly.")
    var name: String

    @Flag(name: [.short, .long], help: "Go on with new events until the assembly is gone.")
    var watch = false

    @OptionGroup var global: GlobalOptions

    func run(in session: Session) async throws {
        let read = try await session.store.inventory([
            .key(Keys.specification(name)), .prefix(Keys.events(name)),
        ])
        guard let launch = read.specifications[name]?.createRevision else {
            throw try await session.store.notFound(name)
        }
        let past = (read.events[name] ?? [:]).sorted { $0.key < $1.key }
        guard watch else {
            return try session.print(past.map(\.value)) { past.map { Self.line($0.value) + "\n" }.joined() }
        }
        for (_, event) in past { try session.printNext(event) { Self.line(event) } }
        var last = past.last?.key ?? 0
        try await session.store.changes(of: .prefix(Keys.assembly(name)), after: read.revision) { change in
            let (inventory, isGone) = change.read(of: name, launch: launch)
            // What was read then is of another launch.
            if isGone, case .everything = change { return true }
            for (sequence, event) in (inventory.events[name] ?? [:]).sorted(by: { $0.key < $1.key })
            where sequence > last {
                last = sequence
                try session.printNext(event) { Self.line(event) }
            }
            return isGone
        }
    }

    /// An event in a line for people.
    static func line(_ event: AssemblyEvent) -> String {
        var text = event.text
        // Most sentences name what they are about.
        let subject = [event.instance?.description, event.node.map { "on \($0)" }].compactMap(\.self)
        let missing = subject.filter { !text.contains($0) }
        if !missing.isEmpty { text += " (\(missing.joined(separator: " ")))" }
        let state = event.state.rawValue.padding(toLength: 12, withPad: " ", startingAt: 0)
        return "\(Words.time(event.time))  \(state)  \(printable(text))"
    }
}
