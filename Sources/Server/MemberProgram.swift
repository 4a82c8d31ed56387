import Dispatch
import Foundation
import Logging
import Storage

#if canImport(Glibc)
    import Glibc
#endif

/// A member as a process: runs until SIGTERM or SIGINT, or until the member stops by itself.
public enum MemberProgram {
    private enum Event: Sendable {
        case signal(String)
        case failed(String)
    }

    /// All of gulpd: reads the settings from the process's arguments and environment, and runs a member by them.
    /// - Returns: the process's exit code: 0 after a signal or when only a text was asked for; 1 when the settings are
    ///   wrong, the member could not start or had to stop; 2 for flags that cannot be parsed.
    public static func main() async -> Int32 { await main(durability: .synced) }

    /// - Parameter durability: see ``Member/start(_:durability:logger:)``.
    package static func main(durability: RaftLog.Durability) async -> Int32 {
        do throws(ConfigurationError) {
            switch try MemberConfiguration.resolve(
                arguments: Array(CommandLine.arguments.dropFirst()), environment: ProcessInfo.processInfo.environment)
            {
            case .show(let text):
                print(text, terminator: "")
                return 0
            case .run(let configuration, let warnings):
                for warning in warnings { printError(warning) }
                return await run(configuration, durability: durability)
            }
        } catch {
            printError("\(error)")
            return error.exitCode
        }
    }

    private static func printError(_ text: String) {
        FileHandle.standardError.write(Data("gulpd: \(text)\n".utf8))
    }

    private static func run(_ configuration: MemberConfiguration, durability: RaftLog.Durability) async -> Int32 {
        let logger = StandardLog.logger(level: configuration.logLevel)
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

        let member: Member
        do {
            member = try await Member.start(configuration, durability: durability, logger: logger)
        } catch {
            printError("\(error)")
            return 1
        }
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
        let failures = Task {
            let reason = await member.whenFailed()
            continuation.yield(.failed(reason))
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
        for task in [readiness, watchdog, failures] { task.cancel() }
        await member.stop()
        logger.info("stopped")
        return 0
    }
}
