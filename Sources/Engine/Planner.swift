import LaunchModel

/// What the leading engine should do next: a deterministic function of what the store says, what is on its way there,
/// and the time. It does no I/O and reads no clock, so that a simulation can drive it.
///
/// The state it keeps between calls is only what the store cannot tell: since when each node has been absent,
/// and when a changed reason was last written. A new leader starts without it.
public struct Planner: Sendable {
    /// The times by which it decides, in milliseconds.
    public struct Configuration: Sendable {
        /// How long a node must have been absent, in this leader's sight, before its instances are moved.
        ///
        /// Two reasons. Nodes that fall silent together do not vanish together: their leases end up to a third of the
        /// agents' lease time apart, and the brake must see all of them before the first is moved. And a new leader
        /// may come out of an outage of the store in which leases ended: the nodes that live need time to register again.
        public var nodeGrace: Int64 = 5_000
        /// How long after the brake was released nothing is moved yet: the nodes come back one after the other, and those
        /// that follow are not to be given up as soon as half of them are there.
        public var brakeAftermath: Int64 = 15_000
        /// For how long a node that went down with nothing on it still counts for the brake.
        public var brakeWindow: Int64 = 60_000
        /// After how long the record of an absent node that has no assignments is deleted.
        public var forgetNodesAfter: Int64 = 86_400_000
        /// The least time between two writes about one assembly that only say the same state for another reason.
        public var reasonInterval: Int64 = 5_000

        public init() {}
    }

    /// A moment, on both clocks.
    public struct Moment: Sendable {
        /// For what people read.
        public var wall: Timestamp
        /// For intervals: milliseconds on a clock that never jumps.
        public var uptime: Int64

        public init(wall: Timestamp, uptime: Int64) {
            self.wall = wall
            self.uptime = uptime
        }
    }

    /// What is to be done now, and when to ask again if nothing else happens.
    public struct Plan: Sendable {
        /// At most one about each subject. They may be committed at the same time.
        public var steps: [Step] = []
        /// On the clock of ``Moment/uptime``.
        public var wakeAt: Int64?
    }

    private let leader: String
    private let since: Timestamp
    private let configuration: Configuration
    private var absentSince: [String: Int64] = [:]
    private var seenAlive: Set<String> = []
    private var wentDownAt: [String: Int64] = [:]
    private var reasonWrittenAt: [String: Int64] = [:]
    private var lastBrakedAt: Int64?

    /// - Parameters:
    ///   - leader: the engine's name.
    ///   - since: when its leadership began.
    public init(leader: String, since: Timestamp, configuration: Configuration = Configuration()) {
        self.leader = leader
        self.since = since
        self.configuration = configuration
    }

    /// - Parameters:
    ///   - busy: what a step is on its way for, or must wait: no step is planned for these.
    ///   - reservations: what steps on their way, or of unknown outcome, would take, by subject.
    public mutating func plan(
        _ view: ClusterView, busy: Set<Step.Subject> = [],
        reservations: [Step.Subject: [Step.Reservation]] = [:], at now: Moment
    ) -> Plan {
        var plan = Plan()
        var placement = Self.placement(view)
        let occupied = Self.occupiedNodes(view)
        let nodes = lookAt(view, occupied, now, &plan)
        for reserved in reservations.values {
            for place in reserved where !Self.holds(view, place) {
                placement.occupy(place.node, place.instance, place.resources)
            }
        }
        if !busy.contains(.status), let step = status(view, nodes, now) { plan.steps.append(step) }
        for name in Self.order(view) where !busy.contains(.assembly(name)) {
            guard let assembly = view.assemblies[name] else { continue }
            var own = placement
            // What an earlier step about it would take is for this one to take.
            for place in reservations[.assembly(name)] ?? [] where !Self.holds(view, place) {
                own.release(place.node, place.instance, place.resources)
            }
            var planning = AssemblyPlanning(name: name, view: assembly, nodes: nodes, now: now.wall, placement: own)
            guard var step = planning.step() else { continue }
            if planning.changesReasonOnly {
                let due = (reasonWrittenAt[name] ?? .min / 2) + configuration.reasonInterval
                guard due <= now.uptime else {
                    plan.wake(at: due)
                    continue
                }
            }
            if planning.writesReason { reasonWrittenAt[name] = now.uptime }
            step.compares = Array(Set(step.compares)).sorted { $0.key < $1.key }
            for place in step.reservations { placement.occupy(place.node, place.instance, place.resources) }
            plan.steps.append(step)
        }
        reasonWrittenAt = reasonWrittenAt.filter { view.assemblies[$0.key] != nil }
        plan.steps += forgetNodes(view, occupied, busy, now)
        return plan
    }

    /// Those first of which a part has been placed and the rest is to follow: nobody else may take its room.
    private static func order(_ view: ClusterView) -> [String] {
        let names = view.assemblies.keys.sorted()
        func isUnderWay(_ name: String) -> Bool {
            guard let assembly = view.assemblies[name] else { return false }
            return assembly.record?.value?.state == .initializing && !assembly.assignments.isEmpty
        }
        return names.filter(isUnderWay) + names.filter { !isUnderWay($0) }
    }

    // MARK: Nodes

