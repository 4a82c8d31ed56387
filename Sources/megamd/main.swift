import ArgumentParser
import Dispatch
import Engine
import EtcdClient
import Foundation
import Logging
import StandardLog

#if canImport(Glibc)
    import Glibc
#endif

/// The engine as a process, until SIGTERM or SIGINT. Its exit code is 0 after a signal, 1 when it could not go on, and 2
/// for flags that cannot be used.
struct Megamd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "megamd",
        abstract: "Places the components of launches on the nodes of the cluster and keeps them running.",
        discussion: """
            Any number may run; one leads, the others stand by. What is launched, where it stands and what happened lies \
            in the store under /megam/. The log goes to standard error, one JSON object a line.
            """)

    @Option(help: ArgumentHelp("Name of this engine.", valueName: "name"))
    var name = ProcessInfo.processInfo.hostName

    @Option(help: ArgumentHelp("The store's members, separated by commas.", valueName: "host:port,…"))
    var endpoints = "127.0.0.1:2379"

    @Option(
        help: ArgumentHelp(
            "After how long without a sign of the leader another takes over: 10s, 1m.", valueName: "duration"))
    var leaseTTL = "10s"

    @Option(
        help: ArgumentHelp(
            "How long a node must be gone, after its lease has expired, before its components are moved.",
            valueName: "duration"))
    var nodeGrace = "5s"

    @Option(help: ArgumentHelp("debug, info, warn or error.", valueName: "level"))
    var logLevel = LogLevel.info

    enum LogLevel: String, ExpressibleByArgument, CaseIterable { case debug, info, warn, error }

    func engineConfiguration() throws -> EngineConfiguration {
        guard !name.isEmpty, !name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw ValidationError("--name must be a name that can be printed")
        }
        var parsed: [EtcdEndpoint] = []
        for text in endpoints.split(separator: ",") {
            do { parsed.append(try EtcdEndpoint(text.trimmingCharacters(in: .whitespaces))) } catch {
                throw ValidationError("--endpoints: \(error.message)")
            }
        }
        guard !parsed.isEmpty else { throw ValidationError("--endpoints must name at least one member, as host:port") }
        var configuration = EngineConfiguration(name: name, endpoints: parsed)
        configuration.leaseTTL = try duration("--lease-ttl", leaseTTL, .seconds(1) ... .seconds(3_600))
        configuration.nodeGrace = try duration("--node-grace", nodeGrace, .zero ... .seconds(3_600))
        return configuration
    }

    /// Reads `500ms`, `10s`, `1m`, or a bare number of seconds.
    private func duration(_ flag: String, _ text: String, _ range: ClosedRange<Duration>) throws -> Duration {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let units: [String: Duration] = [
            "ms": .milliseconds(1), "s": .seconds(1), "": .seconds(1), "m": .seconds(60), "h": .seconds(3_600),
        ]
        guard let unit = units[String(text.dropFirst(digits.count))], let number = Int32(digits),
            range.contains(unit * Int(number))
        else {
            throw ValidationError(
                "\(flag) \(text): write a duration from \(range.lowerBound) to \(range.upperBound), as 10s")
        }
        return unit * Int(number)
    }
}

/// Runs the engine until a signal.
func run(_ configuration: EngineConfiguration, _ level: Logger.Level) async -> Int32 {
    // A store's member that closes its connection must not end the engine.
    signal(SIGPIPE, SIG_IGN)
    let logger = StandardLog.logger(label: "megamd", level: level)
    let engine = Engine(configuration: configuration, logger: logger)
    let running = Task { try await engine.run() }
    let signals = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")].map { number, name in
        // The default action would end the process before the source is told.
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler {
            logger.info("stopping", metadata: ["signal": "\(name)"])
            running.cancel()
        }
        source.resume()
        return source
    }
    defer { for source in signals { source.cancel() } }
    logger.info(
        "starting",
        metadata: [
            "name": "\(configuration.name)",
            "endpoints": "\(configuration.endpoints.map(\.description).joined(separator: ","))",
            "lease-ttl": "\(configuration.leaseTTL)",
        ])
    do {
        try await running.value
        return 0
    } catch {
        FileHandle.standardError.write(Data("megamd: \(error)\n".utf8))
        return 1
    }
}

let configuration: EngineConfiguration
let level: Logger.Level
do {
    let command = try Megamd.parse()
    configuration = try command.engineConfiguration()
    level =
        switch command.logLevel {
        case .debug: .debug
        case .info: .info
        case .warn: .warning
        case .error: .error
        }
} catch {
    let isAsked = Megamd.exitCode(for: error).isSuccess
    let text = Megamd.fullMessage(for: error)
    if isAsked { print(text) } else { FileHandle.standardError.write(Data("\(text)\n".utf8)) }
    exit(isAsked ? 0 : 2)
}
exit(await run(configuration, level))
