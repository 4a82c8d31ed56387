import EtcdClient
import Foundation
import Glibc
import LaunchModel
import TestSupport
import Testing

/// An agent as the process that it is in production, which can be killed and frozen.
private final class AgentProcess: Sendable {
    let pid: Int32
    private let process: Process

    init(_ scene: Scene, leaseTTL: Duration = Scene.longLease) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try TestSupport.gulpd())
        process.arguments = [
            "--name", Scene.node, "--agent", "--agent-endpoints", "\(scene.store.endpoint)", "--data-dir",
            "\(scene.directory)/agent", "--agent-data-dir", "\(scene.directory)/agent", "--agent-lease-ttl",
            "\(leaseTTL.components.seconds)s",
            "--agent-guard", try Programs.gulpGuard(),
        ]
        let path = "\(scene.directory)/agent.log"
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        let log = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try log.seekToEnd()
        process.standardOutput = log
        process.standardError = log
        process.standardInput = FileHandle.nullDevice
        try process.run()
        self.process = process
        pid = process.processIdentifier
    }

    func end(_ signal: Int32) async throws {
        kill(pid, signal)
        try await eventually("the agent is gone") { [process] in !process.isRunning }
    }
}

extension WithProcesses {
    @Suite struct ProcessTests {
        @Test(arguments: [SIGKILL, SIGTERM])
        func anAgentThatEndsLeavesAllAsItIsAndTheNextOneTellsWhatHappened(_ signal: Int32) async throws {
            try await Scene.with { scene in
                let first = try AgentProcess(scene)
                let other = InstanceID(assembly: "hello", component: "web", index: 1)
                try await scene.assign(Scene.shell("exec sleep 1000"))
                try await scene.assign(Scene.shell("exec sleep 1000") { $0.restart.when = .never }, other)
                let pid = try #require(try await scene.reported(.running).pid)
                let otherPid = try #require(try await scene.reported(.running, other).pid)
                try await first.end(signal)
                #expect(isAlive(pid) && isAlive(otherPid))
                kill(otherPid, SIGTERM)
                let second = try AgentProcess(scene)
                let report = try await scene.reported(.failed, other)
                #expect(report.lastEnd?.signal == SIGTERM)
                #expect(try await scene.reported(.running).pid == pid)
                try await second.end(SIGTERM)
            }
        }

        @Test func whileAnAgentIsFrozenItsRunsThatMayNotOutliveItsLeaseEnd() async throws {
            try await Scene.with { scene in
                let agent = try AgentProcess(scene, leaseTTL: Scene.shortLease)
                let stopping = InstanceID(assembly: "hello", component: "web", index: 1)
                try await scene.assign(Scene.shell("exec sleep 1000"))
                try await scene.assign(Scene.shell("exec sleep 1000") { $0.onDisconnect = .stop }, stopping)
                let pid = try #require(try await scene.reported(.running).pid)
                let stoppingPid = try #require(try await scene.reported(.running, stopping).pid)
                kill(agent.pid, SIGSTOP)
                try await eventually("the lease has ended") {
                    let isThere = try await scene.isAlive()
                    let isRunning = isAlive(stoppingPid)
                    if !isThere { #expect(!isRunning) }
                    return !isThere
                }
                // Given to another node meanwhile.
                try await scene.unassign(stopping)
                kill(agent.pid, SIGCONT)
                #expect(try await scene.reported(.running).pid == pid)
                try await eventually("nothing is left of what was taken away") {
                    let report = try await scene.report(stopping)
                    return report == nil
                        && !FileManager.default.fileExists(atPath: "\(scene.directory)/agent/runs/\(stopping)")
                }
                try await agent.end(SIGTERM)
            }
        }

        @Test func anAgentKilledAtAnyMomentNeverLeavesTwoRunsOfAnInstance() async throws {
            try await Scene.with { scene in
                let file = "\(scene.directory)/stamps"
                // Held by all processes of a run: whoever finds it taken has found another run alive.
                let script = """
                    exec 9> \(scene.directory)/held; flock -n 9 || { echo overlap >> \(file); exit 1; }
                    echo run >> \(file); while :; do sleep 0.02; done
                    """
                for round in 0..<8 {
                    let agent = try AgentProcess(scene)
                    try await scene.assign(Scene.shell(script), generation: round + 1)
                    if round == 0 { try await eventually("one has run") { !scene.lines("stamps").isEmpty } }
                    try await Task.sleep(for: .milliseconds(Int.random(in: 50...600)))
                    try await scene.unassign()
                    try await Task.sleep(for: .milliseconds(Int.random(in: 0...80)))
                    try await agent.end(SIGKILL)
                }
                let agent = try AgentProcess(scene)
                try await eventually("all is cleaned up") {
                    try FileManager.default.contentsOfDirectory(atPath: "\(scene.directory)/agent/runs").isEmpty
                }
                try await scene.assign(Scene.shell("exec sleep 1000"))
                try await scene.reported(.running)
                #expect(!scene.lines("stamps").contains("overlap"))
                try await agent.end(SIGTERM)
            }
        }
    }
}
