import AgentAPI
import Foundation
import GRPC
import LaunchModel
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import MegamCommands

/// In the place of an agent: serves lines that the test gives it. A cursor is the number of lines told.
private final class TestAgent: Sendable {
    private struct State {
        var lines: [String: [Megam_LogLine]] = [:]
        var followers: [Follower] = []
        var requests: [Megam_LogsRequest] = []
    }

    private struct Follower {
        let call: RPCCall
        let instance: String
        var told: Int
    }

    private let state = Mutex(State())
    private let server = Mutex<RPCServer?>(nil)
    private let port: Int

    init() throws { port = try TestSupport.freePorts(1)[0] }

    var address: String { "127.0.0.1:\(port)" }
    var requests: [Megam_LogsRequest] { state.withLock { $0.requests } }
    /// How many calls are open.
    var followers: Int { state.withLock { $0.followers.count } }

    func start() async throws {
        let method = RPCMethod(path: AgentMethod.logs, serverStreaming: true)
        let server = try await RPCServer(group: MultiThreadedEventLoopGroup.singleton, methods: [method]) { _ in
            Service(agent: self)
        }
        try await server.listen(host: "127.0.0.1", port: port)
        self.server.withLock { $0 = server }
    }

    /// Connections and calls are lost; the lines stay.
    func stop() async {
        await server.withLock { $0.take() }?.shutdown(deadline: .zero)
        state.withLock { $0.followers = [] }
    }

    func write(_ instance: String, _ texts: String..., at time: Int64, stream: Megam_LogLine.Stream = .stdout) {
        state.withLock { state in
            for text in texts {
                var line = Megam_LogLine()
                line.timeUnixNano = time * 1_000_000
                line.stream = stream
                line.text = Data(text.utf8)
                state.lines[instance, default: []].append(line)
            }
            for index in state.followers.indices where state.followers[index].instance == instance {
                let follower = state.followers[index]
                state.followers[index].told = tell(follower.call, state.lines[instance] ?? [], from: follower.told)
            }
        }
    }

    /// The instance leaves the node.
    func end(_ instance: String) {
        let calls = state.withLock { state in
            state.lines[instance] = nil
            defer { state.followers.removeAll { $0.instance == instance } }
            return state.followers.filter { $0.instance == instance }.map(\.call)
        }
        for call in calls { call.eventLoop.execute { call.finish(code: .ok) } }
    }

    fileprivate func take(_ call: RPCCall, _ message: ByteBuffer) {
        guard let request = try? Megam_LogsRequest(serializedBytes: Array(message.readableBytesView)) else {
            return call.finish(code: .invalidArgument)
        }
        state.withLock { state in
            state.requests.append(request)
            guard let lines = state.lines[request.instance] else { return call.finish(code: .notFound) }
            let start = request.tail > 0 ? max(0, lines.count - Int(request.tail)) : 0
            let told = tell(call, lines, from: Int(String(decoding: request.cursor, as: UTF8.self)) ?? start)
            guard request.follow else { return call.eventLoop.execute { call.finish(code: .ok) } }
            state.followers.append(Follower(call: call, instance: request.instance, told: told))
        }
    }

    /// In responses of two lines at most.
    private func tell(_ call: RPCCall, _ lines: [Megam_LogLine], from start: Int) -> Int {
        for index in stride(from: start, to: lines.count, by: 2) {
            var response = Megam_LogsResponse()
            response.lines = Array(lines[index..<min(index + 2, lines.count)])
            response.cursor = Data("\(min(index + 2, lines.count))".utf8)
            let bytes: [UInt8] = (try? response.serializedBytes()) ?? []
            call.eventLoop.execute { call.send { $0.writeBytes(bytes) } }
        }
        return max(start, lines.count)
    }

    private final class Service: RPCLoopService {
        let agent: TestAgent
        init(agent: TestAgent) { self.agent = agent }

        func handle(_ batch: [RPCEvent]) {
            for case .message(let call, let message) in batch { agent.take(call, message) }
        }

        func handleHTTP(_ request: HTTPExchange) { request.respond(status: 404, headers: [], body: ByteBuffer()) }
    }
}

/// An assembly `hello` with `web.0` on n1 and `web.1` on n2, and their agents.
private func withAgents(
    _ body: (TestStore, _ launch: Int64, _ n1: TestAgent, _ n2: TestAgent) async throws -> Void
) async throws {
    try await withStore { store in
        let (first, second) = (try TestAgent(), try TestAgent())
        try await first.start()
        try await second.start()
        let launch = try await store.launch("hello")
        try await store.node("n1", agentAddress: first.address)
        try await store.node("n2", agentAddress: second.address)
        try await store.place("hello", 0, on: "n1", launch: launch)
        try await store.place("hello", 1, on: "n2", launch: launch)
        let result: Result<Void, any Error>
        do { result = .success(try await body(store, launch, first, second)) } catch { result = .failure(error) }
        await first.stop()
        await second.stop()
        try result.get()
    }
}