    private static func placement(_ view: ClusterView) -> Placement {
        let names = Set(view.nodes.keys).union(view.alive.keys)
        var placement = Placement(
            nodes: names.map {
                Placement.Node(name: $0, record: view.nodes[$0]?.value, isAlive: view.alive[$0] != nil)
            })
        for assembly in view.assemblies.values {
            for (instance, holdings) in assembly.assignments {
                for (node, stored) in holdings {
                    placement.occupy(
                        node, instance, stored.value?.component.requirements.resources ?? Resources())
                }
            }
        }
        return placement
    }

    private static func holds(_ view: ClusterView, _ place: Step.Reservation) -> Bool {
        view.assemblies[place.instance.assembly]?.assignments[place.instance]?[place.node] != nil
    }

    /// The nodes that have assignments.
    private static func occupiedNodes(_ view: ClusterView) -> Set<String> {
        var nodes: Set<String> = []
        for assembly in view.assemblies.values {
            for holdings in assembly.assignments.values { nodes.formUnion(holdings.keys) }
        }
        return nodes
    }

    private mutating func lookAt(
        _ view: ClusterView, _ occupied: Set<String>, _ now: Moment, _ plan: inout Plan
    ) -> NodesNow {
        let alive = Set(view.alive.keys)
        let known = Set(view.nodes.keys).union(occupied).union(alive)
        seenAlive.formUnion(alive)
        for node in alive {
            absentSince[node] = nil
            wentDownAt[node] = nil
        }
        for node in known.subtracting(alive) where absentSince[node] == nil {
            absentSince[node] = now.uptime
            if seenAlive.contains(node) { wentDownAt[node] = now.uptime }
        }
        absentSince = absentSince.filter { known.contains($0.key) }
        wentDownAt = wentDownAt.filter { known.contains($0.key) }
        seenAlive.formIntersection(known)

        // A node whose record was deleted is gone because somebody says so: it does not count.
        let dead = absentSince.keys.filter { node in
            guard view.nodes[node] != nil else { return false }
            if occupied.contains(node) { return true }
            guard let wentDown = wentDownAt[node], wentDown + configuration.brakeWindow > now.uptime else {
                return false
            }
            plan.wake(at: wentDown + configuration.brakeWindow)
            return true
        }
        // Exactly half is not more than half: of two nodes one may be lost and its instances move.
        let isBraked = dead.count > alive.count
        // The brake on record may be that of a leader before this one.
        if isBraked || view.status?.value?.brake != nil { lastBrakedAt = now.uptime }
        let earliest = lastBrakedAt.map { $0 + configuration.brakeAftermath } ?? .min
        var lost: Set<String> = []
        for (node, since) in absentSince {
            let moment = max(since + configuration.nodeGrace, earliest)
            if moment <= now.uptime { lost.insert(node) } else if occupied.contains(node) { plan.wake(at: moment) }
        }
        return NodesNow(alive: alive, lost: lost, seeminglyDead: dead.sorted(), isBraked: isBraked)
    }

    private func status(_ view: ClusterView, _ nodes: NodesNow, _ now: Moment) -> Step? {
        var wanted = EngineStatus(leader: leader, since: since)
        if nodes.isBraked {
            let all = nodes.seeminglyDead.count + nodes.alive.count
            wanted.brake = EngineStatus.Brake(
                since: view.status?.value?.brake?.since ?? now.wall,
                reason:
                    "\(nodes.seeminglyDead.count) of \(all) nodes seem dead, which is more likely the network than all of "
                    + "them; nothing is moved until half of them are there, or those that are gone for good are "
                    + "forgotten (`megam nodes forget NAME`)",
                nodes: nodes.seeminglyDead)
        }
        guard view.status?.value != wanted else { return nil }
        var step = Step(.status)
        step.compares = [.init(key: Keys.engineStatus, modRevision: view.status?.modRevision ?? 0)]
        step.puts = [.init(key: Keys.engineStatus, value: wanted.json)]
        if let brake = wanted.brake {
            step.story = ["the brake holds: \(brake.reason)"]
        } else if view.status?.value?.brake != nil {
            step.story = ["the brake is released"]
        }
        return step
    }

    private func forgetNodes(
        _ view: ClusterView, _ occupied: Set<String>, _ busy: Set<Step.Subject>, _ now: Moment
    ) -> [Step] {
        view.nodes.sorted { $0.key < $1.key }.compactMap { node, stored in
            guard let since = absentSince[node], since + configuration.forgetNodesAfter <= now.uptime,
                !occupied.contains(node), !busy.contains(.node(node))
            else { return nil }
            var step = Step(.node(node))
            step.compares = [
                .init(key: Keys.node(node), modRevision: stored.modRevision),
                .init(key: Keys.alive(node), modRevision: 0),
            ]
            step.deletes = [.key(Keys.node(node))]
            step.story = ["it has been gone for long, and is forgotten"]
            return step
        }
    }
}

extension Planner.Plan {
    fileprivate mutating func wake(at moment: Int64) { wakeAt = min(wakeAt ?? moment, moment) }
}

/// Which nodes are there at this moment.
struct NodesNow: Sendable {
    var alive: Set<String>
    /// Absent for long enough to be given up.
    var lost: Set<String>
    /// That count for the brake.
    var seeminglyDead: [String]
    /// So many that nothing is moved.
    var isBraked: Bool
}
