import EtcdClient
import Foundation
import LaunchModel
import TestSupport
import Testing

@testable import MegamCommands

@Test func aCommandLineThatIsWrongIsAUsageError() async {
    let lines = [
        ["frob"], ["list", "--bogus"], ["launch"], ["show"], ["list", "--timeout", "10"], ["list", "-o", "xml"],
        ["logs", "a", "--tail", "0"], ["launch", "x", "--input", "novalue"],
        ["launch", "x", "--input", "a=1", "--input", "a=2"], ["--endpoints", "nowhere", "list"],
        ["launch", "/nonexistent/hello.yaml"], ["launch", "/"],
    ]
    for line in lines {
        let console = TestConsole()
        #expect(await MegamCommands.run(line, [:], console: console) == .usage, "\(line)")
        #expect(console.output.isEmpty)
        #expect(console.errors.hasPrefix("megam: ") && console.errors.count { $0 == "\n" } == 1, "\(console.errors)")
    }
}

@Test func helpNamesTheCommandsAndTheExitCodes() async {
    for line in [["--help"], ["launch", "--help"], ["help", "logs"], []] {
        let console = TestConsole()
        #expect(await MegamCommands.run(line, [:], console: console) == .done, "\(line)")
        #expect(console.output.contains("4  not reached within --wait-timeout"), "\(line)")
        #expect(console.errors.isEmpty)
    }
}

@Test func aStoreThatCannotBeReachedHasItsOwnExitCode() async throws {
    let port = try TestSupport.freePorts(1)[0]
    let console = TestConsole()
    let status = await MegamCommands.run(
        ["list", "--endpoints", "127.0.0.1:\(port)", "--timeout", "300ms"], [:], console: console)
    #expect(status == .storeUnreachable)
    #expect(console.errors.contains("cannot be reached"))
}

@Test func wordsAreForPeople() {
    let now = Timestamp(milliseconds: 1_000_000_000)
    func age(_ seconds: Int64) -> String {
        Words.age(since: Timestamp(milliseconds: now.milliseconds - seconds * 1_000), now: now)
    }
    #expect([-5, 0, 119, 120, 7_199, 7_200, 172_800].map(age) == ["0s", "0s", "119s", "2m", "119m", "2h", "2d"])
    #expect([0, 500, 1_000, 1_250, 64_005].map(Words.cores) == ["0", "0.5", "1", "1.25", "64.005"])
    #expect(
        [0, 1_023, 1_536, 128 << 20, 3 << 29, 31 << 30].map(Words.bytes) == [
            "0B", "1023B", "1.5KiB", "128MiB", "1.5GiB", "31GiB",
        ])
    var table = Table("A", "LONG")
    table.add("x\u{1b}[31m\ny", "", notes: ["note"])
    #expect(table.text == "A         LONG\nx [31m y\n    note\n")
}

