import ArgumentParser
import EtcdClient
import Foundation

/// # MegamCommands: the user's command line
///
/// ```
///   megam launch FILE ──▶ AssemblyFile ──▶ /megam/assemblies/NAME/{spec,wanted}        (LaunchStore)
///   megam list, show, events, nodes ◀── records of the engine and the agents            (Inventory)
///   megam … --wait, events -w       ◀── watches, from the revision that was read or written
///   megam logs                      ◀── the agents' own service, on the nodes that have the runs (AgentLogs)
/// ```
///
/// Each command is a file with its flags and what it prints. They decide nothing about a launch: users' wishes are
/// written in transactions that compare what they were based on, and the engine does the rest.
///
/// Everything goes through a ``Console``, so that tests run the commands in their own process. What a command has to
/// say goes to standard output: a table for people, or a document (`-o json`, `-o yaml`) whose shape is part of the
/// interface. Warnings and errors are one line on standard error. How it went is the ``CommandStatus``.
public enum MegamCommands {
    /// Runs one command line on the process's own output.
    ///
    /// - Parameter arguments: everything after the program's name.
    /// - Returns: the status to exit with.
    public static func run(arguments: [String], environment: [String: String]) async -> Int32 {
        await run(arguments, environment, console: StandardConsole()).rawValue
    }

    static func run(_ arguments: [String], _ environment: [String: String], console: any Console) async -> CommandStatus
    {
        do {
            var command = try Megam.parseAsRoot(arguments)
            guard let command = command as? any StoreCommand else {
                // The parser's own: help.
                try command.run()
                return .done
            }
            let session = try Session(command.global, environment, console)
            let result: Result<Void, any Error>
            do { result = .success(try await command.run(in: session)) } catch { result = .failure(error) }
            await session.client.close()
            try result.get()
            return .done
        } catch is OutputClosed {
            // Whoever read the output has seen enough.
            return .done
        } catch let failure as CommandFailure {
            console.complain(failure.text)
            return failure.status
        } catch let error as EtcdError {
            let failure = CommandFailure(error)
            console.complain(failure.text)
            return failure.status
        } catch {
            return answer(parserError: error, console)
        }
    }

    /// What the argument parser throws: help that was asked for, or a complaint about the arguments.
    private static func answer(parserError error: any Error, _ console: any Console) -> CommandStatus {
        guard Megam.exitCode(for: error) != .success else {
            try? console.write(Megam.fullMessage(for: error) + "\n")
            return .done
        }
        let message = Megam.message(for: error).split(separator: "\n").joined(separator: " ")
        console.complain("\(message.isEmpty ? "\(error)" : message) (see megam --help)")
        return .usage
    }
}

/// A command that works on the store.
protocol StoreCommand: ParsableCommand {
    var global: GlobalOptions { get }
    func run(in session: Session) async throws
}

/// What a running command has.
struct Session: Sendable {
    let client: EtcdClient
    let console: any Console
    let format: OutputFormat
    let timeout: Duration

    var store: LaunchStore { LaunchStore(client: client, console: console) }

    init(_ options: GlobalOptions, _ environment: [String: String], _ console: any Console) throws {
        let text = options.endpoints ?? environment["MEGAM_ENDPOINTS"].flatMap { $0.isEmpty ? nil : $0 }
        var clientOptions = EtcdClientOptions()
        clientOptions.requestTimeout = options.timeout
        clientOptions.attemptTimeout = min(options.timeout, clientOptions.attemptTimeout)
        let endpoints = (text ?? "127.0.0.1:2379").split(separator: ",").map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        do {
            client = try EtcdClient(endpoints: endpoints, options: clientOptions)
        } catch { throw CommandFailure(.usage, error.message) }
        self.console = console
        format = options.output
        timeout = options.timeout
    }
}
