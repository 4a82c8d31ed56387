import EtcdClient
import Foundation
import LaunchModel
import Logging
import TestSupport
import Testing

@testable import Engine

/// The edge, with a real store.
@Suite(.serialized) struct EngineTests {
    private func withStore(
        _ options: [String] = [], _ body: (StoreProcess, EtcdClient) async throws -> Void
    ) async throws {
        let directory = NSTemporaryDirectory() + "engine-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let server = try StoreProcess(in: directory, options: options)
        try await server.start()
        let client = try EtcdClient(endpoints: [server.endpoint])
        let result: Result<Void, any Error>
        do {
            _ = try await client.get("ready", timeout: .seconds(30))
            result = .success(try await body(server, client))
        } catch { result = .failure(error) }
        await client.close()
        try await server.kill()
        try? FileManager.default.removeItem(atPath: directory)
        try result.get()
    }

    private func engine(
        _ name: String, _ endpoint: EtcdEndpoint, leaseTTL: Duration = .seconds(300)
    ) -> (engine: Engine, task: Task<Void, any Error>) {
        var configuration = EngineConfiguration(name: name, endpoints: [endpoint])
        configuration.leaseTTL = leaseTTL
        configuration.nodeGrace = .milliseconds(500)
        let engine = Engine(configuration: configuration, logger: Logger(label: name) { _ in SwiftLogNoOpLogHandler() })
        return (engine, Task { try await engine.run() })
    }

    private func addNode(_ name: String, _ client: EtcdClient) async throws {
        let record = NodeRecord(
            name: name, address: "127.0.0.1", agentAddress: "127.0.0.1:1",
            capacity: Resources(millicores: 10_000, memoryBytes: 1 << 30), version: "1")
        try await client.put(Keys.node(name), record.json)
        try await client.put(Keys.alive(name), NodePresence(since: .now, pid: 1).json)
    }

    private func launch(_ name: String, _ client: EtcdClient, count: Int = 2) async throws {
        let component = ComponentSpecification(name: "web", command: "run", count: count)
        let specification = AssemblySpecification(name: name, components: [component])
        let launch = Transaction.if(.isAbsent(Keys.specification(name)))
            .then(.put(Keys.specification(name), specification.json), .put(Keys.wanted(name), Wanted(.running).json))
        #expect(try await client.commit(launch).succeeded)
    }

    private func value<Value: Record>(_ key: String, _ client: EtcdClient) async throws -> Value? {
        try await client.get(.key(key)).first.flatMap { try? Value(json: $0.value) }
    }

    private func state(_ name: String, _ client: EtcdClient) async throws -> AssemblyState? {
        let record: AssemblyRecord? = try await value(Keys.state(name), client)
        return record?.state
    }

    private func leader(_ client: EtcdClient) async throws -> String? {
        let status: EngineStatus? = try await value(Keys.engineStatus, client)
        return status?.leader
    }

    @Test func anotherEngineTakesOverWhenTheLeaderResignsOrLosesItsLease() async throws {
        try await withStore { server, client in
            try await addNode("n1", client)
            let first = engine("a", server.endpoint)
            try await eventually("a leads") { try await leader(client) == "a" }
            let second = engine("b", server.endpoint)
            try await launch("one", client)
            try await eventually("one is placed") { try await state("one", client) == .initialized }
            try await eventually("b stands by") {
                try await client.get(.prefix(Keys.engineElection)).count == 2
            }

            first.task.cancel()
            try await first.task.value
            try await launch("two", client)
            try await eventually("two is placed by b") {
                try await state("two", client) == .initialized
            }
            #expect(try await leader(client) == "b")
            // What the first one did was not done again.
            #expect(try await client.get(.prefix(Keys.events("one"))).count == 2)

            // The key of the leader goes with its lease.
            let third = engine("c", server.endpoint)
            try await eventually("c stands by") { try await client.get(.prefix(Keys.engineElection)).count == 2 }
            let key = try #require(try await client.leader(of: Keys.engineElection))
            try await client.revokeLease(try #require(key.lease))
            try await eventually("c leads") { try await leader(client) == "c" }
            try await client.put(Keys.wanted("one"), Wanted(.destroyed).json)
            try await eventually("one is gone") { try await client.get(.prefix(Keys.assembly("one"))).count == 0 }

            for engine in [second, third] {
                engine.task.cancel()
                try await engine.task.value
            }
            #expect(try await client.get(.prefix(Keys.engineElection)).count == 0)
        }
    }

    @Test func aPausedStoreIsWaitedForAndNothingIsLost() async throws {
        try await withStore { server, client in
            try await addNode("n1", client)
            let running = engine("a", server.endpoint, leaseTTL: .seconds(2))
            try await eventually("a leads") { try await leader(client) == "a" }
            await server.signal(SIGSTOP)
            try await Task.sleep(for: .seconds(4))
            await server.signal(SIGCONT)
            try await launch("one", client)
            try await eventually("one is placed") { try await state("one", client) == .initialized }
            running.task.cancel()
            try await running.task.value
        }
    }

    @Test func aLaunchThatTheStoreRefusesIsTriedEverMoreRarelyAndOthersGoOn() async throws {
        try await withStore(["--max-txn-ops", "20"]) { server, client in
            try await addNode("n1", client)
            let running = engine("a", server.endpoint)
            try await launch("large", client, count: 40)
            let begin = ContinuousClock.now
            var count = 0
            while count < 6 || running.engine.snapshot.failedCommits < 5 {
                try await launch("a\(count)", client, count: 1)
                try await eventually("a\(count) is placed") {
                    try await state("a\(count)", client) == .initialized
                }
                count += 1
            }
            // At 0, 100, 300, 700 and 1500 ms, give or take a half.
            let failures = running.engine.snapshot.failedCommits
            let took = ContinuousClock.now - begin
            #expect(.milliseconds(50) * ((1 << (failures - 1)) - 1) <= took, "\(failures) failures in \(took)")
            running.task.cancel()
            try await running.task.value
        }
    }

    @Test func afterACompactionDuringItsLagItReadsAgainAndGoesOn() async throws {
        try await withStore { server, client in
            try await addNode("n1", client)
            let relay = try Relay(to: server.endpoint)
            let running = engine("a", relay.endpoint)
            try await eventually("a leads") { try await leader(client) == "a" }
            try await launch("before", client)
            try await eventually("before is placed") { try await state("before", client) == .initialized }
            relay.hold()
            for index in 0..<20 { try await launch("a\(index)", client, count: 1) }
            try await client.compact(to: try await client.get("x").header.revision)
            relay.cut()
            try await eventually("all are placed") {
                try await client.get(.prefix(Keys.assignments("n1"))).count == 22
            }
            running.task.cancel()
            try await running.task.value
            #expect(running.engine.snapshot.reads == 2 && running.engine.snapshot.elections == 1)
        }
    }
}
