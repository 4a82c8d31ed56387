import Agent
import Configuration
import EtcdClient
import Foundation
import LaunchModel
import Logging

/// The agent as it runs in gulpd: by gulpd's settings, against the member in the same process or a store elsewhere.
enum AgentProgram {
    /// Runs until cancelled, and leaves the components running then.
    static func run(_ configuration: MemberConfiguration, logger: Logger) async throws {
        guard let settings = configuration.agent else { return }
        let detected = Agent.detectedCapacity()
        let agent = AgentConfiguration(
            nodeName: configuration.name, dataDirectory: absolute(directory(configuration, settings)),
            endpoints: try endpoints(configuration, settings), guardExecutable: try guardPath(settings),
            listenHost: settings.listen.host, listenPort: settings.listen.port ?? 0,
            advertiseHost: settings.advertise?.host ?? settings.listen.host, advertisePort: settings.advertise?.port,
            zone: settings.zone, labels: settings.labels,
            capacity: Resources(
                millicores: settings.millicores ?? detected.millicores,
                memoryBytes: settings.memoryBytes ?? detected.memoryBytes),
            leaseTTL: .seconds(settings.leaseSeconds), version: VersionText.own)
        try await Agent(agent, logger: logger).run()
    }

    private static func directory(_ configuration: MemberConfiguration, _ settings: AgentSettings) -> String {
        settings.dataDirectory ?? "\(configuration.dataDirectory)/agent"
    }

    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
    }

    /// Those that were named, or where this process's own member listens.
    private static func endpoints(
        _ configuration: MemberConfiguration, _ settings: AgentSettings
    ) throws -> [EtcdEndpoint] {
        if let named = settings.endpoints { return try named.map { try EtcdEndpoint($0) } }
        let own = configuration.listenClientURLs.filter { $0.scheme == .http }.map { url in
            EtcdEndpoint(host: ["0.0.0.0", "::"].contains(url.host) ? "127.0.0.1" : url.host, port: url.port)
        }
        guard !own.isEmpty else {
            throw ConfigurationError(
                "--agent: no URL of --listen-client-urls is one of http, which the agent needs to reach its own member; "
                    + "add one, or name the store by --agent-endpoints")
        }
        return own
    }

    /// What was named, or the program beside this one (whose folder the link tells even after the file was replaced).
    private static func guardPath(_ settings: AgentSettings) throws -> String {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        let path = absolute(settings.guardPath ?? "\((own as NSString).deletingLastPathComponent)/gulp-guard")
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw ConfigurationError(
                "no guard at \(path): components run under it; install gulp-guard beside gulpd, or name it by --agent-guard"
            )
        }
        return path
    }
}
