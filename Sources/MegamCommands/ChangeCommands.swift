import ArgumentParser
import LaunchModel

struct StopCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop", abstract: "Stop an assembly; it keeps its places, its logs and its name.",
        discussion: CommandStatus.help)

    @Argument(help: "The assembly.")
    var name: String

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var global: GlobalOptions

    func run(in session: Session) async throws {
        let changed = try await session.store.change(name) { wanted in
            try refuseDestroyed(wanted, name)
            return wanted.state == .stopped ? nil : Wanted(.stopped, generation: wanted.generation)
        }
        let isStopped = changed.state?.state == .stopped && changed.state?.launch == changed.launch
        try await session.finish(
            name, changed, isStopped ? nil : .stopped, waiting, said: "stopping \(name)")
    }
}

struct StartCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", abstract: "Start a stopped assembly, or try again what has failed.",
        discussion: CommandStatus.help)

    @Argument(help: "The assembly.")
    var name: String

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var global: GlobalOptions

    func run(in session: Session) async throws {
        let changed = try await session.store.change(name) { wanted in
            try refuseDestroyed(wanted, name)
            return Wanted(.running, generation: wanted.generation + 1)
        }
        try await session.finish(
            name, changed, .running(generation: changed.wanted.generation), waiting, said: "starting \(name)")
    }
}

struct DestroyCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "destroy", abstract: "Stop an assembly and forget it.",
        discussion: "--wait ends when nothing of it is left and its name is free.\n\n\(CommandStatus.help)")

    @Argument(help: "The assembly.")
    var name: String

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var global: GlobalOptions

    func run(in session: Session) async throws {
        let changed = try await session.store.change(name) { wanted in
            wanted.state == .destroyed ? nil : Wanted(.destroyed, generation: wanted.generation)
        }
        try await session.finish(name, changed, .gone, waiting, said: "destroying \(name)")
    }
}

private func refuseDestroyed(_ wanted: Wanted, _ name: String) throws {
    if wanted.state == .destroyed {
        throw CommandFailure(.failed, "\(name) is being destroyed; launch it anew when it is gone")
    }
}

extension Session {
    /// - Parameter goal: what `--wait` waits for; nil: it is there already.
    fileprivate func finish(
        _ name: String, _ changed: LaunchStore.Changed, _ goal: AssemblyWait.Goal?, _ waiting: WaitOptions,
        said text: String
    ) async throws {
        if format == .table { try console.write("\(text)\n") }
        try await store.warnWithoutEngine()
        if waiting.wait, let goal {
            try await AssemblyWait(session: self, name: name, launch: changed.launch, goal: goal)
                .run(after: changed.revision, limit: waiting.waitTimeout)
        }
        if format != .table {
            try print(ChangeDocument(name: name, launch: changed.launch, wanted: changed.wanted)) { "" }
        }
    }
}

/// What stop, start and destroy answer to programs.
private struct ChangeDocument: Encodable {
    var name: String
    var launch: Int64
    var wanted: Wanted
}
