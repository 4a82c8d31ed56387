/// What a user launches: components that belong together. The inputs have been put into the components already.
///
/// A value of this type is sound if ``complaint`` finds nothing; a reader of the store checks it before use.
public struct AssemblySpecification: Record {
    public var name: String
    /// As given at the launch, defaults included.
    public var inputs: [String: String]
    /// In the order of the file.
    public var components: [ComponentSpecification]

    public init(name: String, inputs: [String: String] = [:], components: [ComponentSpecification]) {
        self.name = name
        self.inputs = inputs
        self.components = components
    }

    /// All instances of all components, in order.
    public var instances: [InstanceID] {
        components.flatMap { component in
            (0..<max(0, component.count)).map {
                InstanceID(assembly: name, component: component.name, index: $0)
            }
        }
    }

    public func component(_ name: String) -> ComponentSpecification? { components.first { $0.name == name } }

    /// The most instances one assembly has, and components.
    public static let maximumInstances = 1_000
}

/// What an instance of a component is and needs.
public struct ComponentSpecification: Record {
    public enum Kind: String, Codable, Sendable, CaseIterable { case process }
    public var name: String
    public var kind: Kind
    /// The program: a path, or a name that is looked up in the PATH of ``environment`` (or the usual one).
    public var command: String
    public var arguments: [String]
    public var environment: [String: String]
    /// nil: a directory of the run's own.
    public var workingDirectory: String?
    /// A user's name or number; nil: the agent's own.
    public var user: String?
    /// How many instances run.
    public var count: Int
    public var restart: RestartPolicy
    public var requirements: Requirements
    /// Components that must run before this one starts.
    public var dependsOn: [String]
    public var onDisconnect: OnDisconnect
    /// How long an instance must have been up to count as running.
    public var readyAfterMilliseconds: Int64
    /// How long after SIGTERM an instance is killed.
    public var stopGraceMilliseconds: Int64

    public init(
        name: String, kind: Kind = .process, command: String, arguments: [String] = [],
        environment: [String: String] = [:], workingDirectory: String? = nil, user: String? = nil, count: Int = 1,
        restart: RestartPolicy = RestartPolicy(), requirements: Requirements = Requirements(),
        dependsOn: [String] = [], onDisconnect: OnDisconnect = .keep, readyAfterMilliseconds: Int64 = 1_000,
        stopGraceMilliseconds: Int64 = 10_000
    ) {
        self.name = name
        self.kind = kind
        self.command = command
        self.arguments = arguments
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.user = user
        self.count = count
        self.restart = restart
        self.requirements = requirements
        self.dependsOn = dependsOn
        self.onDisconnect = onDisconnect
        self.readyAfterMilliseconds = readyAfterMilliseconds
        self.stopGraceMilliseconds = stopGraceMilliseconds
    }
}

/// What happens to an instance while its node has no store.
public enum OnDisconnect: String, Codable, Sendable, CaseIterable {
    /// It runs on. After the node's lease has expired another may run elsewhere, until the node is back.
    case keep
    /// It is stopped before the node's lease can have expired: never do two run.
    case stop
}

/// What happens when an instance ends by itself.
public struct RestartPolicy: Record {
    public enum When: String, Codable, Sendable, CaseIterable {
        case always, never
        /// After an exit code other than 0, or a signal.
        case onFailure = "on-failure"
    }
    public var when: When
    /// Restarts in a row, with less than a minute up between them, after which the instance has failed.
    public var attempts: Int
    /// Before the first restart; doubles with each one that follows, up to five minutes.
    public var backoffMilliseconds: Int64

    public init(when: When = .always, attempts: Int = 5, backoffMilliseconds: Int64 = 1_000) {
        self.when = when
        self.attempts = attempts
        self.backoffMilliseconds = backoffMilliseconds
    }
}

/// What a node has, or an instance takes.
public struct Resources: Record {
    /// Thousandths of a core.
    public var millicores: Int64
    public var memoryBytes: Int64

    public init(millicores: Int64 = 0, memoryBytes: Int64 = 0) {
        self.millicores = millicores
        self.memoryBytes = memoryBytes
    }
}

/// What an instance needs of its node.
public struct Requirements: Record {
    public var resources: Resources
    /// nil: any zone.
    public var zone: String?
    /// Labels that the node must have, with these values.
    public var labels: [String: String]

    public init(resources: Resources = Resources(), zone: String? = nil, labels: [String: String] = [:]) {
        self.resources = resources
        self.zone = zone
        self.labels = labels
    }
}
