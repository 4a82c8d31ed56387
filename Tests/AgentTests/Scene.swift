import Agent
import EtcdClient
import Foundation
import Glibc
import LaunchModel
import TestSupport
import Testing

/// All tests with real processes, one after the other: they share few cores.
@Suite(.serialized) enum WithProcesses {}

/// A store, a node, and what an engine would do to them.
struct Scene: Sendable {
    static let node = "vm-1"
    let directory: String
    let store: StoreProcess
    let client: EtcdClient

    /// Runs `body`, and ends all that it started.
    static func with(_ body: (Scene) async throws -> Void) async throws {
        let directory = NSTemporaryDirectory() + "agent-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let store = try StoreProcess(in: directory)
        try await store.start()
        let client = try EtcdClient(endpoints: [store.endpoint])
        _ = try await client.get("ready", timeout: .seconds(30))
        let scene = Scene(directory: directory, store: store, client: client)
        let result: Result<Void, any Error>
        do { result = .success(try await body(scene)) } catch { result = .failure(error) }
        scene.killLeftovers()
        await scene.client.close()
        try await scene.store.kill()
        if case .success = result { try? FileManager.default.removeItem(atPath: directory) }
        try result.get()
    }

    /// A lease that a slow machine does not lose.
    static let longLease = Duration.seconds(300)
    /// A lease whose end a test awaits. It may also end when the machine is slow.
    static let shortLease = Duration.seconds(5)

    func configuration(_ data: String = "agent", leaseTTL: Duration = longLease) throws -> AgentConfiguration {
        AgentConfiguration(
            nodeName: Self.node, dataDirectory: "\(directory)/\(data)", endpoints: [store.endpoint],
            guardExecutable: try Programs.gulpGuard(), listenHost: "127.0.0.1", advertiseHost: "127.0.0.1",
            zone: "a", leaseTTL: leaseTTL, version: "test")
    }

    /// The directory of an instance's only run.
    func runDirectory(_ instance: InstanceID = instance) throws -> String {
        let folder = "\(directory)/agent/runs/\(instance)"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
        return "\(folder)/\(try #require(names.first { $0.hasSuffix(".1") }))"
    }

    /// A shell script as a component, which has all the time that it takes to stop.
    static func shell(_ script: String, _ change: (inout ComponentSpecification) -> Void = { _ in })
        -> ComponentSpecification
    {
        var component = ComponentSpecification(name: "web", command: "/bin/sh", arguments: ["-c", script])
        component.readyAfterMilliseconds = 100
        component.stopGraceMilliseconds = 100_000
        component.restart.backoffMilliseconds = 100
        change(&component)
        return component
    }

    static let instance = InstanceID(assembly: "hello", component: "web", index: 0)

    func assign(
        _ component: ComponentSpecification, _ instance: InstanceID = instance, generation: Int = 1, run: Bool = true
    ) async throws {
        let assignment = Assignment(
            instance: instance, launch: 1, generation: generation, run: run, component: component)
        try await client.put(Keys.assignment(Self.node, instance), assignment.json)
    }

    func unassign(_ instance: InstanceID = instance) async throws {
        try await client.delete(.key(Keys.assignment(Self.node, instance)))
    }

    func report(_ instance: InstanceID = instance) async throws -> Report? {
        try await client.get(.key(Keys.report(Self.node, instance))).first.map { try Report(json: $0.value) }
    }

    /// The report, once it is in this state.
    @discardableResult
    func reported(
        _ state: Report.State, _ instance: InstanceID = instance,
        where condition: (Report) -> Bool = { _ in true }
    ) async throws -> Report {
        var last: Report?
        do {
            try await eventually("\(instance) is reported \(state)") {
                last = try await report(instance)
                return last.map { $0.state == state && condition($0) } ?? false
            }
        } catch {
            throw Complaint("\(error); last: \(last.map { String(decoding: $0.json, as: UTF8.self) } ?? "none")")
        }
        return try #require(last)
    }

    func isAlive() async throws -> Bool { try await client.get(.key(Keys.alive(Self.node))).first != nil }

    /// Lines that a component wrote to a file in the scene's directory.
    func lines(_ file: String) -> [String] {
        let text = (try? String(contentsOfFile: "\(directory)/\(file)", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }

    /// Guards, and components, that a failed test left.
    private func killLeftovers() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let pid = pid_t(name), pid != getpid(),
                let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"),
                let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ"),
                String(decoding: line + environment, as: UTF8.self).contains(directory),
                !String(decoding: line, as: UTF8.self).contains("--data-dir")
            else { continue }
            kill(pid, SIGKILL)
        }
    }
}

/// Whether a process is there and no zombie.
func isAlive(_ pid: Int32) -> Bool {
    guard let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return false }
    let text = String(decoding: stat, as: UTF8.self)
    return text.split(separator: ")").last?.split(separator: " ").first != "Z"
}
