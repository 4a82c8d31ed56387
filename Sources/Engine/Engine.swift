import EtcdClient
import LaunchModel
import Logging

/// # Engine: launches become assignments
///
/// Of any number of engines one leads. It watches everything under `/megam/`, gives each instance of each assembly a node
/// that has room, follows what the agents report, moves instances off nodes whose lease has expired, and drives each
/// assembly through its states, with an event for each change.
///
/// ```
///               read at a revision, watch from the next
///     store ───────────────────────────────────────────▶ ClusterView ──▶ Planner ──▶ Steps
///       ▲                                                    ▲           (Placement)    │
///       └── transactions: leadership and mod revisions ──────┼──────────────────────────┘
///                                        acknowledged commits┘
/// ```
///
/// The planner is a pure function of values; ``Engine`` and its terms are the edge. What makes it safe:
///
/// - Every transaction compares the leadership and the mod revisions of what it was decided on. An engine that was paused
///   and is no longer the leader can change nothing, and neither can a decision on what is past.
/// - Every transaction about an assembly writes the assembly's record and compares its revision. Two of them, one of which
///   was thought lost, cannot both be executed.
/// - The engine keeps nothing of its own: a new leader resumes from what the store says.
///
/// What it leaves to others: running anything (the agents), and what the user wants (the command line).
public final class Engine: Sendable {
    private let configuration: EngineConfiguration
    private let logger: Logger
    private let counters = CounterBoard()

    public init(configuration: EngineConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// What it has cost the store so far.
    public var snapshot: EngineCounters { counters.snapshot }

    /// Stands by, leads when elected, and stands by again when the leadership is lost, until its task is cancelled. Then it
    /// resigns, so that another takes over at once, and returns.
    ///
    /// - Throws: ``EtcdError`` if the configuration has no endpoint. An absent store is waited for.
    public func run() async throws {
        let client = try EtcdClient(endpoints: configuration.endpoints)
        var backOff = BackOff()
        while !Task.isCancelled {
            do {
                try await serve(client) { backOff = BackOff() }
            } catch {
                if Task.isCancelled { break }
                let pause = backOff.next()
                logger.warning(
                    "starting over", metadata: ["reason": "\(error)", "after-ms": "\(pause.milliseconds)"])
                try? await Task.sleep(for: pause)
            }
        }
        await client.close()
        logger.info("stopped", metadata: counters.snapshot.metadata)
    }

    /// From one candidacy to the end of its leadership.
    private func serve(_ client: EtcdClient, elected: () -> Void) async throws {
        let keeper = try await client.keepLease(timeToLive: configuration.leaseTTL)
        do {
            let leader = try await client.leader(of: Keys.engineElection)
            logger.info("standing by", metadata: ["leader": "\(leader?.valueText ?? "none")"])
            let leadership = try await client.campaign(
                Keys.engineElection, value: configuration.name, under: keeper)
            logger.info(
                "leading", metadata: ["name": "\(configuration.name)", "token": "\(leadership.fencingToken)"])
            elected()
            counters.change { $0.elections += 1 }
            let term = Term(
                client: client, leadership: leadership, configuration: configuration, counters: counters,
                logger: logger)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await term.run() }
                group.addTask { throw LeadershipLost("its lease: \(try await keeper.waitUntilLost())") }
                defer { group.cancelAll() }
                try await group.next()
            }
        } catch {
            await resign(keeper)
            throw error
        }
        await resign(keeper)
    }

    /// Ends the lease, and with it the candidacy, so that another need not wait for it to expire.
    private func resign(_ keeper: LeaseKeeper) async {
        // One that is overdue may live yet, and this engine's next candidacy would wait for it.
        guard keeper.loss != .ended else { return }
        // In a task of its own: this one may be cancelled.
        await Task { try? await keeper.revoke(timeout: .seconds(2)) }.value
    }
}

/// Why a term ended.
struct LeadershipLost: Error, CustomStringConvertible {
    let description: String

    init(_ what: String) { description = "the leadership is lost with \(what)" }
}

/// Pauses between attempts: doubled each time, up to five seconds.
struct BackOff: Sendable {
    private var pause: Duration = .milliseconds(100)

    mutating func next() -> Duration {
        defer { pause = min(pause * 2, .seconds(5)) }
        return pause * Double.random(in: 0.75...1.25)
    }
}

extension EngineCounters {
    var metadata: Logger.Metadata {
        [
            "commits": "\(commits)", "failed-commits": "\(failedCommits)", "keys-written": "\(keysWritten)",
            "watch-events": "\(watchEvents)", "reads": "\(reads)", "plans": "\(plans)", "elections": "\(elections)",
        ]
    }
}
