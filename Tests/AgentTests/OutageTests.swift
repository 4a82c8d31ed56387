import Agent
import EtcdClient
import Foundation
import Glibc
import Guard
import LaunchModel
import TestSupport
import Testing

extension WithProcesses {
    @Suite struct OutageTests {
        private static let keeping = InstanceID(assembly: "hello", component: "web", index: 0)
        private static let stopping = InstanceID(assembly: "hello", component: "web", index: 1)

        /// Both kinds run, on an agent whose way to the store can be cut.
        private func withBoth(
            leaseTTL: Duration = Scene.longLease, _ body: (Scene, Link, WorkingAgent) async throws -> Void
        ) async throws {
            try await Scene.with { scene in
                let link = try await Link(to: scene.store.endpoint)
                var configuration = try scene.configuration(leaseTTL: leaseTTL)
                configuration.endpoints = [link.endpoint]
                let agent = try WorkingAgent(configuration)
                try await scene.assign(Scene.shell("exec sleep 1000"), Self.keeping)
                try await scene.assign(Scene.shell("exec sleep 1000") { $0.onDisconnect = .stop }, Self.stopping)
                try await scene.reported(.running, Self.keeping)
                try await scene.reported(.running, Self.stopping)
                let result: Result<Void, any Error>
                do { result = .success(try await body(scene, link, agent)) } catch { result = .failure(error) }
                await agent.stop()
                await link.close()
                try result.get()
            }
        }

        @Test func whatMayNotOutliveTheLeaseIsDeadBeforeItEndsAndTheRestRunsOn() async throws {
            try await withBoth(leaseTTL: Scene.shortLease) { scene, link, _ in
                let keeping = try #require(try await scene.report(Self.keeping)?.pid)
                // As long as there is a store. (A slow machine may end one run at its deadline, but not each.)
                var (stopping, since) = (Int32(0), ContinuousClock.now)
                try await eventually("a run lives on beyond the lease's time to live") {
                    let pid = try await scene.reported(.running, Self.stopping).pid
                    if let pid, pid != stopping { (stopping, since) = (pid, .now) }
                    return isAlive(stopping) && ContinuousClock.now - since > Scene.shortLease + .seconds(2)
                }
                await link.cut()
                try await eventually("the lease has ended") {
                    let isThere = try await scene.isAlive()
                    let isRunning = isAlive(stopping)
                    // In this order: it was dead when the key was seen to be gone.
                    if !isThere { #expect(!isRunning) }
                    return !isThere
                }
                #expect(isAlive(keeping))
                link.mend()
                let back = try await scene.reported(.running, Self.stopping)
                #expect(back.pid != stopping)
                #expect(back.lastEnd?.text.contains("deadline") ?? false)
                #expect(try await scene.reported(.running, Self.keeping).pid == keeping)
            }
        }

        @Test func whatWasTakenAwayDuringTheOutageIsStoppedAfterIt() async throws {
            try await withBoth(leaseTTL: Scene.shortLease) { scene, link, _ in
                let keeping = try #require(try await scene.report(Self.keeping)?.pid)
                await link.cut()
                try await eventually("the lease has ended") { try await !scene.isAlive() }
                try await scene.unassign(Self.keeping)
                try await scene.unassign(Self.stopping)
                #expect(isAlive(keeping))
                link.mend()
                try await eventually("it is stopped") { !isAlive(keeping) }
                try await eventually("nothing is left of either") {
                    try FileManager.default.contentsOfDirectory(atPath: "\(scene.directory)/agent/runs").isEmpty
                }
                try await eventually("nothing is reported") {
                    try await scene.client.get(.prefix(Keys.reports)).kvs.isEmpty
                }
            }
        }

        @Test func anAgentWhoseKeyIsDeletedRegistersAgain() async throws {
            // Short enough to see deadlines move, and too long for a slow machine to lose it.
            try await withBoth(leaseTTL: .seconds(30)) { scene, _, agent in
                let before = try #require(try await scene.client.get(.key(Keys.alive(Scene.node))).first)
                try await scene.client.delete(.key(Keys.alive(Scene.node)))
                try await eventually("it is there again") { try await scene.isAlive() }
                let after = try #require(try await scene.client.get(.key(Keys.alive(Scene.node))).first)
                #expect(after.lease == before.lease)
                #expect(after.createRevision > before.createRevision)
                let pid = try #require(try await scene.report(Self.stopping)?.pid)
                // The runs' deadlines are moved on under the new registration as well.
                let run = try RunDirectory(adopting: try scene.runDirectory(Self.stopping))
                let deadline = try #require(try run.deadline())
                try await eventually("its deadline is moved on") { try run.deadline().map { $0 > deadline } ?? false }
                #expect(isAlive(pid))
            }
        }

        @Test func anAgentStartedWhileTheStoreIsAwayAdoptsWhatRuns() async throws {
            try await withBoth { scene, link, agent in
                let pid = try #require(try await scene.report(Self.keeping)?.pid)
                await link.cut()
                await agent.stop()
                var configuration = try scene.configuration()
                configuration.endpoints = [link.endpoint]
                let second = try WorkingAgent(configuration)
                try await eventually("it has adopted the run") {
                    second.lines.value.contains { $0.contains("adopting a run") }
                }
                // It dies, with nobody to tell, and is restarted once the store has had its chance.
                kill(pid, SIGKILL)
                try await eventually("it has seen the end") {
                    second.lines.value.contains { $0.contains("a run is over") && $0.contains("hello.web.0") }
                }
                link.mend()
                let report = try await scene.reported(.running, Self.keeping) { $0.pid != pid }
                #expect(report.lastEnd?.signal == SIGKILL)
                await second.stop()
            }
        }

        @Test func twoAgentsOfOneNameDoNotFight() async throws {
            try await withBoth { scene, _, first in
                let alive = try #require(try await scene.client.get(.key(Keys.alive(Scene.node))).first)
                let second = try WorkingAgent(try scene.configuration("other"))
                try await eventually("the second says that it waits") {
                    second.lines.value.contains { $0.contains("another agent is registered as this node") }
                }
                let now = try #require(try await scene.client.get(.key(Keys.alive(Scene.node))).first)
                #expect(now.modRevision == alive.modRevision)
                await first.stop()
                // Which its time to live would do as well, later.
                try await scene.client.revokeLease(try #require(alive.lease))
                try await eventually("the second is registered") {
                    second.lines.value.contains { $0.hasPrefix("info registered") }
                }
                await second.stop()
            }
        }

        @Test func twoAgentsCannotHaveOneDirectory() async throws {
            try await Scene.with { scene in
                let first = try WorkingAgent(try scene.configuration())
                let error = #expect(throws: AgentError.self) { try WorkingAgent(try scene.configuration()) }
                #expect(error?.description.contains("another agent (pid \(getpid())) works in") ?? false)
                await first.stop()
                let second = try WorkingAgent(try scene.configuration())
                await second.stop()
            }
        }
    }
}
