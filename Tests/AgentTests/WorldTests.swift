import Glibc
import Guard
import LaunchModel
import Testing

@testable import Agent

/// A node in virtual time: its disk, its runs, its lease, the wishes of an engine, and an agent that is killed now and
/// then between any two steps. Everything is drawn from one seed.
private struct World {
    struct Run {
        var deadline: BootTime?
        var isUp = false
        var wasAskedToStop = false
        /// Its guard does not react to being asked.
        var isFrozen = false
        var outcome: RunOutcome?
        var isWatched = false
    }

    var random: SeededGenerator
    var now = Now(boot: BootTime(nanoseconds: 1_000_000_000_000), wall: Timestamp(milliseconds: 1_790_000_000_000))
    // On the disk.
    var records: [InstanceID: InstanceRecord] = [:]
    var runs: [RunKey: Run] = [:]
    // In the store.
    var assigned: [InstanceID: Wish] = [:]
    var revision: Int64 = 1
    /// When the store ends the lease if it is not renewed.
    var leaseEnd = BootTime(nanoseconds: 0)
    // The agent.
    var plan: NodePlan?
    var isRegistered = false
    var inbox: [Event] = []
    var quick: [Effect] = []
    var slow: [Effect] = []

    var usedKeys: Set<RunKey> = []
    var startCount = 0
    var complaints: [String] = []

    static let timeToLive = Duration.seconds(10)
    static let instances = (0..<3).map { InstanceID(assembly: "hello", component: "web", index: $0) }

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    mutating func check(_ holds: Bool, _ what: @autoclosure () -> String) { if !holds { complaints.append(what()) } }

    // MARK: What happens by itself

    mutating func pass(_ duration: Duration) {
        now.boot = now.boot + duration
        now.wall = Timestamp(milliseconds: now.wall.milliseconds + duration.milliseconds)
        for key in runs.keys.sorted() where runs[key]?.outcome == nil {
            guard let deadline = runs[key]?.deadline, deadline <= now.boot else { continue }
            check(deadline < leaseEnd, "\(key) lived past its lease")
            end(key, .signalled(SIGKILL), .deadlinePassed)
        }
        inbox.append(.tick)
    }

    mutating func end(_ key: RunKey, _ ending: Ending, _ cause: Cause) {
        guard runs[key]?.outcome == nil else { return }
        let outcome = RunOutcome(ending: ending, cause: cause, endedAt: now.wall.milliseconds)
        runs[key]?.outcome = outcome
        if runs[key]?.isWatched ?? false { inbox.append(.ended(key, outcome)) }
    }

    mutating func advanceRun(mayFreeze: Bool) {
        guard let key = runs.keys.sorted().filter({ runs[$0]?.outcome == nil }).randomElement(using: &random) else {
            return
        }
        if runs[key]?.wasAskedToStop ?? false {
            if !(runs[key]?.isFrozen ?? false) { end(key, .signalled(SIGTERM), .stopRequested) }
        } else if !(runs[key]?.isUp ?? true) {
            runs[key]?.isUp = true
            let freezes = mayFreeze && chance(20)
            runs[key]?.isFrozen = freezes
            if runs[key]?.isWatched ?? false {
                inbox.append(.started(key, pid: 42, at: now.wall.milliseconds))
            }
        } else if mayFreeze, chance(30) {
            end(key, chance(50) ? .exited(code: 1) : .lost, .byItself)
        }
    }

    // MARK: The engine and the store

    mutating func changeWish() {
        guard let instance = Self.instances.randomElement(using: &random) else { return }
        revision += 1
        var token = revision
        var run = true
        if let present = assigned[instance]?.token {
            if chance(40) {
                assigned[instance] = nil
                if isRegistered { inbox.append(.changed([instance: .absent])) }
                return
            }
            if chance(60) {
                token = present
                run = chance(50)
            }
        }
        let wish: Wish = .assigned(
            token: token,
            Assignment(
                instance: instance, launch: 1, generation: Int(revision), run: run,
                component: PlanHarness.component {
                    $0.restart = RestartPolicy(attempts: 1_000_000, backoffMilliseconds: 1)
                    $0.onDisconnect = instance.index == 0 ? .keep : .stop
                }))
        assigned[instance] = wish
        if isRegistered { inbox.append(.changed([instance: wish])) }
    }

    mutating func renew() {
        leaseEnd = now.boot + Self.timeToLive
        inbox.append(.leaseCertain(until: leaseEnd - .seconds(2)))
    }

    mutating func register() {
        guard plan != nil, !isRegistered else { return }
        isRegistered = true
        inbox += [.registered, .assignments(assigned)]
        renew()
    }

    mutating func unregister() {
        if isRegistered { inbox.append(.unregistered) }
        isRegistered = false
    }

    // MARK: The agent

    mutating func killAgent() {
        plan = nil
        isRegistered = false
        (inbox, quick, slow) = ([], [], [])
        for key in runs.keys { runs[key]?.isWatched = false }
    }

    mutating func startAgent() {
        guard plan == nil else { return }
        var found: [FoundInstance] = []
        for instance in Self.instances {
            var here: [FoundInstance.Run] = []
            for key in runs.keys.sorted() where key.instance == instance {
                // What is only being started is not gone on with.
                if runs[key]?.isUp == false { end(key, .lost, .stopRequested) }
                here.append(
                    FoundInstance.Run(
                        key: key, deadline: runs[key]?.deadline, stopGrace: .seconds(1),
                        mayLive: runs[key]?.outcome == nil))
            }
            if records[instance] != nil || !here.isEmpty {
                found.append(FoundInstance(instance: instance, record: records[instance], runs: here))
            }
        }
        var plan = NodePlan(now)
        take(plan.adopt(found, now))
        self.plan = plan
    }

