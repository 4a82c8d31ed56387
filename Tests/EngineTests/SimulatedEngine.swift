import LaunchModel

@testable import Engine

/// An engine's edge without I/O: the watch lags, answers get lost, and it may not know that it leads no longer.
struct SimulatedEngine {
    let name: String
    private let electedAt: Int64
    private let leadership: Step.Compare
    private(set) var view: ClusterView
    private var planner: Planner
    private var book = StepBook()
    /// Into the store's history.
    private var cursor: Int
    private var onTheirWay: [(step: Step, executedAt: Int64, isAnswered: Bool)] = []
    /// What is being read after a compaction: as of a moment of the history, until when.
    private var reading: (view: ClusterView, cursor: Int, until: Int64)?
    private var wakeAt: Int64?
    private var hasNews = true
    private(set) var commits = 0
    /// What is written reaches the store, but the watch tells nothing.
    var isDeaf = false

    /// Is elected: puts its key, and reads.
    init(name: String, _ store: inout SimulatedStore, at now: Int64) {
        self.name = name
        electedAt = now
        let key = "\(Keys.engineElection)/\(name)-\(now)"
        leadership = .init(key: key, modRevision: store.put([(key, Array(name.utf8))], lease: key))
        view = store.readAll()
        cursor = store.history.count
        planner = Planner(leader: name, since: Timestamp(milliseconds: now), configuration: Planner.Configuration())
    }

    /// The nodes off which something is being taken at this moment.
    var nodesGivenUp: [String] {
        onTheirWay.flatMap(\.step.deletes).compactMap { span in
            guard case .key(let key) = span, case .assignment(let node, _) = Place(key: Array(key.utf8)) else {
                return nil
            }
            return node
        }
    }

    func isLeader(_ store: SimulatedStore) -> Bool { store.entries[leadership.key] != nil }

    /// Its lease ends.
    func depose(_ store: inout SimulatedStore) { store.endLease(leadership.key) }

    mutating func tick(_ store: inout SimulatedStore, _ dice: inout Dice, at now: Int64, isCalm: Bool) {
        if !isCalm, reading == nil, dice.one(in: 60) {
            beginReading(store, until: now + Int64(dice.number(1...10) * 100))
        }
        if let read = reading, read.until <= now {
            view.begin(with: read.view)
            (cursor, reading, hasNews) = (read.cursor, nil, true)
        }
        if reading == nil { follow(store, &dice, isCalm: isCalm) }
        execute(&store, at: now)
        guard reading == nil, view.isWhole else { return }
        let uptime = now - electedAt
        book.release(toldUpTo: view.revision, at: uptime)
        guard hasNews || wakeAt.map({ $0 <= uptime }) ?? false || book.nextMoment != nil || book.waitsToBeTold else {
            return
        }
        hasNews = false
        let plan = planner.plan(
            view, busy: book.busy, reservations: book.reservations,
            at: .init(wall: Timestamp(milliseconds: now), uptime: uptime))
        wakeAt = plan.wakeAt
        for var step in plan.steps {
            precondition(
                step.compares.count < 120 && step.puts.count + step.deletes.count < 120, "a step is too large: \(step)")
            step.compares.append(leadership)
            book.begin(step)
            let isAnswered = isCalm || !dice.one(in: 12)
            onTheirWay.append((step, now + Int64(isCalm ? 0 : dice.number(0...5) * 100), isAnswered))
            // One whose answer is lost may be executed at once, late, or never.
            if !isAnswered {
                _ = book.notAnswered(step, at: uptime)
                if dice.one(in: 3) {
                    onTheirWay.removeLast()
                } else if dice.one(in: 2) {
                    onTheirWay[onTheirWay.count - 1].executedAt += 3_000
                }
            }
        }
    }

    /// Its watch was compacted: it reads as of this moment, and hears nothing until it has done.
    mutating func beginReading(_ store: SimulatedStore, until end: Int64) {
        reading = (store.readAll(), store.history.count, end)
    }

    /// Hears of what has happened, up to now or to some revision before.
    private mutating func follow(_ store: SimulatedStore, _ dice: inout Dice, isCalm: Bool) {
        guard !isDeaf, cursor < store.history.count, isCalm || !dice.one(in: 4) else { return }
        var end = isCalm || dice.one(in: 2) ? store.history.count : dice.number(cursor...store.history.count)
        // All changes of one revision come together.
        while end < store.history.count, end > cursor, store.history[end].revision == store.history[end - 1].revision {
            end += 1
        }
        guard end > cursor else { return }
        for (revision, key, change) in store.history[cursor..<end] { view.apply(key, change, at: revision) }
        view.advance(to: store.history[end - 1].revision)
        cursor = end
        hasNews = true
    }

    private mutating func execute(_ store: inout SimulatedStore, at now: Int64) {
        let due = onTheirWay.filter { $0.executedAt <= now }
        onTheirWay.removeAll { $0.executedAt <= now }
        for (step, _, isAnswered) in due {
            let revision = store.commit(step)
            precondition(revision == nil || isLeader(store), "\(name) wrote without leading: \(step)")
            guard isAnswered else { continue }
            hasNews = true
            if let revision {
                commits += 1
                view.apply(step, at: revision)
                book.succeeded(step, at: revision)
            } else {
                book.overtaken(step, at: store.revision)
            }
        }
    }
}
