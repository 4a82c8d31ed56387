import Guard
import LaunchModel

/// What the store wants of an instance on this node, as far as the agent knows.
enum Wish: Hashable, Sendable {
    /// The store was not read yet, and no file says what it wanted before.
    case unknown
    /// No assignment: nothing of the instance may stay here.
    case absent
    /// An assignment whose value is none. It has a token all the same.
    case unreadable(token: Int64, reason: String)
    case assigned(token: Int64, Assignment)

    var token: Int64? {
        switch self {
        case .unknown, .absent: nil
        case .unreadable(let token, _), .assigned(let token, _): token
        }
    }
}

/// What may be begun now, by what the agent knows of its lease.
struct Authority: Hashable, Sendable {
    /// Runs with a deadline may run until then; nil: none may begin or go on past its own.
    var runsUntil: BootTime?
    /// Other runs may be begun for assignments that were only read from this node's files.
    var trustsFiles = false
}

/// One instance on this node: decides when a run of it begins and ends, and what is reported.
///
/// Sans-I/O. Events come in as calls that only note what happened; ``settle(_:_:)`` then compares what is wanted with
/// what is there and answers the next steps. It is level-triggered: called again in the same situation it answers
/// nothing new, and called after a restart, with what the files say, it goes on from there.
///
/// At most one run lives at a time: `run` is set from before it is created until its end is known for certain.
struct InstanceMachine: Sendable {
    let instance: InstanceID
    private(set) var wish = Wish.unknown
    /// The wish was read under the present registration.
    private(set) var isWishFresh = false
    /// The token of the report that lies in the store under the present registration.
    private var storedToken: Int64?
    /// nil: nothing was done or found here under any assignment.
    private(set) var record: InstanceRecord?
    private(set) var run: LiveRun?
    /// Its directory is being deleted.
    private(set) var isClearing = false
    /// Deleting failed; tried again then.
    private var clearAgainAt: BootTime?
    private var hasDirectory = false
    private var savedRecord: InstanceRecord?
    private var retryAt: BootTime?
    /// Starts in a row that the node could not do.
    private var failedStarts = 0

    /// A run that may live.
    struct LiveRun: Hashable, Sendable {
        var key: RunKey
        /// It is killed at this moment unless that is moved on; nil: it has no deadline.
        var deadline: BootTime?
        var stopGrace: Duration
        /// Since when its child runs; nil while it is not known to.
        var upSince: BootTime?
        var stop = Stop.notAsked

        enum Stop: Hashable {
            case notAsked
            case asked(killAt: BootTime)
            case killed(againAt: BootTime)
        }
    }

    /// How long after a stop's grace a guard that has not ended its run is killed with it.
    static let killSlack: Duration = .seconds(5)
    /// A run with a deadline is only begun if it has this long.
    static let shortestLife: Duration = .seconds(1)

    init(_ instance: InstanceID) { self.instance = instance }

    /// An instance as its directory tells it.
    init(adopting found: FoundInstance, _ now: Now) {
        instance = found.instance
        hasDirectory = true
        record = found.record
        savedRecord = found.record
        if let record = found.record, let assignment = record.assignment {
            wish = .assigned(token: record.token, assignment)
        }
        guard let newest = found.runs.last else {
            resumeRetry(now)
            return
        }
        var record = self.record ?? .unknown(newest.key, now)
        if newest.key.token == record.token { record.attempt = max(record.attempt, newest.key.attempt) }
        self.record = record
        // Whether the end of a run that is over was dealt with already shows in the record. If not, the watch tells it
        // like any other's.
        let isCurrent = newest.key == RunKey(instance, token: record.token, attempt: record.attempt)
        guard newest.mayLive || (isCurrent && [.starting, .running].contains(record.state)) else {
            resumeRetry(now)
            return
        }
        run = LiveRun(key: newest.key, deadline: newest.deadline, stopGrace: newest.stopGrace)
    }

    private mutating func resumeRetry(_ now: Now) {
        guard let record, record.state == .waiting, let at = record.retryAt else { return }
        // The wall clock may have been set meanwhile: never longer than the pause itself can be.
        let policy = record.assignment?.component.restart ?? RestartPolicy()
        let left = Duration.milliseconds(max(0, at.milliseconds - now.wall.milliseconds))
        retryAt = now.boot + min(left, RestartRules.backoff(policy, after: .max))
    }

    var report: Report? { record?.report }

    /// Nothing is wanted, and nothing is left: the machine can be forgotten.
    var isOver: Bool { wish == .absent && run == nil && !hasDirectory && !isClearing }

    /// When to ``settle(_:_:)`` although nothing happens.
    func nextWake(after now: BootTime) -> BootTime? {
        var moments = [retryAt, clearAgainAt]
        switch run?.stop {
        case .asked(let at), .killed(let at): moments.append(at)
        case .notAsked: moments.append(readyAt)
        case nil: break
        }
        return moments.compactMap { $0 }.filter { $0 > now }.min()
    }
}

// MARK: Events

extension InstanceMachine {
    mutating func wants(_ wish: Wish) {
        self.wish = wish
        isWishFresh = true
    }

