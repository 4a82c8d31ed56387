import Agent
import EtcdClient
import Foundation
import Glibc
import LaunchModel
import TestSupport
import Testing

extension WithProcesses {
    @Suite struct EndTests {
        @Test func aCrashLoopFailsAndCostsBoundedWrites() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.assign(Scene.shell("exit 3") { $0.restart.attempts = 3 })
                let report = try await scene.reported(.failed)
                #expect(report.reason?.hasPrefix("ended 4 times in a row, last: ended with exit code 3; ") ?? false)
                #expect(report.lastEnd?.code == 3)
                #expect(report.restarts == 3)
                let key = try #require(try await scene.client.get(.key(Keys.report(Scene.node, Scene.instance))).first)
                #expect(key.version <= 12)
                let names = try FileManager.default.contentsOfDirectory(
                    atPath: "\(scene.directory)/agent/runs/hello.web.0")
                #expect(names.filter { $0.hasPrefix("\(report.token).") }.count == 3)
                // A new start tries again.
                try await scene.assign(Scene.shell("exec sleep 1000"), generation: 2)
                #expect(try await scene.reported(.running).restarts == 0)
                await agent.stop()
            }
        }

        @Test func aCommandThatDoesNotExistFailsAtOnceAndSaysSo() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.assign(Scene.shell("") { $0.command = "no-such-program" })
                let report = try await scene.reported(.failed)
                #expect(report.reason?.contains("no-such-program") ?? false)
                #expect(report.restarts == 0)
                await agent.stop()
            }
        }

        @Test func anAssignmentThatCannotBeReadFails() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.client.put(Keys.assignment(Scene.node, Scene.instance), "{}")
                #expect(try await scene.reported(.failed).reason?.contains("is missing") ?? false)
                try await scene.assign(Scene.shell("") { $0.count = 0 })
                _ = try await scene.reported(.failed) { $0.reason?.contains("count") ?? false }
                try await scene.assign(Scene.shell("exec sleep 1000"))
                try await scene.reported(.running)
                await agent.stop()
            }
        }

        @Test func aKilledGuardIsFollowedByAnotherAttemptAndLeavesNothing() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.assign(Scene.shell("setsid sleep 1000 & echo $! > child; exec sleep 1000"))
                let before = try await scene.reported(.running)
                let file = "agent/runs/hello.web.0/work/child"
                try await eventually("the child notes its own child") { !scene.lines(file).isEmpty }
                let child = try #require(scene.lines(file).first.flatMap { Int32($0) })
                let pid = try #require(before.pid)
                kill(try #require(parent(of: pid)), SIGKILL)
                let after = try await scene.reported(.running) { $0.pid != pid }
                #expect(after.lastEnd?.text.contains("guard was killed") ?? false)
                #expect(!isAlive(pid) && !isAlive(child))
                await agent.stop()
            }
        }

        @Test func aGuardThatDoesNotAnswerIsKilledAfterTheGrace() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.assign(Scene.shell("exec sleep 1000") { $0.stopGraceMilliseconds = 500 })
                let pid = try #require(try await scene.reported(.running).pid)
                kill(try #require(parent(of: pid)), SIGSTOP)
                try await scene.unassign()
                try await eventually("it is dead and cleaned up") {
                    try await scene.report() == nil
                }
                #expect(!isAlive(pid))
                await agent.stop()
            }
        }

        @Test func aRunWhoseDirectoryIsDeletedDoesNotOutliveItsAssignment() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await scene.assign(Scene.shell("exec sleep 1000") { $0.stopGraceMilliseconds = 100 })
                let pid = try #require(try await scene.reported(.running).pid)
                try FileManager.default.removeItem(atPath: "\(scene.directory)/agent/runs/hello.web.0")
                try await scene.unassign()
                try await eventually("it is dead and not reported") {
                    let report = try await scene.report()
                    return report == nil && !isAlive(pid)
                }
                await agent.stop()
            }
        }

        @Test func aStoppedInstanceKeepsItsPlaceAndADamagedRunIsSetAside() async throws {
            try await Scene.with { scene in
                let first = try WorkingAgent(try scene.configuration())
                let component = Scene.shell("date >> stamps; exec sleep 1000")
                try await scene.assign(component)
                let pid = try #require(try await scene.reported(.running).pid)
                let stamps = "agent/runs/hello.web.0/work/stamps"
                try await eventually("it has stamped") { scene.lines(stamps).count == 1 }
                try await scene.assign(component, run: false)
                try await scene.reported(.stopped)
                #expect(!isAlive(pid))
                await first.stop()
                let folder = "\(scene.directory)/agent/runs/hello.web.0"
                let run = try #require(
                    try FileManager.default.contentsOfDirectory(atPath: folder).first { $0.hasSuffix(".1") })
                try "nonsense".write(toFile: "\(folder)/\(run)/specification", atomically: true, encoding: .utf8)
                let second = try WorkingAgent(try scene.configuration())
                try await scene.assign(component, generation: 2)
                try await scene.reported(.running)
                try await eventually("it has stamped again") { scene.lines(stamps).count == 2 }
                #expect(
                    FileManager.default.fileExists(atPath: "\(scene.directory)/agent/damaged/hello.web.0.\(run)"))
                await second.stop()
            }
        }

        private func parent(of pid: Int32) -> Int32? {
            guard let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
            let fields = String(decoding: stat, as: UTF8.self).split(separator: ")").last?.split(separator: " ")
            return fields.flatMap { $0.count > 1 ? Int32($0[1]) : nil }
        }
    }
}
