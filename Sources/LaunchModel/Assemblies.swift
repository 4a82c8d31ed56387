/// What the user wants of an assembly.
public struct Wanted: Record {
    public enum State: String, Codable, Sendable, CaseIterable { case running, stopped, destroyed }
    public var state: State
    /// Grows with each `start`: what had failed is tried again.
    public var generation: Int

    public init(_ state: State, generation: Int = 1) {
        self.state = state
        self.generation = generation
    }
}

/// Where an assembly stands.
public enum AssemblyState: String, Codable, Sendable, CaseIterable {
    /// Accepted, not placed yet.
    case initializing
    /// Every instance has its node.
    case initialized
    /// Every instance has been started.
    case bootstrapped
    /// Every instance runs.
    case running
    /// On its way to ``stopped``.
    case stopping
    /// Nothing of it runs; it keeps its places.
    case stopped
    case destroying
    /// Nothing of it is left; its keys go right after.
    case destroyed
    /// It could not be placed, or its specification is not sound.
    case preerror
    /// It was placed, but not every instance runs, and time alone will not mend that.
    case posterror
}

/// An assembly's state, by the engine.
public struct AssemblyRecord: Record {
    public var state: AssemblyState
    /// Why it is in this state and what to do about it, for the errors.
    public var reason: String?
    /// When the state began.
    public var since: Timestamp
    /// The revision that created the specification: which launch of this name it is about.
    public var launch: Int64
    /// The ``Wanted/generation`` that it is about.
    public var generation: Int
    /// Sequence numbers of the oldest event kept and of the next to come.
    public var firstEvent: Int
    public var nextEvent: Int

    public init(
        state: AssemblyState, reason: String? = nil, since: Timestamp, launch: Int64, generation: Int,
        firstEvent: Int = 1, nextEvent: Int = 1
    ) {
        self.state = state
        self.reason = reason
        self.since = since
        self.launch = launch
        self.generation = generation
        self.firstEvent = firstEvent
        self.nextEvent = nextEvent
    }
}

/// Something that happened to an assembly.
public struct AssemblyEvent: Record {
    public var time: Timestamp
    /// The state that it entered, or was in.
    public var state: AssemblyState
    /// A sentence.
    public var text: String
    /// The instance and node it is about, if it is about one.
    public var instance: InstanceID?
    public var node: String?

    public init(time: Timestamp, state: AssemblyState, text: String, instance: InstanceID? = nil, node: String? = nil) {
        self.time = time
        self.state = state
        self.text = text
        self.instance = instance
        self.node = node
    }
}

/// What the leading engine says of itself.
public struct EngineStatus: Record {
    /// The engine's name.
    public var leader: String
    /// Since when it leads.
    public var since: Timestamp
    /// Nothing is moved while there is one: why, since when, and which nodes seem dead.
    public struct Brake: Record {
        public var since: Timestamp
        public var reason: String
        public var nodes: [String]

        public init(since: Timestamp, reason: String, nodes: [String]) {
            self.since = since
            self.reason = reason
            self.nodes = nodes
        }
    }
    public var brake: Brake?

    public init(leader: String, since: Timestamp, brake: Brake? = nil) {
        self.leader = leader
        self.since = since
        self.brake = brake
    }
}