extension WithStore {
    @Test func aLaunchIsStoredOnceAndOnlyWhenItIsSound() async throws {
        try await withStore { store in
            let bad = try store.file("name: hello\ncomponents:\n  web: {comand: x}\n")
            let refused = await store.megam("launch", bad)
            #expect(refused.status == .usage)
            #expect(
                refused.errors.contains(
                    "\(bad):3:9: components.web.comand: there is no such field; did you mean command?"))
            #expect(try await store.client.get(.all).count == 0)

            let good = try store.file(
                "name: hello\ninputs: {greeting: Hello}\ncomponents:\n  web: {command: [echo, \"${greeting}\"]}\n")
            let launched = await store.megam("launch", good, "--input", "greeting=Hi")
            #expect(launched.status == .done)
            #expect(launched.output == "launched hello (1 instance)\n")
            #expect(launched.errors.contains("no megamd leads"))
            let stored = try #require(try await store.client.get(.key(Keys.specification("hello"))).first)
            #expect(try AssemblySpecification(json: stored.value).components[0].arguments == ["Hi"])
            let wanted = try #require(try await store.client.get(.key(Keys.wanted("hello"))).first)
            #expect(try Wanted(json: wanted.value) == Wanted(.running))
            #expect(wanted.createRevision == stored.createRevision)

            let second = await store.megam("launch", good)
            #expect(second.status == .failed)
            #expect(second.errors.contains("hello exists already") && second.errors.contains("--name"))
            #expect(await store.megam("launch", good, "--name", "other").status == .done)
            // Whatever is left of the old one, its name is not free.
            try await store.client.delete(.key(Keys.specification("hello")))
            #expect(await store.megam("launch", good).status == .failed)
        }
    }

    @Test func aWaitEndsInTheStateThatTheEngineWrites() async throws {
        try await withStore { store in
            try await store.client.put(Keys.engineElection + "/1", "megamd")
            func wait(
                _ line: [String], for name: String, _ engine: (Int64) async throws -> Void
            ) async throws -> Outcome {
                async let outcome = store.megam(line)
                var launch: Int64?
                try await eventually("\(name) is in the store") {
                    launch = try await store.client.get(.key(Keys.specification(name))).first?.createRevision
                    return launch != nil
                }
                try await engine(try #require(launch))
                return await outcome
            }
            let file = try store.file("name: hello\ncomponents: {web: {command: a}}\n")

            let good = try await wait(["launch", file, "--wait"], for: "hello") { launch in
                try await store.enter("hello", .initialized, launch: launch, event: 1)
                try await store.enter("hello", .running, launch: launch, event: 2)
            }
            #expect(good.status == .done)
            #expect(good.output.contains("now initialized") && good.output.contains("now running"))
            #expect(good.errors.isEmpty)

            let bad = try await wait(["launch", file, "--wait", "--name", "bad", "-o", "json"], for: "bad") { launch in
                try await store.enter("bad", .preerror, launch: launch, event: 1, reason: "no node has 9 cores")
            }
            #expect(bad.status == .assemblyError)
            #expect(bad.errors.contains("megam: bad is in preerror: no node has 9 cores"))
            #expect(bad.output.isEmpty && bad.errors.contains("now preerror"))

            // Longer each time, until it is long enough for this machine to see the assembly's state.
            for seconds in [1, 4, 16, 64] {
                let name = "slow\(seconds)"
                let slow = try await wait(
                    ["launch", file, "--wait", "--name", name, "--wait-timeout", "\(seconds)s"], for: name
                ) { launch in try await store.enter(name, .initialized, launch: launch, event: 1) }
                #expect(slow.status == .timedOut)
                if slow.errors.contains("it is initialized") { break }
                #expect(seconds < 64, "\(slow.errors)")
            }

            let gone = try await wait(["launch", file, "--wait", "--name", "gone"], for: "gone") { _ in
                try await store.forget("gone")
            }
            #expect(gone.status == .failed && gone.errors.contains("destroyed meanwhile"))
        }
    }

    @Test func stopStartAndDestroyChangeWhatIsWanted() async throws {
        try await withStore { store in
            let launch = try await store.launch("hello")
            try await store.enter("hello", .posterror, launch: launch, event: 1, reason: "web.0 failed")
            func wanted() async throws -> Wanted? {
                try await store.client.get(.key(Keys.wanted("hello"))).first.map { try Wanted(json: $0.value) }
            }
            func wait(_ command: String, until new: Wanted, _ engine: () async throws -> Void) async throws -> Outcome {
                async let outcome = store.megam(command, "hello", "--wait")
                try await eventually("\(command) is in the store") { try await wanted() == new }
                try await engine()
                return await outcome
            }
            let stopped = try await wait("stop", until: Wanted(.stopped)) {
                try await store.enter("hello", .stopping, launch: launch, event: 2)
                try await store.enter("hello", .stopped, launch: launch, event: 3)
            }
            #expect(stopped.status == .done && stopped.output.contains("now stopping"))
            // There already.
            #expect(await store.megam("stop", "hello", "--wait").status == .done)

            let started = try await wait("start", until: Wanted(.running, generation: 2)) {
                // What is said of the generation before does not end the wait.
                try await store.enter("hello", .posterror, launch: launch, event: 4, reason: "old")
                try await store.enter("hello", .running, launch: launch, generation: 2, event: 5)
            }
            #expect(started.status == .done, "\(started.errors)")

            let destroyed = try await wait("destroy", until: Wanted(.destroyed, generation: 2)) {
                let refused = await store.megam("start", "hello")
                #expect(refused.status == .failed && refused.errors.contains("is being destroyed"))
                try await store.enter("hello", .destroyed, launch: launch, generation: 2, event: 6)
                try await store.forget("hello")
            }
            #expect(destroyed.status == .done && destroyed.output.contains("now destroyed"))
        }
    }

    @Test func whatIsNotThereIsNamedWithWhatIsNear() async throws {
        try await withStore { store in
            let empty = await store.megam("show", "hello")
            #expect(empty.status == .failed && empty.errors.contains("there is none at all"))
            _ = try await store.launch("hello")
            for command in ["show", "stop", "start", "destroy", "events", "logs"] {
                let outcome = await store.megam(command, "helo")
                #expect(outcome.status == .failed && outcome.errors.contains("did you mean hello?"), "\(command)")
                #expect(outcome.output.isEmpty)
            }
            #expect(await store.megam("show", "zebra").errors.contains("there are hello"))
        }
    }

    @Test func listAndShowTellWhereEverythingStands() async throws {
        try await withStore { store in
            #expect(await store.megam("list").output == "NAME  STATE  RUNNING  AGE  REASON\n")
            let launch = try await store.launch("hello")
            _ = try await store.launch("other")
            try await store.node("n1")
            try await store.node("n2", isUp: false)
            let reason = String(repeating: "because ", count: 20)
            try await store.enter("hello", .posterror, launch: launch, event: 1, reason: reason)
            let token = try await store.place("hello", 0, on: "n1", launch: launch) { report in
                report.outputs = ["url": "http://10.0.0.1:8080/"]
                report.restarts = 3
                report.lastEnd = .init(time: .now, code: 7, text: "exit code 7")
            }
            try await store.place("hello", 1, on: "n2", launch: launch, report: nil)

            let list = await store.megam("list")
            let rows = list.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(rows.count == 3)
            #expect(rows[1].prefix(3) == ["hello", "posterror", "1/2"])
            #expect(rows[2].prefix(3) == ["other", "accepted", "0/2"])
            #expect(list.output.contains("…") && !list.output.contains(reason))

            let show = await store.megam("show", "hello")
            #expect(show.status == .done)
            let lines = show.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(lines.contains(["web.0", "running", "n1", "4711", "3", "10m", "\(token)"]), "\(show.output)")
            #expect(lines.contains { $0.prefix(3) == ["web.1", "lost", "n2"] }, "\(show.output)")
            #expect(show.output.contains("url=http://10.0.0.1:8080/") && show.output.contains("last end: exit code 7"))

            let json = await store.megam("-o", "json", "show", "hello")
            let document = try #require(
                try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
            let instances = try #require(document["instances"] as? [[String: Any]])
            #expect(instances.map { $0["state"] as? String } == ["running", "lost"])
            #expect((instances[0]["report"] as? [String: Any])?["pid"] as? Int == 4_711)
            #expect((document["state"] as? [String: Any])?["reason"] as? String == reason)
            let yaml = await store.megam("show", "hello", "-o", "yaml").output
            #expect(yaml.contains("  token: \(token)\n") && yaml.contains("state: posterror\n"))
        }
    }

    @Test func whatCannotBeReadIsSaidAndLeftOut() async throws {
        try await withStore { store in
            _ = try await store.launch("hello")
            try await store.client.put(Keys.state("hello"), "{\"state\": \"odd\"}")
            let list = await store.megam("list")
            #expect(list.status == .done && list.output.contains("hello  accepted"))
            #expect(list.errors.contains("warning: /megam/assemblies/hello/state: "))
            // It can still be got rid of.
            try await store.client.put(Keys.specification("hello"), "{}")
            try await store.client.put(Keys.wanted("hello"), "odd")
            #expect(await store.megam("show", "hello").errors.contains("cannot be read; megam destroy hello"))
            #expect(await store.megam("destroy", "hello").status == .done)
            let wanted = try #require(try await store.client.get(.key(Keys.wanted("hello"))).first)
            #expect(try Wanted(json: wanted.value).state == .destroyed)
        }
    }

    @Test func manyAssembliesAreListedInSteps() async throws {
        try await withStore { store in
            let web = ComponentSpecification(name: "web", command: "a")
            for index in 0..<70 {
                let name = "a\(100 + index)"
                try await store.put(Keys.specification(name), AssemblySpecification(name: name, components: [web]))
                try await store.put(Keys.wanted(name), Wanted(.running))
            }
            let list = await store.megam("list")
            #expect(list.status == .done && list.output.count { $0 == "\n" } == 71)
        }
    }

    @Test func eventsAreToldUntilTheAssemblyIsGone() async throws {
        try await withStore { store in
            let launch = try await store.launch("hello")
            try await store.enter("hello", .initialized, launch: launch, event: 1)
            let event = AssemblyEvent(
                time: Timestamp(milliseconds: 1_795_567_323_456), state: .running, text: "hello.web.0 runs",
                instance: InstanceID("hello.web.0"), node: "n1")
            try await store.put(Keys.event("hello", 2), event)
            let past = await store.megam("events", "hello")
            #expect(
                past.output.hasSuffix("2026-11-25T00:42:03Z  running       hello.web.0 runs (on n1)\n"),
                "\(past.output)")

            let console = TestConsole()
            async let watched = store.megam(["events", "hello", "-w", "-o", "json"], console: console)
            try await eventually("the past is told") { console.output.count { $0 == "\n" } == 2 }
            try await store.enter("hello", .destroying, launch: launch, event: 3)
            try await eventually("the event is told") { console.output.contains("now destroying") }
            try await store.enter("hello", .destroyed, launch: launch, event: 4)
            try await store.forget("hello")
            #expect(await watched.status == .done)
            let lines = console.output.split(separator: "\n")
            #expect(
                try lines.map { try AssemblyEvent(json: Array($0.utf8)).state } == [
                    .initialized, .running, .destroying, .destroyed,
                ])
        }
    }

    @Test func nodesTellWhatIsTakenAndWhetherTheBrakeHolds() async throws {
        try await withStore { store in
            let launch = try await store.launch("hello")
            try await store.node("n1")
            try await store.node("n2", isUp: false)
            try await store.place("hello", 0, on: "n1", launch: launch)
            try await store.place("hello", 1, on: "n1", launch: launch)
            let brake = EngineStatus.Brake(since: .now, reason: "2 of 3 nodes seem dead", nodes: ["n2", "n3"])
            try await store.put(Keys.engineStatus, EngineStatus(leader: "e1", since: .now, brake: brake))
            let nodes = await store.megam("nodes")
            let rows = nodes.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(rows[1] == ["n1", "up", "a", "10.0.0.1", "0.5/4", "128MiB/8GiB", "2"])
            #expect(rows[2] == ["n2", "down", "a", "10.0.0.1", "0/4", "0B/8GiB", "0"])
            #expect(nodes.errors.contains("the brake holds") && nodes.errors.contains("2 of 3"))

            #expect(await store.megam("nodes", "forget", "n1").errors.contains("node n1 is up"))
            #expect(await store.megam("nodes", "forget", "n3").errors.contains("there is no node \"n3\""))
            #expect(await store.megam("nodes", "forget", "n2").status == .done)
            #expect(await store.megam("-o", "json", "nodes").output.contains("\"n2\"") == true)
            #expect(await store.megam("nodes").output.contains("n2") == false)
        }
    }

    @Test func aClosedPipeEndsACommandQuietly() async throws {
        try await withStore { store in
            let launch = try await store.launch("hello")
            for event in 1...5 { try await store.enter("hello", .running, launch: launch, event: event) }
            let outcome = await store.megam(["events", "hello", "-w"], console: TestConsole(closedAfter: 100))
            #expect(outcome.status == .done && outcome.errors.isEmpty)
        }
    }

    @Test func changesThatWereCompactedAwayAreReadAnew() async throws {
        try await withStore { store in
            let launch = try await store.launch("hello")
            for event in 1...5 { try await store.enter("hello", .running, launch: launch, event: event) }
            try await store.client.compact(to: try await store.client.get("x").header.revision)
            let changes = LaunchStore(client: store.client, console: TestConsole())
            var told: [Int] = []
            try await changes.changes(of: .prefix(Keys.events("hello")), after: launch) { change in
                switch change {
                case .everything(let kvs, _):
                    told.append(kvs.count)
                    // What comes next is told as it comes.
                    try await store.enter("hello", .stopping, launch: launch, event: 6)
                case .events(let events): told.append(-events.count)
                }
                return told.count == 2
            }
            #expect(told == [5, -1])
        }
    }
}
