import EtcdClient
import LaunchModel
import Logging

/// # Agent: the components on one node
///
/// An agent registers its node in the store, reads what is assigned to it, has it run, and reports what becomes of it.
/// Each component's process is held by a guard (module Guard) that outlives the agent: the agent begins runs, looks
/// after them and ends them, and whichever agent comes next goes on.
///
/// ```
///   store ◄── alive, reports ──┐                     ┌── runs, deadlines, stops ──► guards ──► components
///     │                        │                     │                                │
///     └─ Registrar ── wishes ──► NodeLoop ◄────► RunStore ◄──────── ends ─────────────┘
///                                  │  ▲              │
///                           events ▼  │ effects      └── files: DataDirectory
///                                NodePlan               LogServer: the lines that components wrote
///                                  └── InstanceMachine, one for each instance
/// ```
///
/// **Decisions** are made by `NodePlan` and its `InstanceMachine`s, and what is written by `ReportBook`: values without
/// I/O, clock or tasks. `NodeLoop` is the one place where they meet the store, the disk and time.
///
/// **Promises.**
/// - Attempt n+1 of an instance begins only when attempt n is dead for certain.
/// - A component of `on-disconnect: stop` runs only until a deadline that lies before the end of the node's lease, and
///   that is moved on only for assignments that were seen under the present registration. So it never runs here while
///   it can be started elsewhere. It begins only after a report lies in the store that was written on the condition that
///   its assignment was there: who takes the assignment away sees that it was taken up, and when it is over.
/// - Nothing else is stopped because the store is away. It is restarted by its policy meanwhile, and what happened is
///   reported afterwards.
/// - While the node is registered, any instance's first run under an assignment begins after such a report: what is being
///   started shows in the store as an assignment, a report, or both.
/// - What the node itself cannot do (its disk is full, its port taken, a process does not die) is tried again until it
///   can, and holds up no other instance.
/// - What must outlast the agent is in its directory before the step that depends on it: an agent that is killed at
///   any point is followed by one that goes on from there.
/// - A report is deleted only when the instance's last process is dead and its directory is gone.
/// - The store is written to only while the node's key carries this agent's lease, and a bounded number of times
///   whatever the components do.
///
/// It leaves to others: where instances run and whether they move (the engine), and how a process is held (the guard).
public final class Agent: Sendable {
    private let configuration: AgentConfiguration
    private let data: DataDirectory
    private let logger: Logger

    /// Between two attempts to listen.
    private static let listenInterval: Duration = .seconds(2)

    /// Takes hold of the data directory.
    ///
    /// - Throws: ``AgentError`` if the configuration cannot be worked with, or if another agent works in the directory.
    public init(_ configuration: AgentConfiguration, logger: Logger) throws {
        try configuration.validate()
        self.configuration = configuration
        var logger = logger
        logger[metadataKey: "node"] = "\(configuration.nodeName)"
        self.logger = logger
        data = try DataDirectory(configuration.dataDirectory)
    }

    /// Works until the task is cancelled, which it then throws; call it once. Components run on, and the lease is left to live, so
    /// that another agent takes both up.
    ///
    /// The store may be there or not, now and later. While its port is taken it looks after what runs, and registers
    /// the node when it has got the port. Any other error that it throws is one that it cannot work with: the data
    /// directory cannot be read.
    public func run() async throws {
        let mailbox = Mailbox<NodeLoop.Message>()
        let runs = try RunStore(data, configuration, logger: logger) { mailbox.post(.plan($0)) }
        let client = try EtcdClient(endpoints: configuration.endpoints)
        let result: Result<Void, any Error>
        do { result = .success(try await work(mailbox, runs, client)) } catch { result = .failure(error) }
        await client.close()
        await runs.close()
        data.release()
        try result.get()
    }

    private func work(_ mailbox: Mailbox<NodeLoop.Message>, _ runs: RunStore, _ client: EtcdClient) async throws {
        let loop = NodeLoop(
            client: client, node: configuration.nodeName, runs: runs, mailbox: mailbox, logger: logger)
        // Before the store is asked, and whether or not it answers.
        await loop.adopt(try await runs.adopt())

        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await loop.run() }
            group.addTask { try await self.serve(mailbox, client) }
            defer { group.cancelAll() }
            try await group.next()
        }
        try Task.checkCancellation()
    }

    /// The log service, and the registration that names it.
    private func serve(_ mailbox: Mailbox<NodeLoop.Message>, _ client: EtcdClient) async throws {
        let service = try await listen()
        logger.info("the agent works", metadata: ["logs": "\(configuration.listenHost):\(service.port)"])
        let registrar = Registrar(
            client: client, configuration: configuration, data: data, record: record(port: service.port),
            logger: logger, tell: { mailbox.post(.news($0)) })
        let result: Result<Void, any Error>
        do { result = .success(try await registrar.run()) } catch { result = .failure(error) }
        await service.close()
        try result.get()
    }

    /// Until it listens: another process's hold of a port is no reason to leave components, and a member of the store in
    /// this process, alone.
    private func listen() async throws -> LogServer {
        var failures = 0
        while true {
            do { return try await LogServer(data, configuration, logger: logger) } catch {
                try Task.checkCancellation()
                failures += 1
                logger.log(
                    level: failures == 1 || failures % 30 == 0 ? .error : .debug,
                    "the node is not registered before its agent can listen; trying again",
                    metadata: ["error": "\(error)", "failures": "\(failures)"])
                try await Task.sleep(for: Self.listenInterval)
            }
        }
    }

    private func record(port: Int) -> NodeRecord {
        let host = configuration.advertiseHost
        return NodeRecord(
            name: configuration.nodeName, address: host,
            agentAddress: "\(host.contains(":") ? "[\(host)]" : host):\(configuration.advertisePort ?? port)",
            zone: configuration.zone, labels: configuration.labels, capacity: configuration.capacity,
            version: configuration.version)
    }
}
