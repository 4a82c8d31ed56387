import LaunchModel

@testable import Engine

/// A node with its agent, by the rules that agents keep: a lease, reports under it, deadlines for runs that must not
/// outlive it. Times are milliseconds.
struct SimulatedAgent {
    static let leaseTime: Int64 = 10_000
    static let margin: Int64 = 2_000

    struct Run: Hashable {
        var token: Int64
        var launch: Int64
        var generation: Int
        var mustStop: Bool
        var state: Report.State
        var until: Int64
        /// It is being stopped; its process still lives.
        var isStopping = false

        /// There is a process.
        var isLive: Bool { state == .starting || state == .running }
    }

    enum Link: Hashable {
        case up
        /// Since when keep-alives do not arrive.
        case cut(since: Int64)
        /// The machine is off.
        case dead(since: Int64)
    }

    let name: String
    let capacity: Resources
    private(set) var link = Link.up
    private(set) var runs: [InstanceID: Run] = [:]
    private var lease: String
    private var leaseCount = 0
    private var isRegistered = false
    private var cursor = 0
    private var assignments: [InstanceID: (assignment: Assignment, token: Int64)] = [:]
    private var written: [InstanceID: Report] = [:]

    init(name: String, millicores: Int64) {
        self.name = name
        capacity = Resources(millicores: millicores, memoryBytes: 1 << 30)
        lease = "\(name)-0"
    }

    mutating func cut(at now: Int64) { if link == .up { link = .cut(since: now) } }

    mutating func die(at now: Int64) {
        switch link {
        case .up: link = .dead(since: now)
        case .cut(let since): link = .dead(since: since)
        case .dead: return
        }
        runs.removeAll()
        // It has to read again.
        cursor = 0
    }

    mutating func comeBack() { link = .up }

    mutating func tick(_ store: inout SimulatedStore, _ dice: inout Dice, at now: Int64, isCalm: Bool) {
        switch link {
        case .cut(let since), .dead(let since):
            if now >= since + Self.leaseTime - Self.margin { runs = runs.filter { !$0.value.mustStop } }
            if now >= since + Self.leaseTime, isRegistered {
                store.endLease(lease)
                isRegistered = false
            }
        case .up:
            if !isRegistered || cursor == 0 { register(&store) } else if isCalm || !dice.one(in: 4) { follow(store) }
            act(store, &dice, at: now, isCalm: isCalm)
            report(&store, at: now)
        }
    }

    private mutating func register(_ store: inout SimulatedStore) {
        store.endLease(lease)
        leaseCount += 1
        lease = "\(name)-\(leaseCount)"
        isRegistered = true
        let record = NodeRecord(
            name: name, address: "127.0.0.1", agentAddress: "127.0.0.1:1", capacity: capacity, version: "1")
        let presence = NodePresence(since: Timestamp(milliseconds: 0), pid: 1)
        if store.value(Keys.node(name), NodeRecord.self) != record { store.put(Keys.node(name), record) }
        store.put(Keys.alive(name), presence, lease: lease)
        written.removeAll()
        assignments.removeAll()
        for key in store.keys(Keys.assignments(name)) {
            guard let entry = store.entries[key] else { continue }
            take(key, .put(entry.value, createRevision: entry.createRevision))
        }
        cursor = store.history.count
    }

    private mutating func follow(_ store: SimulatedStore) {
        for (_, key, change) in store.history[cursor...] { take(key, change) }
        cursor = store.history.count
    }

    private mutating func take(_ key: String, _ change: ClusterView.Change) {
        guard key.hasPrefix(Keys.assignments(name)), case .assignment(_, let instance) = Place(key: Array(key.utf8))
        else { return }
        switch change {
        case .delete: assignments[instance] = nil
        case .put(let json, let createRevision):
            assignments[instance] = (try? Assignment(json: json)).map { ($0, createRevision) }
        }
    }

    private mutating func act(_ store: SimulatedStore, _ dice: inout Dice, at now: Int64, isCalm: Bool) {
        for instance in Set(runs.keys).union(assignments.keys).sorted() {
            let wanted = assignments[instance]
            guard var run = runs[instance] else {
                if let wanted, wanted.assignment.run {
                    let mustStop = wanted.assignment.component.onDisconnect == .stop
                    // Its first report is written only where the assignment is, and the run begins after that.
                    let key = Keys.assignment(name, instance)
                    if mustStop, store.entries[key]?.createRevision != wanted.token { continue }
                    runs[instance] = Run(
                        token: wanted.token, launch: wanted.assignment.launch,
                        generation: wanted.assignment.generation,
                        mustStop: mustStop, state: .starting, until: now + 500)
                }
                continue
            }
            if run.isStopping {
                guard now >= run.until else { continue }
                let isSame = run.token == wanted?.token
                runs[instance] = nil
                if isSame {
                    run.state = .stopped
                    run.isStopping = false
                    runs[instance] = run
                }
                continue
            }
            let isWanted = wanted.map { $0.token == run.token && $0.assignment.run } ?? false
            if !isWanted {
                if run.isLive {
                    run.isStopping = true
                    run.until = now + Int64(dice.number(0...8) * 100)
                } else if wanted?.token == run.token {
                    run.state = .stopped
                } else {
                    runs[instance] = nil
                    continue
                }
            } else if let wanted, wanted.assignment.generation > run.generation || run.state == .stopped {
                run.generation = wanted.assignment.generation
                if !run.isLive {
                    run.state = .starting
                    run.until = now + 500
                }
            } else if run.state == .starting, now >= run.until {
                run.state = .running
            } else if run.state == .waiting, now >= run.until {
                run.state = .starting
                run.until = now + 500
            } else if !isCalm, run.state == .running, dice.one(in: 150) {
                run.state = dice.one(in: 3) ? .failed : .waiting
                run.until = now + 1_000
            }
            run.generation = max(run.generation, isWanted ? wanted?.assignment.generation ?? 0 : 0)
            runs[instance] = run
        }
    }

    private mutating func report(_ store: inout SimulatedStore, at now: Int64) {
        for (instance, run) in runs.sorted(by: { $0.key < $1.key }) {
            var report = Report(
                token: run.token, generation: run.generation, state: run.state, since: Timestamp(milliseconds: 0))
            if run.state == .failed { report.reason = "it broke; mend it" }
            guard written[instance] != report else { continue }
            written[instance] = report
            store.put(Keys.report(name, instance), report, lease: lease)
        }
        let gone = written.keys.filter { runs[$0] == nil }
        for instance in gone { written[instance] = nil }
        if !gone.isEmpty { store.delete(gone.map { Keys.report(name, $0) }) }
    }
}