extension WithStore {
    @Test func linesOfSeveralInstancesComeInTheOrderOfTime() async throws {
        try await withAgents { store, _, n1, n2 in
            n1.write("hello.web.0", "a", at: 1)
            n1.write("hello.web.0", "c", at: 3)
            n1.write("hello.web.0", "d", "e", "f", at: 4)
            n2.write("hello.web.1", "b", at: 2, stream: .stderr)
            n2.write("hello.web.1", "exit code 0", at: 5, stream: .agent)

            let all = await store.megam("logs", "hello")
            #expect(all.status == .done && all.errors.isEmpty)
            let lines = [
                "web.0 | a", "web.1 | b", "web.0 | c", "web.0 | d", "web.0 | e", "web.0 | f", "web.1 | -- exit code 0",
            ]
            #expect(all.output == lines.map { $0 + "\n" }.joined())
            #expect(
                await store.megam("logs", "hello.web", "--tail", "1").output == "web.0 | f\nweb.1 | -- exit code 0\n")
            // One alone has no need to be named.
            #expect(await store.megam("logs", "hello.web.0", "--tail", "2").output == "e\nf\n")

            let json = await store.megam("logs", "hello.web.1", "-o", "json").output
            #expect(
                json.hasPrefix(
                    #"{"instance":"hello.web.1","node":"n2","stream":"stderr","text":"b","time":"1970-01-01T00:00:00.002Z"}"#
                ),
                "\(json)")
            let coloured = await store.megam(["logs", "hello"], console: TestConsole(isTerminal: true)).output
            #expect(coloured.contains("mweb.0 | \u{1b}[0ma\n"))

            let wrong = await store.megam("logs", "hello.wep")
            #expect(wrong.status == .failed && wrong.errors.contains("did you mean web?"))
            #expect(await store.megam("logs", "hello.web.2").errors.contains("instances 0 to 1"))
            #expect(await store.megam("logs", "hello.web.0.1").status == .usage)
        }
    }

    @Test func anAgentThatCannotBeAskedIsSaidAndTheOthersLinesAreShown() async throws {
        try await withAgents { store, _, n1, n2 in
            n1.write("hello.web.0", "a", at: 1)
            await n2.stop()
            let outcome = await store.megam("logs", "hello")
            #expect(outcome.status == .failed)
            #expect(outcome.output == "web.0 | a\n")
            #expect(outcome.errors.contains("the agent of n2 cannot be asked for hello.web.1: "))
            #expect(outcome.errors.contains("not all lines"))
            // It has nothing to say, which is no failure.
            let quiet = await store.megam("logs", "hello.web.0", "--tail", "1")
            #expect(quiet.status == .done && quiet.errors.isEmpty)
            n1.end("hello.web.0")
            let none = await store.megam("logs", "hello.web.0")
            #expect(none.status == .done && none.errors.contains("nothing on n1 yet"))
        }
    }

    @Test func followingGoesOnThroughLostAgentsAndToOtherNodesUntilTheAssemblyIsGone() async throws {
        try await withAgents { store, launch, n1, n2 in
            n1.write("hello.web.0", "one", "two", "three", at: 1)
            n2.write("hello.web.1", "other", at: 2)
            let console = TestConsole()
            async let outcome = store.megam(["logs", "hello", "-f", "--tail", "2"], console: console)
            func told(_ text: String) async throws {
                try await eventually("\(text) is told, after \(console.output) and \(console.errors)") {
                    console.output.hasSuffix(text + "\n")
                }
            }
            try await told("web.1 | other")
            #expect(console.output == "web.0 | two\nweb.0 | three\nweb.1 | other\n")
            try await eventually("both agents are followed") { n1.followers == 1 && n2.followers == 1 }
            n1.write("hello.web.0", "four", at: 3)
            try await told("web.0 | four")

            // The agent is away, and comes back with more.
            await n1.stop()
            try await eventually("the loss is said") { console.errors.contains("the agent of n1 cannot be asked") }
            n1.write("hello.web.0", "five", at: 4)
            try await n1.start()
            try await told("web.0 | five")
            #expect(n1.requests.last?.cursor == Data("4".utf8))
            #expect(console.errors.contains("the agent of n1 answers again"))

            // The instance moves.
            n2.write("hello.web.0", "elsewhere", at: 5)
            try await store.place("hello", 0, on: "n2", launch: launch)
            let instance = try #require(InstanceID("hello.web.0"))
            try await store.client.delete(.key(Keys.assignment("n1", instance)))
            n1.end("hello.web.0")
            try await told("web.0 | elsewhere")
            #expect(console.errors.contains("hello.web.0 is on n2 now"))

            n2.write("hello.web.1", "bye", at: 6)
            try await told("web.1 | bye")
            try await store.client.delete(.prefix(Keys.assignments("n2")))
            n2.end("hello.web.0")
            n2.end("hello.web.1")
            try await store.forget("hello")
            let ended = await outcome
            #expect(ended.status == .done, "\(ended.errors)")
            #expect(ended.output.count { $0 == "\n" } == 7, "\(ended.output)")
        }
    }

    @Test func followingEndsQuietlyWhenNobodyReads() async throws {
        try await withAgents { store, _, n1, _ in
            n1.write("hello.web.0", "one", at: 1)
            let console = TestConsole(closedAfter: 4)
            async let outcome = store.megam(["logs", "hello.web.0", "-f"], console: console)
            try await eventually("the agent is followed") { n1.followers == 1 }
            n1.write("hello.web.0", "two", at: 2)
            let ended = await outcome
            #expect(ended.status == .done && ended.output == "one\n" && ended.errors.isEmpty)
        }
    }

    @Test func moreInstancesThanAnAgentAnswersAtATimeAreAskedInBatches() async throws {
        try await withAgents { store, launch, n1, _ in
            let web = ComponentSpecification(name: "web", command: "a", count: 70)
            try await store.put(Keys.specification("many"), AssemblySpecification(name: "many", components: [web]))
            for index in 0..<70 {
                try await store.place("many", index, on: "n1", launch: launch, report: nil)
                n1.write("many.web.\(index)", "line", at: Int64(index))
            }
            let outcome = await store.megam("logs", "many")
            #expect(outcome.status == .done && outcome.errors.isEmpty)
            let expected = (0..<70).map { "web.\($0)\($0 < 10 ? " " : "") | line" }.sorted()
            #expect(outcome.output.split(separator: "\n").map(String.init).sorted() == expected)
        }
    }
}
