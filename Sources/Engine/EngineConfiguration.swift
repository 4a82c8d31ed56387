import EtcdClient

/// How an engine behaves.
public struct EngineConfiguration: Sendable {
    /// Names it in the election and in ``LaunchModel/EngineStatus``.
    public var name: String
    /// The store's members; at least one.
    public var endpoints: [EtcdEndpoint]
    /// After how long without a sign of the leader another takes over.
    public var leaseTTL: Duration = .seconds(10)
    /// How long a node must have been absent before its instances are moved: see ``Planner/Configuration/nodeGrace``.
    public var nodeGrace: Duration = .seconds(5)
    /// For how long a node that went down with nothing on it still counts for the brake.
    public var brakeWindow: Duration = .seconds(60)
    /// After how long the record of an absent node that has no assignments is deleted.
    public var forgetNodesAfter: Duration = .seconds(86_400)
    /// The least time between two writes about one assembly that only change the reason.
    public var reasonInterval: Duration = .seconds(5)
    /// How many assemblies' transactions may be on their way at once.
    public var maximumCommits = 8

    public init(name: String, endpoints: [EtcdEndpoint]) {
        self.name = name
        self.endpoints = endpoints
    }

    var planner: Planner.Configuration {
        var planner = Planner.Configuration()
        planner.nodeGrace = nodeGrace.milliseconds
        planner.brakeAftermath = 3 * nodeGrace.milliseconds
        planner.brakeWindow = brakeWindow.milliseconds
        planner.forgetNodesAfter = forgetNodesAfter.milliseconds
        planner.reasonInterval = reasonInterval.milliseconds
        return planner
    }
}

extension Duration {
    /// Whole milliseconds.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }
}
