import Guard
import LaunchModel

/// A step that the plan asks for. Those of one answer are done in their order.
enum Effect: Hashable, Sendable {
    /// Write what is to be remembered. If that fails, steps of the same instance that follow are not done.
    case save(InstanceID, InstanceRecord)
    /// Create and launch a run, and watch it: `started` and `ended` follow, or `startFailed`.
    case start(RunKey, ComponentSpecification, deadline: BootTime?)
    /// Watch a run that was found: `started` and `ended` follow.
    case watch(RunKey)
    /// Ask for a graceful end.
    case requestStop(RunKey)
    /// End it by force. `ended` follows, or `killFailed`.
    case kill(RunKey)
    /// Move its deadline on.
    case renew(RunKey, until: BootTime)
    /// Delete the instance's directory, in which nothing lives. `cleared` follows.
    case clear(InstanceID)
}

/// What happened.
enum Event: Sendable {
    /// The node is registered; until the assignments are read, none of them counts as seen.
    case registered
    case unregistered
    /// All assignments of the node, read after it registered.
    case assignments([InstanceID: Wish])
    /// Those that changed since; a deleted one is `absent`.
    case changed([InstanceID: Wish])
    /// The lease is certain beyond this moment, under the present registration.
    case leaseCertain(until: BootTime)
    case started(RunKey, pid: Int32, at: Int64)
    case ended(RunKey, RunOutcome)
    case startFailed(RunKey, String)
    case killFailed(RunKey)
    case cleared(InstanceID, Bool)
    case outputs(RunKey, [String: String])
    /// Reports about the assignments of these tokens lie in the store, under the present registration.
    case reported([InstanceID: Int64])
    /// The moment of ``NodePlan/nextWake(after:)`` has come.
    case tick
}

/// An instance as it lies on the disk when the agent starts.
struct FoundInstance: Hashable, Sendable {
    struct Run: Hashable, Sendable {
        var key: RunKey
        var deadline: BootTime?
        var stopGrace: Duration
        /// false: its outcome is recorded.
        var mayLive: Bool
    }

    var instance: InstanceID
    /// nil: lost or damaged.
    var record: InstanceRecord?
    /// Oldest first.
    var runs: [Run]
}

/// All of a node's instances: events go in, effects come out. Sans-I/O and deterministic.
struct NodePlan: Sendable {
    private var machines: [InstanceID: InstanceMachine] = [:]
    private var isRegistered = false
    private var authority = Authority()
    /// From then on assignments known from files alone are begun too (of `on-disconnect: keep`): before, the store is
    /// given the chance to say what has become of them.
    private var trustsFilesFrom: BootTime

    /// How long after its start an agent waits for the store before it starts what only its files speak of.
    static let patience: Duration = .seconds(30)

    init(_ now: Now) { trustsFilesFrom = now.boot + Self.patience }

    /// Takes up what was found, before anything else.
    mutating func adopt(_ found: [FoundInstance], _ now: Now) -> [Effect] {
        for one in found { machines[one.instance] = InstanceMachine(adopting: one, now) }
        let watches = machines.values.compactMap(\.run?.key).sorted().map(Effect.watch)
        return watches + settle(now)
    }

    mutating func handle(_ events: [Event], _ now: Now) -> [Effect] {
        var effects: [Effect] = []
        for event in events { effects += note(event, now) }
        return effects + settle(now)
    }

    /// What is to be in the store, for every instance that is reported.
    var reports: [InstanceID: Report] { machines.compactMapValues(\.report) }

    /// Instances whose report is to be written only if the assignment of this token is there.
    var awaitedTokens: [InstanceID: Int64] { machines.compactMapValues(\.awaitedToken) }

    /// Runs whose child is up, for their outputs.
    var runsUp: [RunKey] { machines.values.compactMap(\.run).filter { $0.upSince != nil }.map(\.key).sorted() }

    /// Whether the instance has anything here.
    func knows(_ instance: InstanceID) -> Bool { machines[instance] != nil }

    func nextWake(after now: BootTime) -> BootTime? {
        var next = machines.values.compactMap { $0.nextWake(after: now) }.min()
        if !authority.trustsFiles, trustsFilesFrom > now { next = min(next ?? trustsFilesFrom, trustsFilesFrom) }
        return next
    }

    private mutating func note(_ event: Event, _ now: Now) -> [Effect] {
        switch event {
        case .registered:
            isRegistered = true
        case .unregistered:
            isRegistered = false
            authority.runsUntil = nil
            for instance in machines.keys { machines[instance]?.registrationEnded() }
        case .assignments(let wishes):
            authority.trustsFiles = true
            for instance in machines.keys where wishes[instance] == nil { machines[instance]?.wants(.absent) }
            for (instance, wish) in wishes { want(wish, instance) }
        case .changed(let wishes):
            for (instance, wish) in wishes { want(wish, instance) }
        case .leaseCertain(let moment):
            guard isRegistered else { return [] }
            authority.runsUntil = max(authority.runsUntil ?? moment, moment)
            return machines.keys.sorted().compactMap { machines[$0]?.renewal(until: moment) }
        case .started(let key, let pid, let time): machines[key.instance]?.started(key, pid: pid, at: time, now)
        case .ended(let key, let outcome): machines[key.instance]?.ended(key, outcome, now)
        case .startFailed(let key, let reason): machines[key.instance]?.startFailed(key, reason, now)
        case .killFailed(let key): machines[key.instance]?.killFailed(key, now)
        case .cleared(let instance, let succeeded): machines[instance]?.cleared(succeeded, now)
        case .outputs(let key, let outputs): machines[key.instance]?.hasOutputs(key, outputs)
        case .reported(let tokens): for (instance, token) in tokens { machines[instance]?.reported(token: token) }
        case .tick: break
        }
        return []
    }

    private mutating func want(_ wish: Wish, _ instance: InstanceID) {
        machines[instance, default: InstanceMachine(instance)].wants(wish)
    }

    private mutating func settle(_ now: Now) -> [Effect] {
        if trustsFilesFrom <= now.boot { authority.trustsFiles = true }
        var effects: [Effect] = []
        for instance in machines.keys.sorted() {
            effects += machines[instance]?.settle(now, authority) ?? []
            if machines[instance]?.isOver ?? false { machines[instance] = nil }
        }
        return effects
    }
}
