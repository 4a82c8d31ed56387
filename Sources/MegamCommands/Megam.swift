import ArgumentParser
import AssemblyFile

/// The command line's root: what all commands share.
struct Megam: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "megam",
        abstract: "Launches assemblies of components on the nodes of a gulp cluster, and looks after them.",
        discussion: """
            A day with it:
              megam launch hello.yaml --wait
              megam list; megam show hello; megam logs hello -f
              megam destroy hello --wait

            \(CommandStatus.help)
            """,
        subcommands: [
            LaunchCommand.self, ListCommand.self, ShowCommand.self, StopCommand.self, StartCommand.self,
            DestroyCommand.self, EventsCommand.self, LogsCommand.self, NodesCommand.self,
        ])

    @OptionGroup var global: GlobalOptions
}

/// Flags that every command has, before or after its name.
struct GlobalOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Members of the store, host:port with commas between (default: $MEGAM_ENDPOINTS, or 127.0.0.1:2379).",
            valueName: "host:port,…"))
    var endpoints: String?

    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: "table for people; json and yaml are documents for programs.")
    var output: OutputFormat = .table

    @Option(help: "How long the store may take to answer (default: 10s).", transform: duration)
    var timeout: Duration = .seconds(10)
}

/// How results are written.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable { case table, json, yaml }

/// `--wait` and its limit.
struct WaitOptions: ParsableArguments {
    @Flag(help: "Wait until it is done, and show what happens meanwhile.")
    var wait = false

    @Option(help: "How long --wait waits (default: 5m).", transform: duration)
    var waitTimeout: Duration = .seconds(300)
}

/// A flag's duration.
@Sendable func duration(_ text: String) throws -> Duration {
    let milliseconds: Int64
    do { milliseconds = try Quantity.duration(text) } catch { throw ValidationError(error.description) }
    guard milliseconds > 0 else { throw ValidationError("it must be more than nothing") }
    return .milliseconds(milliseconds)
}
