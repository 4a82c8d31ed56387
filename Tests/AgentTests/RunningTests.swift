import Agent
import EtcdClient
import Foundation
import Glibc
import LaunchModel
import TestSupport
import Testing

extension WithProcesses {
    @Suite struct RunningTests {
        @Test func anAssignedComponentRunsIsReportedAndGoesWithItsAssignment() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.assign(
                    Scene.shell("env > out; echo url=http://$MEGAM_NODE_ADDRESS > $MEGAM_OUTPUTS; exec sleep 1000"))
                let report = try await scene.reported(.running) { !$0.outputs.isEmpty }
                let key = try #require(
                    try await scene.client.get(.key(Keys.assignment(Scene.node, Scene.instance))).first)
                #expect(report.token == key.createRevision)
                #expect(report.outputs == ["url": "http://127.0.0.1"])
                let pid = try #require(report.pid)
                #expect(isAlive(pid))
                let environment = scene.lines("agent/runs/hello.web.0/work/out")
                for variable in [
                    "MEGAM_ASSEMBLY=hello", "MEGAM_COMPONENT=web", "MEGAM_INSTANCE=hello.web.0", "MEGAM_INDEX=0",
                    "MEGAM_NODE=vm-1", "MEGAM_NODE_ADDRESS=127.0.0.1", "MEGAM_FENCING_TOKEN=\(key.createRevision)",
                ] { #expect(environment.contains(variable)) }

                try await scene.unassign()
                try await eventually("the report is deleted") { try await scene.report() == nil }
                #expect(!isAlive(pid))
                #expect(!FileManager.default.fileExists(atPath: "\(scene.directory)/agent/runs/hello.web.0"))
                await agent.stop()
            }
        }

        @Test(.enabled(if: geteuid() == 0, "another user takes root"))
        func aComponentOfAnotherUserHasItsDirectoriesAndIsHeard() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.assign(
                    Scene.shell(
                        "echo who=$(id -un) > x; echo home=$HOME/$USER >> x; mv x $MEGAM_OUTPUTS; exec sleep 1000"
                    ) {
                        $0.user = "nobody"
                        $0.environment["HOME"] = "/mine"
                    })
                let report = try await scene.reported(.running) { !$0.outputs.isEmpty }
                #expect(report.outputs == ["who": "nobody", "home": "/mine/nobody"])
                await agent.stop()
            }
        }

        @Test func anotherAssignmentOfTheInstanceBeginsWhenTheOldRunIsDead() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                let script = """
                    trap 'sleep 0.3; echo end $$ >> \(scene.directory)/s; exit' TERM
                    echo start $$ >> \(scene.directory)/s; while :; do sleep 0.05; done
                    """
                try await scene.assign(Scene.shell(script))
                let old = try await scene.reported(.running)
                try await eventually("it is ready to be stopped") { scene.lines("s").count == 1 }
                let key = Keys.assignment(Scene.node, Scene.instance)
                let value = try #require(try await scene.client.get(.key(key)).first).value
                try await scene.client.delete(.key(key))
                try await scene.client.put(key, value)
                let new = try await scene.reported(.running) { $0.token > old.token }
                let (first, second) = (try #require(old.pid), try #require(new.pid))
                try await eventually("the new run says so too") { scene.lines("s").count == 3 }
                #expect(scene.lines("s") == ["start \(first)", "end \(first)", "start \(second)"])
                await agent.stop()
            }
        }

        @Test func aReportThatSomethingOverwroteIsPutRightWithTheNextChange() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.assign(
                    Scene.shell("while :; do echo at=$(date +%s) > $MEGAM_OUTPUTS; sleep 0.5; done"))
                var report = try await scene.reported(.running) { !$0.outputs.isEmpty }
                // As a transaction that was held up on its way would.
                report.state = .starting
                report.pid = 1
                try await scene.client.put(Keys.report(Scene.node, Scene.instance), report.json)
                let after = try await scene.reported(.running)
                #expect(after.pid != 1)
                let key = try #require(try await scene.client.get(.key(Keys.report(Scene.node, Scene.instance))).first)
                let alive = try #require(try await scene.client.get(.key(Keys.alive(Scene.node))).first)
                #expect(key.lease == alive.lease)
                await agent.stop()
            }
        }

        @Test func aComponentKeepsItsPidWhenAnotherAgentTakesOver() async throws {
            try await Scene.with { scene in
                let first = try WorkingAgent(try scene.configuration())
                try await scene.assign(Scene.shell("exec sleep 1000"))
                let before = try await scene.reported(.running)
                let alive = try #require(try await scene.client.get(.key(Keys.alive(Scene.node))).first)
                await first.stop()
                let second = try WorkingAgent(try scene.configuration())
                try await eventually("the agent is registered") {
                    second.lines.value.contains { $0.contains("info registered") }
                }
                let again = try #require(try await scene.client.get(.key(Keys.alive(Scene.node))).first)
                #expect(again.lease == alive.lease)
                #expect(again.createRevision == alive.createRevision)
                kill(try #require(before.pid), SIGKILL)
                let after = try await scene.reported(.running) { $0.pid != before.pid }
                #expect(after.restarts == 1)
                #expect(after.lastEnd?.signal == SIGKILL)
                await second.stop()
            }
        }
    }
}