    mutating func registrationEnded() {
        isWishFresh = false
        storedToken = nil
    }

    /// A report about this assignment lies in the store.
    mutating func reported(token: Int64) { storedToken = token }

    mutating func started(_ key: RunKey, pid: Int32, at startedAt: Int64, _ now: Now) {
        guard run?.key == key else { return }
        // By the wall clock, which may have been set: at the worst it counts as running at once, or as begun now.
        run?.upSince = now.boot - .milliseconds(max(0, now.wall.milliseconds - startedAt))
        record?.pid = pid
        record?.startedAt = Timestamp(milliseconds: startedAt)
    }

    /// The run is over: nothing of it lives.
    mutating func ended(_ key: RunKey, _ outcome: RunOutcome, _ now: Now) {
        guard let ending = run, ending.key == key, var record else { return }
        run = nil
        failedStarts = 0
        defer { self.record = record }
        record.pid = nil
        record.lastEnd = outcome.end
        guard record.token == key.token, let assignment = record.assignment, isWanted(token: key.token) else { return }
        let upMilliseconds = ending.upSince != nil ? record.startedAt.map { outcome.endedAt - $0.milliseconds } : nil
        let sequel = RestartRules.sequel(
            of: outcome, upMilliseconds: upMilliseconds, failures: record.failuresInRow,
            policy: assignment.component.restart, instance: instance)
        follow(sequel, upMilliseconds: upMilliseconds, &record, now)
    }

    /// The run could not be begun, for a reason of the node's. Nothing of it lives.
    mutating func startFailed(_ key: RunKey, _ reason: String, _ now: Now) {
        guard run?.key == key, var record else { return }
        run = nil
        // Perhaps because it could not be written down.
        savedRecord = nil
        // Nothing of the component's was begun, so nothing is counted against it: tried again until the node can.
        record.starts = max(0, record.starts - 1)
        let policy = record.assignment?.component.restart ?? RestartPolicy()
        let pause = RestartRules.backoff(policy, after: failedStarts)
        failedStarts += 1
        follow(.again(after: pause, counts: false, reason: reason), upMilliseconds: nil, &record, now)
        self.record = record
    }

    private mutating func follow(
        _ sequel: Sequel, upMilliseconds: Int64?, _ record: inout InstanceRecord, _ now: Now
    ) {
        switch sequel {
        case .completed: record.enter(.completed, now)
        case .failed(let reason): record.enter(.failed, now, reason: reason)
        case .again(let pause, let counts, let reason):
            if (upMilliseconds ?? 0) >= RestartRules.steadyAfterMilliseconds { record.failuresInRow = 0 }
            if counts { record.failuresInRow += 1 }
            record.enter(.waiting, now, reason: reason)
            record.retryAt = Timestamp(milliseconds: now.wall.milliseconds + pause.milliseconds)
            retryAt = now.boot + pause
        }
    }

    /// The run is still there after it was killed (its system call hangs): killed again, after a while.
    mutating func killFailed(_ key: RunKey, _ now: Now) {
        guard run?.key == key else { return }
        run?.stop = .killed(againAt: now.boot + Self.killSlack)
    }

    /// Its directory is deleted; or is not, and will be tried again.
    mutating func cleared(_ succeeded: Bool, _ now: Now) {
        guard isClearing else { return }
        isClearing = false
        if succeeded {
            hasDirectory = false
            record = nil
            savedRecord = nil
            retryAt = nil
            clearAgainAt = nil
            storedToken = nil
        } else {
            clearAgainAt = now.boot + Self.killSlack
        }
    }

    mutating func hasOutputs(_ key: RunKey, _ outputs: [String: String]) {
        if run?.key == key { record?.outputs = outputs }
    }
}

// MARK: Decisions

extension InstanceMachine {
    /// The steps to take now, in this order.
    mutating func settle(_ now: Now, _ authority: Authority) -> [Effect] {
        guard !isClearing else { return [] }
        var effects = run == nil ? settleWithoutRun(now, authority) : settleRun(now)
        // Not what is being deleted: what is not written any more is not begun again by a later agent.
        if let record, record != savedRecord, !isClearing, clearAgainAt == nil {
            savedRecord = record
            hasDirectory = true
            // First: a step is only done when the files say that it was begun.
            effects.insert(.save(instance, record), at: 0)
        }
        return effects
    }

    /// The token of the assignment that must be there when the next report is written, because a run waits for that.
    var awaitedToken: Int64? {
        guard run == nil, isWishFresh, case .assigned(let token, let assignment) = wish, assignment.run,
            storedToken != token, let record, record.token == token,
            assignment.component.onDisconnect == .stop || record.attempt == 0
        else { return nil }
        return token
    }

    /// Moves the deadline of a run whose assignment was seen under the present registration.
    mutating func renewal(until moment: BootTime) -> Effect? {
        guard isWishFresh, case .assigned(let token, _) = wish, let run, run.key.token == token,
            let deadline = run.deadline, deadline < moment
        else { return nil }
        self.run?.deadline = moment
        return .renew(run.key, until: moment)
    }

