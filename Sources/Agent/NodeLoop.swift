import EtcdClient
import Guard
import LaunchModel
import Logging

/// Feeds the plan with what happens and has its effects done: the one place where the store, the disk, the guards and
/// the clock meet.
///
/// All of it happens on one task, in the order in which the mailbox has it.
actor NodeLoop {
    enum Message: Sendable {
        case plan(Event)
        case news(Registrar.News)
        /// A transaction of reports has ended.
        case wrote(number: Int, [ReportBook.Write], Result<TransactionResult, any Error>)
        /// The moment waited for has come.
        case wake
    }

    private let client: EtcdClient
    private let node: String
    private let runs: RunStore
    private let mailbox: Mailbox<Message>
    private let logger: Logger

    private var plan: NodePlan
    private var book = ReportBook()
    private var registration: Registration?
    private var writing: Task<Void, Never>?
    private var writeNotBefore = BootTime(nanoseconds: 0)
    /// Transactions in a row that met something else than they knew.
    private var mismatches = 0
    private var renewAt: BootTime?
    private var outputsAt = BootTime(nanoseconds: 0)
    private var alarm: Task<Void, Never>?

    /// How often components' outputs are looked at.
    private static let outputsInterval: Duration = .seconds(1)
    /// Between two transactions of reports: while many instances start, many go into one.
    private static let writeInterval: Duration = .milliseconds(20)
    /// After a transaction of reports that failed.
    private static let writePause: Duration = .seconds(1)

    /// Before the next transaction of reports, after so many in a row that met something else than they knew.
    static func pause(afterMismatches count: Int) -> Duration { min(writeInterval * (1 << min(count, 10)), writePause) }

    init(client: EtcdClient, node: String, runs: RunStore, mailbox: Mailbox<Message>, logger: Logger) {
        self.client = client
        self.node = node
        self.runs = runs
        self.mailbox = mailbox
        self.logger = logger
        plan = NodePlan(.current)
    }

    /// Takes up what was found, at once.
    func adopt(_ found: [FoundInstance]) {
        runs.perform(plan.adopt(found, .current))
        setAlarm(.current, bookAsksAt: nil)
    }

    /// Until the task is cancelled.
    func run() async {
        for await messages in mailbox.batches() {
            var events: [Event] = []
            for message in messages { take(message, &events) }
            let now = Now.current
            events += renewals(now)
            runs.perform(plan.handle(events, now))
            if outputsAt <= now.boot {
                outputsAt = now.boot + Self.outputsInterval
                runs.lookAtOutputs(plan.runsUp)
            }
            setAlarm(now, bookAsksAt: writeReports(now))
        }
        alarm?.cancel()
    }

    private func take(_ message: Message, _ events: inout [Event]) {
        switch message {
        case .plan(let event): events.append(event)
        case .wake: events.append(.tick)
        case .news(.registered(let registration, let reports)):
            self.registration = registration
            mismatches = 0
            book.begin(reports)
            events += [.registered, .reported(book.tokens)]
        case .news(.wishes(let number, let wishes, let isAll)):
            guard number == registration?.number else { return }
            events.append(isAll ? .assignments(wishes) : .changed(wishes))
            // Runs whose assignment is seen anew: their deadline is moved on at once.
            if isAll { renewAt = BootTime.now }
        case .news(.unregistered):
            registration = nil
            renewAt = nil
            writing?.cancel()
            events.append(.unregistered)
        case .wrote(let number, let writes, let result):
            writing = nil
            guard let registration, number == registration.number else { return }
            switch result {
            case .success(let result):
                mismatches = result.succeeded ? 0 : mismatches + 1
                writeNotBefore = BootTime.now + Self.pause(afterMismatches: mismatches)
                guard !result.succeeded else {
                    book.done(writes, revision: result.header.revision, .now)
                    return events.append(.reported(book.tokens))
                }
                let alive = result.get(0)?.first
                if alive?.lease != registration.keeper.lease || alive?.value != registration.presence {
                    // What lies in the store may be another agent's.
                    return registration.doubt()
                }
                book.refuse(writes, assigned: Self.tokens(result.get(2)?.kvs ?? []))
                book.begin(StoredReport.read(result.get(1)?.kvs ?? [], lease: registration.keeper.lease))
                events.append(.reported(book.tokens))
            case .failure(let error):
                logger.warning("cannot write reports", metadata: ["count": "\(writes.count)", "error": "\(error)"])
                writeNotBefore = BootTime.now + Self.writePause
            }
        }
    }

    /// The tokens of the assignments that are there.
    private static func tokens(_ kvs: [KeyValue]) -> [InstanceID: Int64] {
        var tokens: [InstanceID: Int64] = [:]
        for kv in kvs {
            if case .assignment(_, let instance) = Place(key: kv.key) { tokens[instance] = kv.createRevision }
        }
        return tokens
    }

    // MARK: Deadlines

    /// Tells the plan, now and then, until when the lease is certain, less a margin.
    private func renewals(_ now: Now) -> [Event] {
        guard let registration, let due = renewAt, due <= now.boot else { return [] }
        guard registration.keeper.loss == nil else {
            // The registration is as good as over, which will be told.
            renewAt = nil
            return []
        }
        let timeToLive = registration.keeper.timeToLive
        renewAt = now.boot + timeToLive / 6
        return [.leaseCertain(until: Self.certain(registration.keeper) - Self.margin(timeToLive))]
    }

    /// For what a guard needs to be scheduled, to kill and to see dead.
    static func margin(_ timeToLive: Duration) -> Duration { max(.seconds(1), timeToLive / 5) }

    /// Until when the lease lives for sure, on the guards' clock.
    private static func certain(_ keeper: LeaseKeeper) -> BootTime {
        // In this order: time that passes between the two looks makes the answer earlier, not later.
        let boot = BootTime.now
        let left = keeper.certainUntil - ContinuousClock.now
        return boot + left
    }

    // MARK: Reports

    /// Writes what is due. When to ask again although nothing happens.
    private func writeReports(_ now: Now) -> BootTime? {
        guard let registration, writing == nil else { return nil }
        guard writeNotBefore <= now.boot else { return writeNotBefore }
        var (writes, askAgain) = book.due(plan.reports, awaited: plan.awaitedTokens, now.boot)
        guard !writes.isEmpty else { return askAgain }
        // One that is never met as known does not hold up the others for long.
        if mismatches > 1, let one = writes.randomElement() { writes = [one] }
        let lease = registration.keeper.lease
        var keysOnly = GetOptions()
        keysOnly.keysOnly = true
        let transaction = Transaction.if(.lease(.key(registration.aliveKey), .equal, lease))
            .and([.value(.key(registration.aliveKey), .equal, registration.presence)])
            .and(writes.map { .modRevision(.key(Keys.report(node, $0.instance)), .equal, $0.knownRevision) })
            .and(
                writes.compactMap { write in
                    write.awaitedToken.map {
                        .createRevision(.key(Keys.assignment(node, write.instance)), .equal, $0)
                    }
                }
            )
            .then(
                writes.map { write in
                    let key = Keys.report(node, write.instance)
                    return write.report.map { .put(key, $0.json, lease: lease) } ?? .delete(.key(key))
                }
            )
            .else(
                .get(.key(registration.aliveKey)), .get(.prefix(Keys.reports(node))),
                .get(.prefix(Keys.agent(node)), options: keysOnly))
        writing = Task { [client, mailbox, writes] in
            let result: Result<TransactionResult, any Error>
            do {
                // Done twice it fails the second time, and what it then reads is what it wrote.
                result = .success(try await client.commit(transaction, mayRepeat: true))
            } catch { result = .failure(error) }
            mailbox.post(.wrote(number: registration.number, writes, result))
        }
        return nil
    }

    // MARK: Time

    private func setAlarm(_ now: Now, bookAsksAt: BootTime?) {
        alarm?.cancel()
        var moments = [plan.nextWake(after: now.boot), renewAt, bookAsksAt]
        if !plan.runsUp.isEmpty { moments.append(outputsAt) }
        guard let next = moments.compactMap({ $0 }).min() else { return }
        let pause = max(.milliseconds(1), next - now.boot)
        alarm = Task { [mailbox] in
            guard (try? await Task.sleep(for: pause, clock: .continuous)) != nil else { return }
            mailbox.post(.wake)
        }
    }
}
