import EtcdClient
import Foundation
import Glibc
import Guard
import LaunchModel
import Logging
import TestSupport
import Testing

@testable import Agent

extension WithProcesses {
    /// What an agent does with what it finds.
    @Suite struct AdoptionTests {
        private let web = Scene.instance

        @Test func aRunWhoseChildIsNotNotedRunsOn() async throws {
            try await Scene.with { scene in
                let first = try WorkingAgent(try scene.configuration())
                try await scene.assign(Scene.shell("exec sleep 1000"))
                let pid = try #require(try await scene.reported(.running).pid)
                await first.stop()
                try FileManager.default.removeItem(atPath: "\(try scene.runDirectory())/child")
                let second = try WorkingAgent(try scene.configuration())
                try await eventually("it has registered again") {
                    second.lines.value.contains { $0.hasPrefix("info registered") }
                }
                try await eventually("it is adopted") { second.lines.value.contains { $0.contains("adopting a run") } }
                #expect(isAlive(pid))
                try await scene.unassign()
                try await eventually("it is stopped when it is not wanted any more") { !isAlive(pid) }
                await second.stop()
            }
        }

        @Test func aRunThatCannotBeReadYetIsLookedAtAgainAndRunsOn() async throws {
            try await Scene.with { scene in
                let first = try WorkingAgent(try scene.configuration())
                try await scene.assign(Scene.shell("exec sleep 1000"))
                let pid = try #require(try await scene.reported(.running).pid)
                await first.stop()
                let file = "\(try scene.runDirectory())/specification"
                let bytes = try #require(FileManager.default.contents(atPath: file))
                try "gulp-run specification 1000\n".write(toFile: file, atomically: true, encoding: .utf8)
                let second = try WorkingAgent(try scene.configuration())
                try await eventually("it says that it cannot take the run up") {
                    second.lines.value.contains { $0.contains("cannot take up a run; looking again") }
                }
                try await eventually("it has registered again") {
                    second.lines.value.contains { $0.hasPrefix("info registered") }
                }
                #expect(isAlive(pid))
                try bytes.write(to: URL(fileURLWithPath: file))
                try await eventually("it is adopted") { second.lines.value.contains { $0.contains("adopting a run") } }
                #expect(try await scene.reported(.running).pid == pid)
                #expect(isAlive(pid))
                await second.stop()
            }
        }

        /// A store of runs in a directory of its own, and what it tells.
        private func withRuns(_ body: (DataDirectory, RunStore, Shared<[Event]>) async throws -> Void) async throws {
            let directory = NSTemporaryDirectory() + "agent-runs-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: directory) }
            let data = try DataDirectory(directory)
            let configuration = AgentConfiguration(
                nodeName: "vm-1", dataDirectory: directory, endpoints: [],
                guardExecutable: try Programs.gulpGuard(), advertiseHost: "127.0.0.1", version: "test")
            let events = Shared<[Event]>([])
            let logger = Logger(label: "agent") { _ in LineLog(lines: Shared([])) }
            let runs = try RunStore(data, configuration, logger: logger) { event in events.change { $0.append(event) } }
            let result: Result<Void, any Error>
            do { result = .success(try await body(data, runs, events)) } catch { result = .failure(error) }
            await runs.close()
            data.release()
            try result.get()
        }

        private func makeDirectory(_ path: String, with files: [String: String]) throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            for (name, text) in files { try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8) }
        }

        @Test func nothingIsWaitedForAtAdoptionAndWhatCannotBeGoneOnWithIsEndedAfterwards() async throws {
            try await withRuns { data, runs, events in
                let key = RunKey(web, token: 7, attempt: 1)
                try makeDirectory(data.run(key), with: ["specification": "nonsense"])
                let process = Process()
                process.executableURL = URL(fileURLWithPath: "/bin/sleep")
                process.arguments = ["1000"]
                process.environment = ["GULP_RUN": data.runID(key)]
                try process.run()
                defer { kill(process.processIdentifier, SIGKILL) }
                let found = try await runs.adopt()
                #expect(found.map(\.instance) == [web])
                #expect(found.first?.runs.map(\.mayLive) == [true])
                #expect(process.isRunning)
                runs.perform([.watch(key)])
                try await eventually("its end is told") {
                    events.value.contains { if case .ended(key, _) = $0 { true } else { false } }
                }
                try await eventually("it is dead") { !process.isRunning }
                #expect(access("\(data.path)/damaged/\(web).7.1/specification", F_OK) == 0)
            }
        }

        @Test func noAttemptBeginsWhileAnEarlierOneMayLive() async throws {
            try await withRuns { data, runs, events in
                let left = RunKey(web, token: 7, attempt: 1)
                try makeDirectory(data.run(left), with: ["lock": ""])
                let component = Scene.shell("exit 0")
                let key = RunKey(web, token: 7, attempt: 2)
                runs.perform([.start(key, component, deadline: nil)])
                try await eventually("the start is refused") {
                    events.value.contains { if case .startFailed(key, _) = $0 { true } else { false } }
                }
                try await eventually("what was left is over, and its directory gone") {
                    access(data.run(left), F_OK) != 0
                        && events.value.contains { if case .ended(left, _) = $0 { true } else { false } }
                }
                let next = RunKey(web, token: 7, attempt: 3)
                runs.perform([.start(next, component, deadline: nil)])
                try await eventually("the next attempt has run") {
                    events.value.contains { event in
                        if case .ended(next, let outcome) = event { outcome.ending == .exited(code: 0) } else { false }
                    }
                }
            }
        }

        @Test func anOldRunWithoutASpecificationIsRemoved() async throws {
            try await withRuns { data, runs, events in
                for attempt in 1...3 {
                    try makeDirectory(
                        data.run(RunKey(web, token: 7, attempt: attempt)), with: ["lock": "", "exit": ""])
                }
                let key = RunKey(web, token: 7, attempt: 4)
                runs.perform([.start(key, Scene.shell("exit 0"), deadline: nil)])
                try await eventually("the new run is over") {
                    events.value.contains { if case .ended(key, _) = $0 { true } else { false } }
                }
                #expect(data.runs(of: web).map(\.attempt) == [2, 3, 4])
            }
        }
    }
}
