import EtcdClient
import Foundation
import Glibc
import LaunchModel
import TestSupport
import Testing

@testable import Agent

@Suite struct LeaseNoteTests {
    @Test func aLeaseIsTakenUpOnlyByTheSameNodeInTheSameLifeOfTheMachine() throws {
        var note = LeaseNote(lease: 7, since: .now, node: "vm-1", boot: LeaseNote.presentBoot)
        #expect(note.isFor("vm-1"))
        #expect(!note.isFor("vm-2"))
        note.boot = "00000000-0000-0000-0000-000000000000"
        #expect(!note.isFor("vm-1"))
        let old = try LeaseNote(json: Array(#"{"lease":7,"since":"2026-11-25T00:42:03.456Z"}"#.utf8))
        #expect(!old.isFor("vm-1"))
    }
}

extension WithProcesses {
    @Suite struct RegistrationTests {
        private func alive(_ scene: Scene, _ node: String = Scene.node) async throws -> KeyValue? {
            try await scene.client.get(.key(Keys.alive(node))).first
        }

        @Test func ofTwoAgentsWithACopiedDirectoryTheFirstGivesTheLeaseUp() async throws {
            try await Scene.with { scene in
                let first = try WorkingAgent(try scene.configuration())
                try await eventually("the first is registered") { try await alive(scene) != nil }
                let before = try #require(try await alive(scene))
                try FileManager.default.copyItem(
                    atPath: "\(scene.directory)/agent", toPath: "\(scene.directory)/copy")
                let second = try WorkingAgent(try scene.configuration("copy"))
                try await eventually("the first gives the lease up") {
                    first.lines.value.contains { $0.contains("another agent has taken the lease up") }
                }
                try await eventually("the first waits for the second") {
                    first.lines.value.contains { $0.contains("another agent is registered as this node") }
                }
                let now = try #require(try await alive(scene))
                #expect(now.lease == before.lease)
                #expect(try NodePresence(json: now.value).process != NodePresence(json: before.value).process)
                await second.stop()
                // Which its time to live would do as well, later.
                try await scene.client.revokeLease(try #require(now.lease))
                try await eventually("the first is registered under another lease") {
                    let lease = try await alive(scene)?.lease
                    return lease != nil && lease != before.lease
                }
                await first.stop()
            }
        }

        @Test func anAgentOfAnotherNameLeavesTheLeaseInItsDirectoryToEnd() async throws {
            try await Scene.with { scene in
                let first = try WorkingAgent(try scene.configuration(leaseTTL: Scene.shortLease))
                try await eventually("the first is registered") { try await alive(scene) != nil }
                await first.stop()
                var configuration = try scene.configuration()
                configuration.nodeName = "vm-2"
                let second = try WorkingAgent(configuration)
                try await eventually("the second is registered") { try await alive(scene, "vm-2") != nil }
                try await eventually("the first's lease has ended") {
                    try await alive(scene) == nil
                }
                #expect(try await alive(scene, "vm-2") != nil)
                await second.stop()
            }
        }

        @Test func whileItsPortIsTakenAnAgentLooksAfterWhatRunsAndRegistersWhenItIsFree() async throws {
            try await Scene.with { scene in
                let first = try WorkingAgent(try scene.configuration())
                try await scene.assign(Scene.shell("exec sleep 1000"))
                let pid = try #require(try await scene.reported(.running).pid)
                await first.stop()
                let taken = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_addr.s_addr = inet_addr("127.0.0.1")
                var length = socklen_t(MemoryLayout<sockaddr_in>.size)
                let isTaken = withUnsafeMutablePointer(to: &address) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(taken, $0, length) == 0 && listen(taken, 1) == 0 && getsockname(taken, $0, &length) == 0
                    }
                }
                try #require(isTaken)
                var configuration = try scene.configuration()
                configuration.listenPort = Int(UInt16(bigEndian: address.sin_port))
                let second = try WorkingAgent(configuration)
                try await eventually("it says that it cannot listen") {
                    second.lines.value.contains { $0.contains("cannot listen on") }
                }
                kill(pid, SIGKILL)
                try await eventually("it sees the end of what it adopted") {
                    second.lines.value.contains { $0.contains("a run is over") }
                }
                close(taken)
                try await scene.reported(.running) { $0.pid != pid }
                await second.stop()
            }
        }

        @Test func whatTheNodeCannotStartWaitsUntilItCan() async throws {
            try await Scene.with { scene in
                let agent = try WorkingAgent(try scene.configuration())
                try await eventually("it is registered") { try await scene.isAlive() }
                // Where its directory should be: nothing can be written there, as on a full disk.
                let folder = "\(scene.directory)/agent/runs/\(Scene.instance)"
                try "".write(toFile: folder, atomically: true, encoding: .utf8)
                try await scene.assign(
                    Scene.shell("exec sleep 1000") { $0.restart = RestartPolicy(attempts: 0, backoffMilliseconds: 100) }
                )
                try await scene.reported(.waiting) { $0.reason?.contains(folder) ?? false }
                try await eventually("it has tried three times") {
                    agent.lines.value.count {
                        $0.contains("cannot start a run") || $0.contains("cannot note the state")
                    } > 2
                }
                unlink(folder)
                let report = try await scene.reported(.running)
                #expect(report.restarts == 0)
                await agent.stop()
            }
        }
    }
}
