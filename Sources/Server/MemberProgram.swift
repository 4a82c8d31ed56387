import Dispatch
import Foundation
import Logging
import StandardLog
import Storage

#if canImport(Glibc)
    import Glibc
#endif

/// gulpd as a process: a member, what runs beside it, or both, until SIGTERM or SIGINT, or until one of them stops by
/// itself.
public enum MemberProgram {
    /// What runs beside the member, or without one if the configuration says so. It goes on until its task is
    /// cancelled; if it throws something else, the process ends.
    public typealias Companion = @Sendable (MemberConfiguration, Logger) async throws -> Void

    private enum Event: Sendable {
        case signal(String)
        case failed(String)
    }

    /// All of gulpd: reads the settings from the process's arguments and environment, and runs by them.
    /// - Returns: the process's exit code: 0 after a signal or when only a text was asked for; 1 when the settings are
    ///   wrong, the member could not start or had to stop; 2 for flags that cannot be parsed.
    ///
    /// - Parameter companion: is run if the settings ask for an agent.
    public static func main(companion: Companion?) async -> Int32 {
        await main(durability: .synced, companion: companion)
    }

    /// - Parameter durability: see ``Member/start(_:durability:logger:)``.
    package static func main(durability: RaftLog.Durability, companion: Companion? = nil) async -> Int32 {
        do throws(ConfigurationError) {
            switch try MemberConfiguration.resolve(
                arguments: Array(CommandLine.arguments.dropFirst()), environment: ProcessInfo.processInfo.environment)
            {
            case .show(let text):
                print(text, terminator: "")
                return 0
            case .run(let configuration, let warnings):
                for warning in warnings { printError(warning) }
                guard configuration.agent == nil || companion != nil else {
                    printError("--agent: this program has no agent")
                    return 1
                }
                return await run(configuration, durability: durability, companion: companion)
            }
        } catch {
            printError("\(error)")
            return error.exitCode
        }
    }

    private static func printError(_ text: String) {
        FileHandle.standardError.write(Data("gulpd: \(text)\n".utf8))
    }

    private static func run(
        _ configuration: MemberConfiguration, durability: RaftLog.Durability, companion: Companion?
    ) async -> Int32 {
        let logger = StandardLog.logger(label: "gulpd", level: configuration.logLevel.loggerLevel)
        let (events, continuation) = AsyncStream.makeStream(of: Event.self)
        let signals = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")].map { number, name in
            // The default action would end the process before the source is told.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield(.signal(name)) }
            source.resume()
            return source
        }
        defer { for source in signals { source.cancel() } }
        // A client that closes its connection must not end the server.
        signal(SIGPIPE, SIG_IGN)

        var member: Member?
        if configuration.runsMember {
            do {
                member = try await Member.start(configuration, durability: durability, logger: logger)
            } catch {
                printError("\(error)")
                return 1
            }
        }
        let tasks = member.map { watch($0, logger: logger, continuation) } ?? [watchWithoutMember()]
        let beside = Task {
            guard configuration.agent != nil, let companion else { return }
            do {
                try await companion(configuration, logger)
            } catch {
                if !(error is CancellationError) { continuation.yield(.failed("\(error)")) }
            }
        }

        for await event in events {
            switch event {
            case .signal(let name):
                logger.info("stopping", metadata: ["signal": "\(name)"])
            case .failed(let reason):
                printError("stopped: \(reason)")
                // A thread is gone that an orderly stop would wait for; what was acknowledged is on the disk.
                ServiceNotice.stopping()
                _exit(1)
            }
            break
        }
        ServiceNotice.stopping()
        for task in tasks { task.cancel() }
        beside.cancel()
        await beside.value
        await member?.stop()
        logger.info("stopped")
        return 0
    }

    /// Tells the service manager and the log what becomes of the member.
    private static func watch(
        _ member: Member, logger: Logger, _ events: AsyncStream<Event>.Continuation
    ) -> [Task<Void, Never>] {
        let readiness = Task {
            if await member.whenReady() {
                logger.info(
                    "ready to serve client requests",
                    metadata: ["member": "\(member.id.hexText)", "cluster": "\(member.clusterID)"])
                ServiceNotice.ready()
            }
        }
        let watchdog = Task {
            guard let interval = ServiceNotice.watchdogMicroseconds else { return }
            while !Task.isCancelled {
                // Only a member whose consensus thread still turns is alive.
                if await member.isResponsive() { ServiceNotice.alive() }
                try? await Task.sleep(for: .microseconds(interval))
            }
        }
        let failure = Task { _ = events.yield(.failed(await member.whenFailed())) }
        return [readiness, watchdog, failure]
    }

    private static func watchWithoutMember() -> Task<Void, Never> {
        ServiceNotice.ready()
        return Task {
            guard let interval = ServiceNotice.watchdogMicroseconds else { return }
            while !Task.isCancelled {
                ServiceNotice.alive()
                try? await Task.sleep(for: .microseconds(interval))
            }
        }
    }
}

extension MemberConfiguration.LogLevel {
    fileprivate var loggerLevel: Logger.Level {
        switch self {
        case .debug: .debug
        case .info: .info
        case .warn: .warning
        case .error: .error
        case .panic, .fatal: .critical
        }
    }
}
