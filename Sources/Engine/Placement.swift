import LaunchModel

/// Which node takes an instance: a pure function of what the nodes have and hold.
///
/// Among the nodes that are there, fit the requirements and have room, the one with the fewest instances of the same
/// component is taken, then with the fewest of the assembly, then the least loaded, then the first by name. What an
/// assignment takes counts whether it runs or not: its place is kept.
public struct Placement: Sendable {
    /// A node as placement sees it.
    public struct Node: Sendable {
        public var name: String
        /// nil: it is unknown or unreadable.
        public var record: NodeRecord?
        public var isAlive: Bool
        public var used = Resources()
        /// Instances by component (`ASSEMBLY.COMPONENT`) and by assembly.
        var components: [String: Int] = [:]
        var assemblies: [String: Int] = [:]

        public init(name: String, record: NodeRecord?, isAlive: Bool) {
            self.name = name
            self.record = record
            self.isAlive = isAlive
        }
    }

    /// In the order of their names.
    public private(set) var nodes: [Node]
    private var indexes: [String: Int] = [:]

    public init(nodes: [Node]) {
        self.nodes = nodes.sorted { $0.name < $1.name }
        for (index, node) in self.nodes.enumerated() { indexes[node.name] = index }
    }

    /// Counts an assignment. What a node that is not known holds counts nowhere.
    public mutating func occupy(_ node: String, _ instance: InstanceID, _ resources: Resources) {
        change(node, instance, resources, by: 1)
    }

    /// Counts an assignment no longer.
    public mutating func release(_ node: String, _ instance: InstanceID, _ resources: Resources) {
        change(node, instance, resources, by: -1)
    }

    private mutating func change(_ node: String, _ instance: InstanceID, _ resources: Resources, by sign: Int) {
        guard let index = indexes[node] else { return }
        nodes[index].used.millicores.add(max(0, resources.millicores), sign)
        nodes[index].used.memoryBytes.add(max(0, resources.memoryBytes), sign)
        nodes[index].components["\(instance.assembly).\(instance.component)", default: 0] += sign
        nodes[index].assemblies[instance.assembly, default: 0] += sign
    }

    /// The node that takes the instance, or a sentence that says why there is none and what to do.
    ///
    /// - Parameter excluding: a node that it is not to be on.
    public func place(
        _ instance: InstanceID, _ requirements: Requirements, excluding: Set<String> = []
    ) -> Result<String, Refusal> {
        var best: (rank: Rank, name: String)?
        var obstacles: [String: Obstacle] = [:]
        for node in nodes {
            if let obstacle = Obstacle(node, requirements, isExcluded: excluding.contains(node.name)) {
                obstacles[node.name] = obstacle
                continue
            }
            let rank = Rank(node, instance, requirements.resources)
            if best.map({ rank < $0.rank }) ?? true { best = (rank, node.name) }
        }
        if let best { return .success(best.name) }
        return .failure(Refusal(instance, requirements, nodes.compactMap { obstacles[$0.name] }))
    }

    /// Why no node takes an instance.
    public struct Refusal: Error, Sendable, Hashable, CustomStringConvertible {
        public var description: String
    }

    private struct Rank: Comparable {
        let ofComponent: Int
        let ofAssembly: Int
        let load: Double

        init(_ node: Node, _ instance: InstanceID, _ resources: Resources) {
            ofComponent = node.components["\(instance.assembly).\(instance.component)"] ?? 0
            ofAssembly = node.assemblies[instance.assembly] ?? 0
            func share(_ used: Int64, _ more: Int64, _ all: Int64) -> Double {
                all > 0 ? (Double(used) + Double(more)) / Double(all) : 0
            }
            let capacity = node.record?.capacity ?? Resources()
            load = max(
                share(node.used.millicores, resources.millicores, capacity.millicores),
                share(node.used.memoryBytes, resources.memoryBytes, capacity.memoryBytes))
        }

        static func < (a: Rank, b: Rank) -> Bool {
            (a.ofComponent, a.ofAssembly, a.load) < (b.ofComponent, b.ofAssembly, b.load)
        }
    }
}

/// What keeps a node from taking an instance, in the order in which it is looked for.
private enum Obstacle: Hashable {
    case isLost
    case isUnreadable
    case isExcluded
    case zone
    case label(String)
    case cores(free: Int64, of: Int64)
    case memory(free: Int64, of: Int64)

