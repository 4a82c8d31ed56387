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

    /// - Returns: the process's exit code: 0 after a signal, 1 when the member could not start or had to stop.
    public static func run(_ configuration: MemberConfiguration) async -> Int32 {
        await run(configuration, durability: .synced)
    }

    /// - Parameter durability: see ``Member/start(_:durability:logger:)``.
    package static func run(_ configuration: MemberConfiguration, durability: RaftLog.Durability) async -> Int32 {
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
            FileHandle.standardError.write(Data("gulpd: \(error)\n".utf8))
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

        var code: Int32 = 0
        for await event in events {
            switch event {
            case .signal(let name):
                logger.info("stopping", metadata: ["signal": "\(name)"])
            case .failed(let reason):
                FileHandle.standardError.write(Data("gulpd: stopped: \(reason)\n".utf8))
                code = 1
            }
            break
        }
        ServiceNotice.stopping()
        for task in [readiness, watchdog, failures] { task.cancel() }
        await member.stop()
        logger.info("stopped")
        return code
    }
}
