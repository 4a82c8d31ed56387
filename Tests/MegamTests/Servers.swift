import EtcdClient
import Foundation
import LaunchModel
import Synchronization
import TestSupport
import Testing

@testable import MegamCommands

/// All tests with real processes, one after the other: they share few cores.
@Suite(.serialized) struct WithStore {}

/// A store of one member on free loopback ports, in a directory of its own; the test writes what engine and agents would.
struct TestStore: Sendable {
    let client: EtcdClient
    let endpoint: String
    /// For files; goes with the store.
    let directory: String

    /// Runs one command line in this process.
    func megam(_ arguments: String...) async -> Outcome { await megam(arguments) }

    func megam(_ arguments: [String], console: TestConsole = TestConsole()) async -> Outcome {
        let status = await MegamCommands.run(arguments, ["MEGAM_ENDPOINTS": endpoint], console: console)
        return Outcome(status: status, output: console.output, errors: console.errors)
    }

    func put(_ key: String, _ record: some Record) async throws { try await client.put(key, record.json) }

    /// A file with this text, and its path.
    func file(_ text: String) throws -> String {
        let path = "\(directory)/\(UUID().uuidString).yaml"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    /// Launches an assembly of one component with two instances, and answers the launch's revision.
    func launch(_ name: String) async throws -> Int64 {
        let path = try file("name: \(name)\ncomponents:\n  web: {command: [sleep, '100'], count: 2}\n")
        let outcome = await megam("launch", path)
        guard outcome.status == .done else { throw Complaint("launch: \(outcome.errors)") }
        let stored = try await client.get(.key(Keys.specification(name))).first
        return try #require(stored?.createRevision)
    }

    /// What the engine writes: a state, with the event that goes with it.
    func enter(
        _ name: String, _ state: AssemblyState, launch: Int64, generation: Int = 1, event: Int, reason: String? = nil
    ) async throws {
        let record = AssemblyRecord(
            state: state, reason: reason, since: .now, launch: launch, generation: generation, nextEvent: event + 1)
        let text = AssemblyEvent(time: .now, state: state, text: "now \(state)")
        _ = try await client.commit(
            Transaction().then(.put(Keys.state(name), record.json), .put(Keys.event(name, event), text.json)))
    }

    /// What an agent writes of its node.
    func node(_ name: String, agentAddress: String = "127.0.0.1:1", isUp: Bool = true) async throws {
        let record = NodeRecord(
            name: name, address: "10.0.0.1", agentAddress: agentAddress, zone: "a",
            capacity: Resources(millicores: 4_000, memoryBytes: 8 << 30), version: "1")
        try await put(Keys.node(name), record)
        if isUp { try await put(Keys.alive(name), NodePresence(since: .now, pid: 1)) }
    }

    /// What engine and agent write of an instance, and the assignment's token.
    @discardableResult
    func place(
        _ name: String, _ index: Int, on node: String, launch: Int64, report: Report.State? = .running,
        change: (inout Report) -> Void = { _ in }
    ) async throws -> Int64 {
        let instance = InstanceID(assembly: name, component: "web", index: index)
        var component = ComponentSpecification(name: "web", command: "sleep", arguments: ["100"], count: 2)
        component.requirements.resources = Resources(millicores: 250, memoryBytes: 64 << 20)
        let assignment = Assignment(instance: instance, launch: launch, generation: 1, run: true, component: component)
        let token = try await client.put(Keys.assignment(node, instance), assignment.json).header.revision
        if let state = report {
            var report = Report(
                token: token, generation: 1, state: state, since: .now, pid: 4711,
                startedAt: Timestamp(milliseconds: Timestamp.now.milliseconds - 600_000))
            change(&report)
            try await put(Keys.report(node, instance), report)
        }
        return token
    }

    /// As the engine does when nothing is left of an assembly.
    func forget(_ name: String) async throws { try await client.delete(.prefix(Keys.assembly(name))) }
}

struct Outcome: Sendable {
    var status: CommandStatus
    var output: String
    var errors: String
}

/// Keeps what a command says.
final class TestConsole: Console {
    private let texts = Mutex((output: [UInt8](), errors: ""))
    let isTerminal: Bool
    /// After so many bytes nobody reads any longer.
    private let limit: Int

    init(isTerminal: Bool = false, closedAfter limit: Int = .max) {
        self.isTerminal = isTerminal
        self.limit = limit
    }

    var output: String { texts.withLock { String(decoding: $0.output, as: UTF8.self) } }
    var errors: String { texts.withLock { $0.errors } }

    func write(_ bytes: [UInt8]) throws {
        try texts.withLock { texts in
            guard texts.output.count < limit else { throw OutputClosed() }
            texts.output += bytes
        }
    }

    func writeError(_ text: String) { texts.withLock { $0.errors += text } }
}

/// Runs `body` with a store that serves, and ends it after.
func withStore(_ body: (TestStore) async throws -> Void) async throws {
    let directory = NSTemporaryDirectory() + "megam-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let store = try StoreProcess(in: directory)
    try await store.start()
    let endpoint = "127.0.0.1:\(store.port)"
    let client = try EtcdClient(endpoints: [endpoint])
    var failure: (any Error)?
    do {
        _ = try await client.get("ready", timeout: .seconds(30))
        try await body(TestStore(client: client, endpoint: endpoint, directory: directory))
    } catch { failure = error }
    await client.close()
    try await store.kill()
    if let failure {
        print("the store's last words:\n\(store.lastWords)")
        throw failure
    }
    try? FileManager.default.removeItem(atPath: directory)
}
