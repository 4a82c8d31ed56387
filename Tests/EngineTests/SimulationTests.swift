import Foundation
import LaunchModel
import Testing

@testable import Engine

/// How many times ten seeds: GULP_ENGINE_SEEDS, else thirty seeds.
private let blocks = (ProcessInfo.processInfo.environment["GULP_ENGINE_SEEDS"].flatMap(UInt64.init) ?? 30) / 10

/// Seeds, faults and users at random; then calm, and everything must be as it is wanted.
@Suite(.serialized) struct SimulationTests {
    @Test(arguments: 0..<blocks)
    func whateverHappensTheRulesHoldAndEverythingEndsWhereItShould(block: UInt64) async {
        for seed in block * 10..<block * 10 + 10 {
            var cluster = SimulatedCluster(seed: seed)
            for _ in 0..<600 {
                cluster.stir()
                cluster.tick()
                await Task.yield()
                if !cluster.complaints.isEmpty { break }
            }
            // The faults end, there is room for all, and what has failed is started again.
            cluster.isCalm = true
            for index in cluster.agents.indices { cluster.agents[index].comeBack() }
            cluster.agents.append(SimulatedAgent(name: "n9", millicores: 50_000))
            for name in cluster.wanted.keys.sorted() where cluster.wanted[name]?.state == .running {
                cluster.want(name, .running, again: true)
            }
            // Longer than a lease that is about to end, and the grace.
            _ = await cluster.run(atMost: 20_000) { _ in false }
            let isSettled = await cluster.run(atMost: 60_000) { $0.isSettled }
            #expect(isSettled, "seed \(seed): \(describe(cluster))")
            for name in cluster.wanted.keys where cluster.wanted[name]?.state == .running {
                let all = cluster.store.value(Keys.specification(name), AssemblySpecification.self)?.instances ?? []
                let runs = cluster.runs(name)
                #expect(runs.count == all.count, "seed \(seed): of \(name) run \(runs)")
            }
            // And nothing is written any more, nor does any instance run twice.
            _ = await cluster.run(atMost: 15_000) { _ in false }
            for name in cluster.wanted.keys {
                #expect(cluster.runs(name).values.allSatisfy { $0.count == 1 }, "seed \(seed): \(cluster.runs(name))")
            }
            let revision = cluster.store.revision
            _ = await cluster.run(atMost: 20_000) { _ in false }
            #expect(cluster.store.revision == revision, "seed \(seed): the store is written although nothing changes")
            #expect(cluster.complaints.isEmpty, "seed \(seed): \(cluster.complaints.prefix(3))")
        }
    }

    private func describe(_ cluster: SimulatedCluster) -> String {
        cluster.wanted.sorted { $0.key < $1.key }.map { name, wanted in
            let state = cluster.state(name)
            return "\(name) is wanted \(wanted.state), is \(state?.state.rawValue ?? "gone") (\(state?.reason ?? ""))"
        }.joined(separator: "; ") + " \(cluster.complaints.prefix(3))"
    }
}
