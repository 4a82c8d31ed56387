import EtcdClient
import Foundation
import Glibc
import LaunchModel

/// How an agent presents its node, and where it keeps what it needs.
public struct AgentConfiguration: Sendable {
    /// The node's name, unique in the cluster.
    public var nodeName: String
    /// An absolute path of the agent's own: runs, logs, the number of its lease. Made if it is not there.
    public var dataDirectory: String
    /// The members of the store.
    public var endpoints: [EtcdEndpoint]
    /// The path of the program `gulp-guard`.
    public var guardExecutable: String
    /// Where the agent's own service (logs) listens; port 0 takes a free one.
    public var listenHost: String
    public var listenPort: Int
    /// The host name or address at which others reach this node: its agent and its components.
    public var advertiseHost: String
    /// The port at which others reach the agent's service; nil: the one that it listens on.
    public var advertisePort: Int?
    /// Where the node stands, for components that ask for a zone.
    public var zone: String?
    /// What components can ask for.
    public var labels: [String: String]
    /// What the node has for components.
    public var capacity: Resources
    /// How long the node counts as alive without a sign of life. Whole seconds; at least 5.
    public var leaseTTL: Duration
    /// The version of this program, for the node's record.
    public var version: String
    /// The size at which a run's log file is followed by a new one; two are kept.
    public var logLimitBytes: Int

    public init(
        nodeName: String, dataDirectory: String, endpoints: [EtcdEndpoint], guardExecutable: String,
        listenHost: String = "0.0.0.0", listenPort: Int = 0, advertiseHost: String, advertisePort: Int? = nil,
        zone: String? = nil, labels: [String: String] = [:], capacity: Resources = Agent.detectedCapacity(),
        leaseTTL: Duration = .seconds(10), version: String, logLimitBytes: Int = 10 << 20
    ) {
        self.nodeName = nodeName
        self.dataDirectory = dataDirectory
        self.endpoints = endpoints
        self.guardExecutable = guardExecutable
        self.listenHost = listenHost
        self.listenPort = listenPort
        self.advertiseHost = advertiseHost
        self.advertisePort = advertisePort
        self.zone = zone
        self.labels = labels
        self.capacity = capacity
        self.leaseTTL = leaseTTL
        self.version = version
        self.logLimitBytes = logLimitBytes
    }

    /// Throws for what no agent can work with.
    func validate() throws(AgentError) {
        if let text = Names.complaint(aboutNode: nodeName) { throw AgentError("the agent cannot start: \(text)") }
        if !dataDirectory.hasPrefix("/") {
            throw AgentError("the agent's data directory \"\(dataDirectory)\" must be an absolute path")
        }
        if access(guardExecutable, X_OK) != 0 {
            throw AgentError(
                "there is no program at \(guardExecutable): install gulp-guard beside gulpd, or say where it is")
        }
        if endpoints.isEmpty { throw AgentError("the agent needs at least one endpoint of the store") }
        if advertiseHost.isEmpty { throw AgentError("the agent needs an address at which others reach its node") }
        if leaseTTL < .seconds(5) || leaseTTL > .seconds(3_600) {
            throw AgentError("the agent's lease must last between 5 seconds and an hour, not \(leaseTTL)")
        }
        if logLimitBytes < 64 << 10 {
            throw AgentError("a log file must be allowed 64 KiB at least, not \(logLimitBytes) bytes")
        }
    }
}

/// Why an agent cannot work, for the person who started it.
public struct AgentError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What happened, on what, and what to do.
    public var description: String

    init(_ description: String) { self.description = description }

    /// The failure of a system call.
    init(cannot action: String, _ subject: String, _ error: CInt = errno) {
        description = "cannot \(action) \(subject): \(String(cString: strerror(error)))"
    }
}

extension Agent {
    /// The cores and the memory of this machine.
    public static func detectedCapacity() -> Resources {
        let info = ProcessInfo.processInfo
        return Resources(
            millicores: Int64(info.activeProcessorCount) * 1_000, memoryBytes: Int64(clamping: info.physicalMemory))
    }
}
