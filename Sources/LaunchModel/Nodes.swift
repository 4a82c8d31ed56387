/// A node: what its agent says of it. Stays when the node is lost.
public struct NodeRecord: Record {
    public var name: String
    /// Where others reach the node's components: a host name or an IP address.
    public var address: String
    /// `HOST:PORT` of the agent's own service (logs).
    public var agentAddress: String
    public var zone: String?
    public var labels: [String: String]
    public var capacity: Resources
    /// The version of gulpd.
    public var version: String

    public init(
        name: String, address: String, agentAddress: String, zone: String? = nil, labels: [String: String] = [:],
        capacity: Resources, version: String
    ) {
        self.name = name
        self.address = address
        self.agentAddress = agentAddress
        self.zone = zone
        self.labels = labels
        self.capacity = capacity
        self.version = version
    }
}

/// A node's agent is there, for as long as this is in the store.
public struct NodePresence: Record {
    /// Since when, without having been lost in between.
    public var since: Timestamp
    /// The agent's process.
    public var pid: Int32
    /// A random name of that process, by which two agents that were given one lease (a data directory was copied) see
    /// each other.
    public var process: String?

    public init(since: Timestamp, pid: Int32, process: String? = nil) {
        self.since = since
        self.pid = pid
        self.process = process
    }
}

/// What the engine wants of a node. The revision that created its key is the **token** of its runs: it grows whenever an
/// instance is assigned anew, anywhere, so that whoever keeps the highest token seen can refuse a run of the past.
public struct Assignment: Record {
    public var instance: InstanceID
    /// The revision that created the assembly's specification.
    public var launch: Int64
    /// Higher than before: forget past failures and try again.
    public var generation: Int
    /// false: keep the place and the logs, but run nothing.
    public var run: Bool
    public var component: ComponentSpecification

    public init(instance: InstanceID, launch: Int64, generation: Int, run: Bool, component: ComponentSpecification) {
        self.instance = instance
        self.launch = launch
        self.generation = generation
        self.run = run
        self.component = component
    }
}

/// What an agent says of an instance that it was assigned.
public struct Report: Record {
    public enum State: String, Codable, Sendable, CaseIterable {
        /// Started, and not yet up for long enough to count as running.
        case starting
        case running
        /// It has ended, and is started again after a while.
        case waiting
        /// It has ended with code 0, and its policy wants no restart.
        case completed
        /// It has ended, or could not be started, and is not tried again.
        case failed
        /// It was asked to stop, and has.
        case stopped
    }

    /// How a run ended.
    public struct End: Record {
        public var time: Timestamp
        /// One of the two, unless it could not be started or nobody saw it end.
        public var code: Int32?
        public var signal: Int32?
        /// In words.
        public var text: String

        public init(time: Timestamp, code: Int32? = nil, signal: Int32? = nil, text: String) {
            self.time = time
            self.code = code
            self.signal = signal
            self.text = text
        }
    }

    /// The revision that created the assignment it is about.
    public var token: Int64
    /// The assignment's ``Assignment/generation`` that it is about.
    public var generation: Int
    public var state: State
    /// When the state began.
    public var since: Timestamp
    public var pid: Int32?
    /// When the present run began, or the last one.
    public var startedAt: Timestamp?
    /// Since the assignment or its last generation.
    public var restarts: Int
    /// How the last run ended.
    public var lastEnd: End?
    /// Why it failed or waits, and what to do.
    public var reason: String?
    /// What the component itself says: the lines `NAME=VALUE` of its file MEGAM_OUTPUTS.
    public var outputs: [String: String]

    public init(
        token: Int64, generation: Int, state: State, since: Timestamp, pid: Int32? = nil,
        startedAt: Timestamp? = nil, restarts: Int = 0, lastEnd: End? = nil, reason: String? = nil,
        outputs: [String: String] = [:]
    ) {
        self.token = token
        self.generation = generation
        self.state = state
        self.since = since
        self.pid = pid
        self.startedAt = startedAt
        self.restarts = restarts
        self.lastEnd = lastEnd
        self.reason = reason
        self.outputs = outputs
    }
}