    init?(_ node: Placement.Node, _ requirements: Requirements, isExcluded: Bool) {
        guard node.isAlive else {
            self = .isLost
            return
        }
        guard let record = node.record else {
            self = .isUnreadable
            return
        }
        if isExcluded {
            self = .isExcluded
            return
        }
        if let zone = requirements.zone, zone != record.zone {
            self = .zone
            return
        }
        for (label, value) in requirements.labels.sorted(by: { $0.key < $1.key }) where record.labels[label] != value {
            self = .label("\(label)=\(value)")
            return
        }
        let needed = requirements.resources
        let cores = max(0, record.capacity.millicores)
        let memory = max(0, record.capacity.memoryBytes)
        // Nothing needed fits anywhere, also where more is taken than there is.
        if needed.millicores > 0, needed.millicores > cores - node.used.millicores {
            self = .cores(free: max(0, cores - node.used.millicores), of: cores)
        } else if needed.memoryBytes > 0, needed.memoryBytes > memory - node.used.memoryBytes {
            self = .memory(free: max(0, memory - node.used.memoryBytes), of: memory)
        } else {
            return nil
        }
    }
}

extension Placement.Refusal {
    fileprivate init(_ instance: InstanceID, _ requirements: Requirements, _ obstacles: [Obstacle]) {
        let text = "no node can take \(instance): "
        guard !obstacles.isEmpty else {
            description = text + "there is no node yet; start gulpd with --agent on one"
            return
        }
        let counted = Self.count(obstacles, requirements)
        let nodes = obstacles.count == 1 ? "of 1 node" : "of \(obstacles.count) nodes"
        description = text + "\(nodes) \(counted.joined(separator: ", ")); " + Self.advice(obstacles)
    }

    /// One phrase for each kind of obstacle, with how many nodes it concerns.
    private static func count(_ obstacles: [Obstacle], _ requirements: Requirements) -> [String] {
        var labels: [String: Int] = [:]
        var (lost, unreadable, excluded, zone) = (0, 0, 0, 0)
        var cores: [(free: Int64, of: Int64)] = []
        var memory: [(free: Int64, of: Int64)] = []
        for obstacle in obstacles {
            switch obstacle {
            case .isLost: lost += 1
            case .isUnreadable: unreadable += 1
            case .isExcluded: excluded += 1
            case .zone: zone += 1
            case .label(let label): labels[label, default: 0] += 1
            case .cores(let free, let of): cores.append((free, of))
            case .memory(let free, let of): memory.append((free, of))
            }
        }
        func phrase(_ count: Int, _ one: String, _ many: String) -> String? {
            count == 0 ? nil : "\(count) \(count == 1 ? one : many)"
        }
        /// The one with the most room stands for all.
        func room(_ found: [(free: Int64, of: Int64)], _ text: (Int64, Int64) -> String) -> String? {
            guard let most = found.max(by: { ($0.free, $0.of) < ($1.free, $1.of) }) else { return nil }
            return phrase(found.count, "has \(text(most.free, most.of))", "have at most \(text(most.free, most.of))")
        }
        let ofZone = "in zone \(requirements.zone ?? "")"
        return [
            phrase(lost, "is lost", "are lost"),
            phrase(unreadable, "has a record that cannot be read", "have records that cannot be read"),
            phrase(excluded, "has it already", "have it already"),
            phrase(zone, "is not \(ofZone)", "are not \(ofZone)"),
        ].compactMap(\.self)
            + labels.sorted { $0.key < $1.key }.compactMap {
                phrase($0.value, "lacks label \($0.key)", "lack label \($0.key)")
            }
            + [
                room(cores) { "\($0) of \($1) millicores free" },
                room(memory) { "\($0 >> 20) of \($1 >> 20) MiB of memory free" },
            ].compactMap(\.self)
    }

    private static func advice(_ obstacles: [Obstacle]) -> String {
        var advice: [String] = ["add a node"]
        func add(_ text: String) { if !advice.contains(text) { advice.append(text) } }
        for obstacle in obstacles {
            switch obstacle {
            case .isLost: add("bring the lost ones back")
            case .isUnreadable: add("restart gulpd on those that cannot be read")
            case .isExcluded: break
            case .zone: add("change requirements.zone")
            case .label: add("change requirements.labels")
            case .cores: add("lower requirements.cores")
            case .memory: add("lower requirements.memory")
            }
        }
        guard let last = advice.popLast(), !advice.isEmpty else { return "add a node" }
        return advice.joined(separator: ", ") + " or " + last
    }
}

extension Int64 {
    /// Adds or takes away, and stays within what it can hold.
    fileprivate mutating func add(_ amount: Int64, _ sign: Int) {
        let (sum, overflow) = sign < 0 ? subtractingReportingOverflow(amount) : addingReportingOverflow(amount)
        self = overflow ? (sign < 0 ? .min : .max) : sum
    }
}
