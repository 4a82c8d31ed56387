import EtcdClient
import LaunchModel
import Logging

/// One leadership, from the election on: reads, watches, plans and commits until the leadership is lost or the task is cancelled.
actor Term {
    private let client: EtcdClient
    private let leadership: Leadership
    private let maximumCommits: Int
    private let counters: CounterBoard
    private let logger: Logger
    private let start = ContinuousClock.now

    private var view = ClusterView()
    private var planner: Planner
    private var book = StepBook()
    private var commits: [Step.Subject: Task<Void, Never>] = [:]
    private var watch: Watch?
    private var failure: (any Error)?
    private let signals: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation
    private var timer: Task<Void, Never>?

    init(
        client: EtcdClient, leadership: Leadership, configuration: EngineConfiguration, counters: CounterBoard,
        logger: Logger
    ) {
        self.client = client
        self.leadership = leadership
        self.counters = counters
        self.logger = logger
        maximumCommits = max(1, configuration.maximumCommits)
        planner = Planner(leader: configuration.name, since: .now, configuration: configuration.planner)
        (signals, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// - Throws: ``LeadershipLost``, `CancellationError`, or ``EtcdClient/EtcdError`` if the store refuses to be read.
    func run() async throws {
        defer {
            timer?.cancel()
            for commit in commits.values { commit.cancel() }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.follow() }
            group.addTask { try await self.planAgainAndAgain() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    // MARK: Following the store

    private func follow() async throws {
        while true {
            try await read()
            let watch = client.watch(.prefix(Keys.root), from: view.revision + 1)
            self.watch = watch
            wake.yield()
            updates: for try await update in watch {
                switch update {
                case .events(let events): take(events)
                case .progress(let revision): view.advance(to: revision)
                case .started: continue
                case .compacted(let revision):
                    logger.info("the watch was compacted; reading again", metadata: ["compacted": "\(revision)"])
                    break updates
                }
                wake.yield()
            }
            try Task.checkCancellation()
        }
    }

    /// Reads everything as of one revision, in pages. Nothing is planned meanwhile: what was known before is not followed
    /// any longer.
    private func read() async throws {
        watch = nil
        var backOff = BackOff()
        var options = GetOptions()
        options.limit = 500
        var range = KeyRange.prefix(Keys.root)
        var fresh = ClusterView()
        while true {
            let page: GetResponse
            do { page = try await client.get(range, options: options) } catch let error as EtcdError
                where error.reason == .compacted || error.code == .unavailable || error.code == .deadlineExceeded
            {
                // The pages must be of one revision: from the beginning, of a newer one.
                logger.debug("reading again", metadata: ["reason": "\(error)"])
                if error.reason != .compacted { try await Task.sleep(for: backOff.next()) }
                options.revision = 0
                range = .prefix(Keys.root)
                fresh = ClusterView()
                continue
            }
            for kv in page.kvs {
                fresh.apply(kv.keyText, .put(kv.value, createRevision: kv.createRevision), at: kv.modRevision)
            }
            if options.revision == 0 { options.revision = page.header.revision }
            guard page.hasMore, let last = page.kvs.last else { break }
            range.key = last.key + [0]
        }
        fresh.advance(to: options.revision)
        view.begin(with: fresh)
        counters.change { $0.reads += 1 }
    }

    private func take(_ events: [WatchEvent]) {
        counters.change { $0.watchEvents += events.count }
        for event in events {
            let change: ClusterView.Change =
                event.kind == .delete ? .delete : .put(event.kv.value, createRevision: event.kv.createRevision)
            view.apply(event.kv.keyText, change, at: event.kv.modRevision)
        }
        if let last = events.last { view.advance(to: last.kv.modRevision) }
    }

    // MARK: Planning

    private func planAgainAndAgain() async throws {
        for await _ in signals {
            // Changes come in bursts: one plan for those of a moment.
            try await Task.sleep(for: .milliseconds(5))
            if let failure { throw failure }
            plan()
        }
        throw CancellationError()
    }

    private var uptime: Int64 { (ContinuousClock.now - start).milliseconds }

    private func plan() {
        guard let watch else { return }
        guard view.isWhole else {
            watch.requestProgress()
            setTimer(start + .milliseconds(uptime + 100))
            return
        }
        counters.change { $0.plans += 1 }
        book.release(toldUpTo: view.revision, at: uptime)
        let plan = planner.plan(
            view, busy: book.busy, reservations: book.reservations, at: .init(wall: .now, uptime: uptime))
        // Those beyond the maximum are planned anew when a commit is done.
        for step in plan.steps where commits.count < maximumCommits { commit(step) }
        var next = [plan.wakeAt, book.nextMoment]
        if book.waitsToBeTold {
            // The store tells how far the watch is; a question that is lost is asked again.
            watch.requestProgress()
            next.append(uptime + 100)
        }
        setTimer(next.compactMap(\.self).min().map { start + .milliseconds($0) })
    }

    private func setTimer(_ moment: ContinuousClock.Instant?) {
        timer?.cancel()
        timer = moment.map { moment in
            let wake = wake
            return Task {
                try? await Task.sleep(until: moment, clock: .continuous)
                if !Task.isCancelled { wake.yield() }
            }
        }
    }

    // MARK: Committing

    private func commit(_ step: Step) {
        book.begin(step)
        let transaction = Transaction.if([leadership.condition] + step.compares.map(\.compare))
            .then(step.puts.map(\.operation) + step.deletes.map(\.operation))
            .else(.get(.key(leadership.key)))
        commits[step.subject] = Task {
            do {
                // Each step compares what it writes: repeated, it fails.
                let result = try await client.commit(transaction, timeout: .seconds(5), mayRepeat: true)
                committed(step, result)
            } catch {
                if !Task.isCancelled { failed(step, error) }
            }
            commits[step.subject] = nil
            wake.yield()
        }
    }

    private func committed(_ step: Step, _ result: TransactionResult) {
        guard result.succeeded else {
            counters.change { $0.failedCommits += 1 }
            if result.get(0)?.first?.createRevision != leadership.fencingToken {
                failure = LeadershipLost("its key \(String(decoding: leadership.key, as: UTF8.self))")
            }
            logger.debug("a step was overtaken", metadata: ["subject": "\(step.subject)"])
            book.overtaken(step, at: result.header.revision)
            return
        }
        counters.change {
            $0.commits += 1
            $0.keysWritten += step.puts.count + step.deletes.count
        }
        logger.debug(
            "committed",
            metadata: [
                "subject": "\(step.subject)", "revision": "\(result.header.revision)", "puts": "\(step.puts.count)",
                "deletes": "\(step.deletes.count)",
            ])
        for text in step.story { logger.info("\(text)", metadata: ["subject": "\(step.subject)"]) }
        // At once: the next step must know what this one took.
        view.apply(step, at: result.header.revision)
        book.succeeded(step, at: result.header.revision)
    }

    private func failed(_ step: Step, _ error: any Error) {
        counters.change { $0.failedCommits += 1 }
        let remedy = (error as? EtcdError)?.remedy
        let failure = remedy == nil ? book.notAnswered(step, at: uptime) : book.refused(step, at: uptime)
        guard failure.isWorthTelling else { return }
        var metadata: Logger.Metadata = [
            "subject": "\(step.subject)", "reason": "\(error)", "failures": "\(failure.count)",
            "after-ms": "\(failure.pause)",
        ]
        metadata["remedy"] = remedy.map { "\($0)" }
        logger.warning(
            remedy == nil
                ? "a transaction was not answered; trying again"
                : "the store refuses a transaction, and nothing becomes of its subject until that is mended; trying again",
            metadata: metadata)
    }
}

extension EtcdError {
    /// What to do about a store that refuses a transaction as it is; nil: it may take it the next time.
    var remedy: String? {
        guard !mayHaveBeenExecuted, ![.unavailable, .deadlineExceeded, .cancelled].contains(code) else { return nil }
        return switch reason {
        case .tooManyRequests: nil
        case .noSpace:
            "give the store room: compact and defragment it, or raise its --quota-backend-bytes, and disarm the alarm"
        case .requestTooLarge, .tooManyOperations:
            "raise the store's --max-request-bytes (1572864) and --max-txn-ops (128), or destroy the assembly and launch "
                + "a smaller one"
        case .permissionDenied, .invalidAuthToken: "let the engine's user read and write everything under \(Keys.root)"
        default: "mend what the reason says"
        }
    }
}

extension Step.Compare {
    var compare: Transaction.Compare { .modRevision(.key(key), .equal, modRevision) }
}

extension Step.Put {
    var operation: Transaction.Operation { .put(key, value) }
}

extension Step.Span {
    var operation: Transaction.Operation {
        switch self {
        case .key(let key): .delete(.key(key))
        case .events(let name, let range):
            .delete(.range(Keys.event(name, range.lowerBound), upTo: Keys.event(name, range.upperBound)))
        case .assembly(let name): .delete(.prefix(Keys.assembly(name)))
        }
    }
}
