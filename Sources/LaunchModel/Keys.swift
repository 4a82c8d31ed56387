/// Where everything of a launch lies in the store.
public enum Keys {
    /// All of it.
    public static let root = "/megam/"
    /// The name of the engines' election; its keys are `/megam/engine/leader/LEASE`.
    public static let engineElection = "/megam/engine/leader"
    /// ``EngineStatus``, by the engine that leads.
    public static let engineStatus = "/megam/engine/status"

    /// Prefix of all nodes' records.
    public static let nodes = "/megam/nodes/"
    /// ``NodeRecord``: stays when the node is lost.
    public static func node(_ node: String) -> String { "\(nodes)\(node)" }

    /// Prefix of all agents.
    public static let agents = "/megam/agents/"
    /// Prefix of what concerns one agent: the one range that it watches.
    public static func agent(_ node: String) -> String { "\(agents)\(node)/" }
    /// ``NodePresence``, under the agent's lease.
    public static func alive(_ node: String) -> String { "\(agent(node))alive" }
    /// Prefix of a node's assignments.
    public static func assignments(_ node: String) -> String { "\(agent(node))assignments/" }
    /// ``Assignment``.
    public static func assignment(_ node: String, _ instance: InstanceID) -> String {
        "\(assignments(node))\(instance)"
    }

    /// Prefix of all reports.
    public static let reports = "/megam/reports/"
    /// Prefix of the reports of one agent.
    public static func reports(_ node: String) -> String { "\(reports)\(node)/" }
    /// ``Report``, under the agent's lease.
    public static func report(_ node: String, _ instance: InstanceID) -> String { "\(reports(node))\(instance)" }

    /// Prefix of all assemblies.
    public static let assemblies = "/megam/assemblies/"
    /// Prefix of one assembly.
    public static func assembly(_ name: String) -> String { "\(assemblies)\(name)/" }
    /// ``AssemblySpecification``.
    public static func specification(_ name: String) -> String { "\(assembly(name))spec" }
    /// ``Wanted``.
    public static func wanted(_ name: String) -> String { "\(assembly(name))wanted" }
    /// ``AssemblyRecord``.
    public static func state(_ name: String) -> String { "\(assembly(name))state" }
    /// Prefix of an assembly's events.
    public static func events(_ name: String) -> String { "\(assembly(name))events/" }
    /// ``AssemblyEvent``.
    public static func event(_ name: String, _ sequence: Int) -> String {
        let digits = String(sequence)
        return events(name) + String(repeating: "0", count: max(0, 10 - digits.count)) + digits
    }
}

/// What a key under ``Keys/root`` is about.
public enum Place: Hashable, Sendable {
    case engineCandidate
    case engineStatus
    case node(String)
    case alive(node: String)
    case assignment(node: String, InstanceID)
    case report(node: String, InstanceID)
    case specification(assembly: String)
    case wanted(assembly: String)
    case state(assembly: String)
    case event(assembly: String, sequence: Int)

    /// nil for a key that none of ours is.
    public init?(key: [UInt8]) {
        guard let text = String(validating: key, as: UTF8.self) else { return nil }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 4, parts[0].isEmpty, parts[1] == "megam" else { return nil }
        let rest = Array(parts[3...])
        switch (parts[2], rest.count) {
        case ("engine", 1) where rest[0] == "status": self = .engineStatus
        case ("engine", 2) where rest[0] == "leader": self = .engineCandidate
        case ("nodes", 1) where Names.complaint(aboutNode: rest[0]) == nil: self = .node(rest[0])
        case ("agents", 2) where rest[1] == "alive" && Names.complaint(aboutNode: rest[0]) == nil:
            self = .alive(node: rest[0])
        case ("agents", 3) where rest[1] == "assignments":
            guard let instance = InstanceID(rest[2]) else { return nil }
            self = .assignment(node: rest[0], instance)
        case ("reports", 2):
            guard let instance = InstanceID(rest[1]) else { return nil }
            self = .report(node: rest[0], instance)
        case ("assemblies", 2) where rest[1] == "spec": self = .specification(assembly: rest[0])
        case ("assemblies", 2) where rest[1] == "wanted": self = .wanted(assembly: rest[0])
        case ("assemblies", 2) where rest[1] == "state": self = .state(assembly: rest[0])
        case ("assemblies", 3) where rest[1] == "events":
            guard let sequence = Int(rest[2]) else { return nil }
            self = .event(assembly: rest[0], sequence: sequence)
        default: return nil
        }
    }
}