    /// When the present run counts as running, if it does not yet.
    private var readyAt: BootTime? {
        guard let record, record.state != .running, let assignment = record.assignment else { return nil }
        return run?.upSince.map { $0 + .milliseconds(assignment.component.readyAfterMilliseconds) }
    }

    private func isWanted(token: Int64) -> Bool {
        switch wish {
        case .unknown: true
        case .absent: false
        // What cannot be read is no order to stop.
        case .unreadable(let wished, _): wished == token
        case .assigned(let wished, let assignment): wished == token && assignment.run
        }
    }

    private mutating func settleRun(_ now: Now) -> [Effect] {
        takeOver(now)
        guard var live = run else { return [] }
        defer { run = live }
        guard !isWanted(token: live.key.token) else {
            // Asked to stop, and wanted again before it had: it ends, and is started anew.
            guard case .notAsked = live.stop else { return force(&live, now) }
            if let readyAt, readyAt <= now.boot { record?.enter(.running, now) }
            return []
        }
        if case .notAsked = live.stop {
            live.stop = .asked(killAt: now.boot + live.stopGrace + Self.killSlack)
            return [.requestStop(live.key)]
        }
        return force(&live, now)
    }

    private func force(_ live: inout LiveRun, _ now: Now) -> [Effect] {
        switch live.stop {
        case .asked(let at) where at <= now.boot, .killed(let at) where at <= now.boot:
            // Far off: `killFailed` says when to try again.
            live.stop = .killed(againAt: now.boot + .seconds(60))
            return [.kill(live.key)]
        default: return []
        }
    }

    private mutating func settleWithoutRun(_ now: Now, _ authority: Authority) -> [Effect] {
        guard clearAgainAt.map({ $0 <= now.boot }) ?? true else { return [] }
        switch wish {
        case .unknown: return []
        case .absent: return hasDirectory ? clear() : []
        case .unreadable(let token, _), .assigned(let token, _):
            // Another assignment than the one that this directory is about: nothing of that may stay.
            if hasDirectory, record?.token != token { return clear() }
        }
        takeOver(now)
        guard let record else { return [] }
        switch wish {
        case .unreadable(_, let reason):
            // What is wrong with the value is no matter of attempts.
            self.record?.enter(.failed, now, reason: reason)
            self.record?.assignment = nil
            return []
        case .assigned(_, let assignment) where !assignment.run:
            retryAt = nil
            if record.state != nil && record.state != .stopped { self.record?.enter(.stopped, now) }
            return []
        case .assigned(let token, let assignment):
            switch record.state {
            case .completed, .failed: return []
            case .waiting where retryAt.map({ $0 > now.boot }) ?? false: return []
            case nil, .starting, .running, .stopped, .waiting:
                return start(token: token, assignment.component, now, authority)
            }
        case .unknown, .absent: return []
        }
    }

    /// Brings the record to the assignment as it is wished for now.
    private mutating func takeOver(_ now: Now) {
        guard let token = wish.token else { return }
        var assignment: Assignment?
        if case .assigned(_, let wished) = wish { assignment = wished }
        if record == nil {
            record = InstanceRecord(token: token, assignment: assignment, since: now.wall)
        }
        guard record?.token == token, let assignment else { return }
        let wasUnreadable = record?.assignment == nil && run == nil
        record?.assignment = assignment
        guard let generation = record?.generation, generation < assignment.generation || wasUnreadable else { return }
        record?.generation = assignment.generation
        record?.failuresInRow = 0
        record?.starts = run == nil ? 0 : 1
        if run == nil, let state = record?.state, state != .stopped {
            // Not `starting`: by that an end is known which was not dealt with yet.
            record?.enter(.waiting, now)
            retryAt = nil
        }
    }

    private mutating func clear() -> [Effect] {
        isClearing = true
        clearAgainAt = nil
        return [.clear(instance)]
    }

    private mutating func start(
        token: Int64, _ component: ComponentSpecification, _ now: Now, _ authority: Authority
    ) -> [Effect] {
        var deadline: BootTime?
        switch component.onDisconnect {
        case .stop:
            guard isWishFresh, let until = authority.runsUntil, now.boot + Self.shortestLife <= until else { return [] }
            deadline = until
        case .keep:
            guard isWishFresh || authority.trustsFiles else { return [] }
        }
        // In this order: whoever takes the assignment away sees a report then, and waits until it is gone before
        // the instance runs elsewhere, or counts as destroyed. What need not wait for a lease does so only for its
        // first run, and only while there is a registration.
        if storedToken != token, deadline != nil || (isWishFresh && record?.attempt == 0) {
            if record?.state == nil { record?.enter(.starting, now) }
            return []
        }
        guard var record else { return [] }
        record.attempt += 1
        record.starts += 1
        record.pid = nil
        record.startedAt = nil
        record.outputs = [:]
        record.enter(.starting, now)
        self.record = record
        retryAt = nil
        let key = RunKey(instance, token: token, attempt: record.attempt)
        run = LiveRun(
            key: key, deadline: deadline, stopGrace: .milliseconds(component.stopGraceMilliseconds))
        return [.start(key, component, deadline: deadline)]
    }
}

extension Duration {
    /// Whole milliseconds, rounded down.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }
}