    /// A transaction of reports: it is seen to by an engine that takes an assignment away afterwards.
    mutating func writeReports() {
        guard isRegistered, let plan else { return }
        let tokens = plan.reports.mapValues(\.token).filter { assigned[$0.key]?.token == $0.value }
        inbox.append(.reported(tokens))
    }

    mutating func think() {
        guard !inbox.isEmpty, let effects = plan?.handle(inbox, now) else { return }
        inbox = []
        take(effects)
    }

    private mutating func take(_ effects: [Effect]) { quick += effects }

    mutating func doQuick(mayFail: Bool) {
        guard !quick.isEmpty else { return }
        switch quick.removeFirst() {
        case .save(let instance, let record): records[instance] = record
        case .watch(let key):
            runs[key]?.isWatched = true
            if let outcome = runs[key]?.outcome {
                inbox.append(.ended(key, outcome))
            } else if runs[key]?.isUp ?? false {
                inbox.append(.started(key, pid: 42, at: now.wall.milliseconds))
            }
        case .start(let key, _, let deadline):
            startCount += 1
            check(usedKeys.insert(key).inserted, "\(key) was used before")
            let living = runs.filter { $0.key.instance == key.instance && $0.value.outcome == nil }.keys
            check(living.isEmpty, "\(key) begins while \(living) live")
            check(records[key.instance]?.attempt == key.attempt, "\(key) begins before it is written down")
            check((deadline != nil) == (key.instance.index != 0), "\(key) has the wrong kind of deadline")
            if mayFail, chance(10) { return inbox.append(.startFailed(key, "the disk is full")) }
            runs[key] = Run(deadline: deadline, isWatched: true)
            if let deadline, deadline <= now.boot { end(key, .notStarted(errno: 0, message: "late"), .deadlinePassed) }
        case .requestStop(let key): runs[key]?.wasAskedToStop = true
        case .renew(let key, let moment):
            if runs[key]?.outcome == nil { runs[key]?.deadline = moment }
        case .kill(let key): slow.append(.kill(key))
        case .clear(let instance): slow.append(.clear(instance))
        }
    }

    mutating func doSlow(mayFail: Bool) {
        guard let index = slow.indices.randomElement(using: &random) else { return }
        switch slow.remove(at: index) {
        case .kill(let key):
            if mayFail, chance(20) { return inbox.append(.killFailed(key)) }
            end(key, .lost, .stopRequested)
        case .clear(let instance):
            let living = runs.filter { $0.key.instance == instance && $0.value.outcome == nil }.keys
            check(living.isEmpty, "\(instance) is cleaned up while \(living) live")
            records[instance] = nil
            if mayFail, chance(20) { return inbox.append(.cleared(instance, false)) }
            runs = runs.filter { $0.key.instance != instance }
            inbox.append(.cleared(instance, true))
        default: break
        }
    }

    // MARK: The course of events

    mutating func step() {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<25: doQuick(mayFail: true)
        case 25..<32: doSlow(mayFail: true)
        case 32..<35: writeReports()
        case 35..<60: think()
        case 60..<68: pass(.milliseconds(Int.random(in: 1...4_000, using: &random)))
        case 68..<80: advanceRun(mayFreeze: true)
        case 80..<84: changeWish()
        case 84: killAgent()
        case 85..<89: startAgent()
        case 89..<94: register()
        case 94: unregister()
        default: if isRegistered { renew() }
        }
    }

    /// No more accidents: after a while all is as it is wanted.
    mutating func settle() {
        startAgent()
        register()
        for _ in 0..<40 {
            pass(.seconds(5))
            renew()
            for _ in 0..<3 {
                think()
                writeReports()
                think()
                while !quick.isEmpty { doQuick(mayFail: false) }
                while !slow.isEmpty { doSlow(mayFail: false) }
                for _ in 0..<4 { advanceRun(mayFreeze: false) }
            }
        }
        for instance in Self.instances {
            let living = runs.filter { $0.key.instance == instance && $0.value.outcome == nil }.keys
            switch assigned[instance] {
            case .assigned(let token, let assignment) where assignment.run:
                check(living.count == 1 && living.first?.token == token, "\(instance) of \(token): \(living) live")
                check(plan?.reports[instance]?.state == .running, "\(instance) is not reported as running")
            case .assigned: check(living.isEmpty, "\(instance) is not to run, and \(living) live")
            default:
                let isLeft = records[instance] != nil || runs.keys.contains { $0.instance == instance }
                check(!isLeft && plan?.reports[instance] == nil, "something is left of \(instance)")
            }
        }
    }
}

/// SplitMix64.
private struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

@Suite struct WorldTests {
    @Test func whateverHappensAnInstanceHasOneRunAtMostAndTheRightOneInTheEnd() {
        var starts = 0
        for seed in 1...200 as ClosedRange<UInt64> {
            var world = World(seed: seed)
            world.startAgent()
            for _ in 0..<800 { world.step() }
            world.settle()
            starts += world.startCount
            guard world.complaints.isEmpty else {
                Issue.record("seed \(seed): \(world.complaints.prefix(3).joined(separator: "; "))")
                return
            }
        }
        #expect(starts > 2_000, "only \(starts) runs were begun: the world is too quiet to show anything")
    }
}
