import Agent
import EtcdClient
import Foundation
import Glibc
import LaunchModel
import Logging
import Synchronization
import TestSupport
import Testing

/// Programs that the tests run.
enum Programs {
    /// Built beside this test bundle.
    static func gulpGuard() throws -> String {
        let argument = CommandLine.arguments.first { $0.hasSuffix(".xctest") }
        let bundle = argument ?? CommandLine.arguments[0]
        let place = URL(fileURLWithPath: bundle).deletingLastPathComponent().appending(path: "gulp-guard").path
        guard access(place, X_OK) == 0 else {
            throw Complaint("\(place) is missing: swift build --product gulp-guard")
        }
        return place
    }
}

/// An agent that works until it is stopped.
final class WorkingAgent: Sendable {
    private let task: Task<Void, any Error>
    let lines: Shared<[String]>

    init(_ configuration: AgentConfiguration) throws {
        let lines = Shared<[String]>([])
        self.lines = lines
        let logger = Logger(label: "agent") { _ in LineLog(lines: lines) }
        let agent = try Agent(configuration, logger: logger)
        task = Task { try await agent.run() }
    }

    /// As gulpd ends: components run on.
    func stop() async {
        task.cancel()
        _ = await task.result
    }
}

/// Keeps what is logged.
struct LineLog: LogHandler {
    let lines: Shared<[String]>
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.debug

    init(lines: Shared<[String]>) { self.lines = lines }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let details = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        let line = "\(event.level) \(event.message) \(details.map { "\($0.key)=\($0.value)" }.joined(separator: " "))"
        lines.change { $0.append(line) }
        if ProcessInfo.processInfo.environment["AGENT_TEST_LOG"] != nil { print(Date(), line) }
    }
}
