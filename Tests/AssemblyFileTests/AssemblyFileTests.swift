import Foundation
import LaunchModel
import Testing

@testable import AssemblyFile

private func read(
    _ text: String, name: String? = nil, inputs: [String: String] = [:]
) throws(AssemblyFileError) -> AssemblySpecification {
    try AssemblyFile.read(Array(text.utf8), file: "a.yaml", name: name, inputs: inputs)
}

/// The complaint about a file; nil if it is read.
private func complaint(_ text: String, name: String? = nil, inputs: [String: String] = [:]) -> String? {
    do {
        _ = try read(text, name: name, inputs: inputs)
        return nil
    } catch { return error.description }
}

/// A file of one component, from its sixth line on.
private func web(_ fields: String) -> String {
    "name: hello\ninputs:\n  greeting: Hello\ncomponents:\n  web:\n    " + fields.replacing("\n", with: "\n    ")
}

@Test func everyFieldOfTheFormatIsRead() throws {
    let specification = try read(
        """
        name: hello
        inputs:
          greeting: Hello
          secret: null
        components:
          db:
            command: /usr/bin/db --data '/var/lib/my db' "x y"z \\"
          web:
            kind: process
            command: [python3, -c, "print(1)"]
            arguments: [a, "b c"]
            env: {GREETING: "${greeting} ${secret}", PORT: 8080, ANSWER: on, OCTAL: 010, LITERAL: "$${greeting}"}
            working-directory: /srv
            user: www-data
            count: 2
            restart: {when: on-failure, attempts: 3, backoff: 1m30s}
            requirements: {cores: 0.5, memory: 128MiB, zone: a, labels: {disk: ssd, rack: 7}}
            depends-on: [db]
            on-disconnect: stop
            ready-after: 500ms
            stop-grace: 2h
        """, inputs: ["secret": "x"])
    let db = ComponentSpecification(
        name: "db", command: "/usr/bin/db", arguments: ["--data", "/var/lib/my db", "x yz", "\""])
    let web = ComponentSpecification(
        name: "web", command: "python3", arguments: ["-c", "print(1)", "a", "b c"],
        environment: [
            "GREETING": "Hello x", "PORT": "8080", "ANSWER": "on", "OCTAL": "010", "LITERAL": "${greeting}",
        ], workingDirectory: "/srv", user: "www-data", count: 2,
        restart: RestartPolicy(when: .onFailure, attempts: 3, backoffMilliseconds: 90_000),
        requirements: Requirements(
            resources: Resources(millicores: 500, memoryBytes: 128 << 20), zone: "a",
            labels: ["disk": "ssd", "rack": "7"]
        ), dependsOn: ["db"], onDisconnect: .stop, readyAfterMilliseconds: 500, stopGraceMilliseconds: 7_200_000)
    #expect(
        specification
            == AssemblySpecification(
                name: "hello", inputs: ["greeting": "Hello", "secret": "x"], components: [db, web]))
}

@Test func whatIsLeftOutHasTheModelsDefaults() throws {
    let specification = try read("components: {web: {command: date, env: , user: ~, restart: never}}", name: "given")
    var web = ComponentSpecification(name: "web", command: "date")
    web.restart.when = .never
    #expect(specification == AssemblySpecification(name: "given", components: [web]))
}

@Test func theSampleIsSound() throws {
    let path = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("cluster/samples/hello.yaml")
    let specification = try AssemblyFile.read(
        Array(try Data(contentsOf: path)), file: "hello.yaml", inputs: ["port": "9000"])
    #expect(specification.component("web")?.environment["PORT"] == "9000")
    #expect(specification.component("web")?.arguments.last?.contains("${") == false)
    #expect(specification.instances.count == 2)
}

@Test func numbersAndChoicesMayComeFromInputs() throws {
    let text = """
        name: hello
        inputs: {n: 3, memory: 1GiB, end: never, zone: null}
        components:
          web:
            command: echo ${n} "${zone}"
            count: ${n}
            restart: ${end}
            requirements: {memory: "${memory}", zone: "${zone}"}
        """
    let web = try #require(try read(text, inputs: ["n": "5", "zone": "a b"]).component("web"))
    #expect(web.count == 5 && web.restart.when == .never && web.requirements.resources.memoryBytes == 1 << 30)
    // Inputs do not make more words.
    #expect(web.arguments == ["5", "a b"])
    #expect(
        complaint(text, inputs: ["n": "many", "zone": "a"])
            == "a.yaml:6:12: components.web.count: \"many\" is no whole number; write one such as 2, in decimal digits")
    #expect(
        complaint(text)?.hasPrefix("a.yaml:2:42: inputs.zone: has no default; give it at the launch: --input zone=")
            == true)
}

/// Files that are none, and how the complaint begins and what it says to do.
@Test(arguments: [
    // YAML itself.
    ("", "a.yaml:1: YAML: ", "empty"),
    ("a: [1, 2", "a.yaml:2:1: YAML: ", "from line 1"),
    ("name: hello\n\tcomponents: {}", "a.yaml:2:1: YAML: ", "spaces, not tabs"),
    ("name: hello\nname: other", "a.yaml:1:1: name: ", "more than once"),
    ("name: a: b", "a.yaml:1:8: YAML: ", "quotes"),
    ("name: *a", "a.yaml:1:7: YAML: ", "quotes"),
    ("name: \"a\u{1}b\"", "a.yaml:1: YAML: ", "escape"),
    ("name: a\n---\nname: b", "a.yaml:2:1: YAML: ", "one assembly"),
    ("name: &n hello\ncomponents: *n", "a.yaml:1:7: YAML: ", "anchors (&n)"),
    ("name: !!int 5", "a.yaml:1:7: YAML: ", "tag"),
    // The assembly.
    ("[1]", "a.yaml:1:1: YAML: ", "mapping"),
    ("hello", "a.yaml:1:1: YAML: ", "mapping"),
    ("name: hello\nversion: 2", "a.yaml:2:1: version: ", "the fields here are name, inputs, components"),
    ("name: hello\ncomponent: {}", "a.yaml:2:1: component: ", "did you mean components?"),
    ("{}", "a.yaml:1:1: name: ", "missing"),
    ("name: hello", "a.yaml:1:1: components: ", "missing"),
    ("name: Hello\ncomponents: {}", "a.yaml:1:1: name: ", "lower-case"),
    ("name: hello\ncomponents: {}", "a.yaml:2:1: components: ", "at least one component"),
    ("name: hello\ncomponents: []", "a.yaml:2:13: components: ", "mapping"),
    ("name: hello\ncomponents:\n  Web: {command: a}", "a.yaml:3:3: components: ", "lower-case"),
    ("name: hello\ncomponents:\n  web:\n", "a.yaml:3:3: components.web.command: ", "missing"),
    ("name: hello\ncomponents:\n  ? [web]\n  : {}", "a.yaml:3:5: components: ", "plain word"),
    (
        "name: hello\ncomponents: {a: {command: x, count: 600}, b: {command: x, count: 600}}",
        "a.yaml:2:1: components: ", "1200"
    ),
    // Inputs.
    ("name: hello\ninputs: {a b: 1}", "a.yaml:2:10: inputs.a b: ", "letters"),
    ("name: hello\ninputs: {a: [1]}", "a.yaml:2:13: inputs.a: ", "single value"),
    ("name: hello\ninputs:\n  a:", "a.yaml:3:3: inputs.a: ", "--input a=VALUE"),
])
func aFileThatIsNoneSaysWhereAndWhatToDo(_ text: String, _ start: String, _ advice: String) throws {
    let said = try #require(complaint(text))
    #expect(said.hasPrefix(start), "\(said)")
    #expect(said.contains(advice), "\(said)")
    #expect(!said.contains("\n"))
}

/// Fields of the component `web`, the first of them in line 6.
@Test(arguments: [
    ("command: []", "6:14: components.web.command", "needs a command"),
    ("command: ''", "6:14: components.web.command", "needs a command"),
    ("command: [[a]]", "6:15: components.web.command[0]", "single value"),
    ("command: {a: b}", "6:14: components.web.command", "single value"),
    ("command: a | b", "6:14: components.web.command", "[sh, -c"),
    ("command: \"a 'b\"", "6:14: components.web.command", "not closed"),
    ("command: 'a \\'", "6:14: components.web.command", "backslash"),
    ("command: a ${greting}", "6:14: components.web.command", "did you mean greeting?"),
    ("command: a\narguments: b", "7:16: components.web.arguments", "list"),
    ("command: a\nargumnets: [b]", "7:5: components.web.argumnets", "did you mean arguments?"),
    ("command: a\nenvironment: {}", "7:5: components.web.environment", "did you mean env?"),
    ("command: a\ndepends_on: []", "7:5: components.web.depends_on", "did you mean depends-on?"),
    ("command: a\nport: 80", "7:5: components.web.port", "kind, command"),
    ("command: a\ncount: 1\ncount: 2", "7:5: count", "more than once"),
    ("command: a\ncount: two", "7:12: components.web.count", "whole number"),
    ("command: a\ncount: 2.0", "7:12: components.web.count", "whole number"),
    ("command: a\ncount: 010", "7:12: components.web.count", "whole number"),
    ("command: a\ncount: 0x10", "7:12: components.web.count", "whole number"),
    ("command: a\ncount: 99999999999999999999", "7:12: components.web.count", "whole number"),
    ("command: a\ncount: [1]", "7:12: components.web.count", "single value"),
    ("command: a\ncount: 0", "7:5: components.web.count", "between 1 and"),
    ("command: a\nkind: container", "7:11: components.web.kind", "must be process"),
    ("command: a\nenv: [A]", "7:10: components.web.env", "mapping"),
    ("command: a\nenv: {A: {B: c}}", "7:14: components.web.env.A", "single value"),
    ("command: a\nenv:\n  A: b\n  B: x${oops}", "9:10: components.web.env.B", "no input \"oops\""),
    ("command: a\nenv: {A: \"${\"}", "7:14: components.web.env.A", "$${"),
    ("command: a\nenv: {A: \"${a b}\"}", "7:14: components.web.env.A", "$${"),
    ("command: a\nenv: {\"${greeting}\": b}", "7:11: components.web.env", "not into the name"),
    ("command: a\nenv:\n  MEGAM_NODE: b", "7:5: components.web.env", "set by the agent"),
    ("command: a\nworking-directory: srv", "7:5: components.web.working-directory", "absolute path"),
    ("command: a\nuser: ''", "7:5: components.web.user", "name or number"),
    ("command: a\nrestart: no", "7:14: components.web.restart", "one of always, never, on-failure"),
    ("command: a\nrestart: [a]", "7:14: components.web.restart", "single value"),
    ("command: a\nrestart:\n  when: sometimes", "8:13: components.web.restart.when", "always"),
    ("command: a\nrestart:\n  attempt: 1", "8:7: components.web.restart.attempt", "did you mean attempts?"),
    ("command: a\nrestart:\n  attempts: -1", "8:7: components.web.restart.attempts", "between"),
    ("command: a\nrestart:\n  backoff: 0", "8:7: components.web.restart.backoff", "more than nothing"),
    ("command: a\nrestart:\n  backoff: 1", "8:16: components.web.restart.backoff", "no duration"),
    ("command: a\nready-after: 25h", "7:5: components.web.ready-after", "a day"),
    ("command: a\nstop-grace: 10", "7:17: components.web.stop-grace", "such as 500ms"),
    ("command: a\nrequirements: [a]", "7:19: components.web.requirements", "mapping"),
    ("command: a\nrequirements: {cpu: 1}", "7:20: components.web.requirements.cpu", "cores, memory"),
    ("command: a\nrequirements: {cores: a}", "7:27: components.web.requirements.cores", "0.5"),
    ("command: a\nrequirements: {cores: 0.0001}", "7:27: components.web.requirements.cores", "0.5"),
    ("command: a\nrequirements: {cores: -1}", "7:27: components.web.requirements.cores", "0.5"),
    ("command: a\nrequirements: {cores: 2000000}", "7:20: components.web.requirements.cores", "a million"),
    ("command: a\nrequirements: {memory: 128M}", "7:28: components.web.requirements.memory", "128MiB"),
    ("command: a\nrequirements: {memory: 9000000TiB}", "7:28: components.web.requirements.memory", "128MiB"),
    ("command: a\nrequirements: {labels: [a]}", "7:28: components.web.requirements.labels", "mapping"),
    ("command: a\ndepends-on: db", "7:17: components.web.depends-on", "list"),
    ("command: a\ndepends-on: [db]", "7:5: components.web.depends-on", "there is no component \"db\""),
    ("command: a\ndepends-on: [web]", "7:5: components.web.depends-on", "web → web"),
    ("command: a\non-disconnect: halt", "7:20: components.web.on-disconnect", "keep, stop"),
])
func aFieldThatIsWrongSaysWhereAndWhatToDo(_ fields: String, _ place: String, _ advice: String) throws {
    let said = try #require(complaint(web(fields)))
    #expect(said.hasPrefix("a.yaml:\(place): "), "\(said)")
    #expect(said.contains(advice), "\(said)")
}

@Test func whatIsGivenBesideTheFileIsCheckedToo() {
    let text = web("command: a")
    #expect(complaint(text) == nil)
    #expect(complaint(text, name: "No")?.hasPrefix("a.yaml: name: \"No\" is no name") == true)
    #expect(
        complaint(text, inputs: ["greting": "x"])
            == "a.yaml:2:1: inputs: there is no input \"greting\", which --input gives; did you mean greeting?")
    #expect(
        complaint("name: a\ncomponents: {b: {command: c}}", inputs: ["x": ""])?.contains("the file has no inputs")
            == true)
}

@Test func largeDeepAndSwellingFilesAreRefusedSoon() throws {
    let clock = ContinuousClock()
    let elapsed = clock.measure {
        #expect(complaint("# " + String(repeating: "x", count: 1 << 20))?.contains("larger than 1 MiB") == true)
        #expect(complaint(String(repeating: "[", count: 100_000))?.contains("nested too deeply") == true)
        #expect(complaint(String(repeating: "{", count: 900) + String(repeating: "}", count: 900)) != nil)
        #expect(complaint((0..<2_000).map { String(repeating: " ", count: $0) + "a:\n" }.joined()) != nil)
        // Each line is ten times the one before; as a value, and as a key, which the parser compares with others.
        let lines = (1...30).map { line in
            "a\(line): &a\(line) [\(Array(repeating: "*a\(line - 1)", count: 10).joined(separator: ","))]"
        }
        let bomb = "a0: &a0 [x]\n" + lines.joined(separator: "\n")
        #expect(complaint(bomb)?.contains("a.yaml:1:5: YAML: anchors (&a0)") == true)
        #expect(complaint(bomb + "\n? *a30\n: x\n? *a29\n: y\n")?.contains("anchors (&a0)") == true)
        // Inputs swell too.
        let long = String(repeating: "x", count: 4_096)
        let many = Array(repeating: "${greeting}", count: 300).joined()
        #expect(
            complaint(web("command: [a, \"\(many)\"]"), inputs: ["greeting": long])?.hasPrefix("a.yaml:6:18: ") == true)
    }
    #expect(elapsed < .seconds(10))
    // Neither character alone is suspicious.
    #expect(try read(web("command: [sh, -c, \"a && b *\"]")).component("web")?.arguments.last == "a && b *")
}

@Test func textThatIsNotUTF8NamesItsLine() {
    do {
        _ = try AssemblyFile.read(Array("name: a\nb: ".utf8) + [0xff], file: "a.yaml")
        Issue.record("it was read")
    } catch { #expect(error.description == "a.yaml:2: YAML: the text is not UTF-8; save the file as UTF-8") }
}

@Test func linesEndAsTheyDoElsewhere() throws {
    let text = web("command: a\nenv:\n  A: b").replacing("\n", with: "\r\n")
    #expect(try read("\u{feff}" + text).component("web")?.environment == ["A": "b"])
    #expect(complaint(text + "\r\n    count: x")?.hasPrefix("a.yaml:9:12: components.web.count") == true)
}

@Test(arguments: 0..<8)
func noBytesCrashTheReader(_ seed: UInt64) throws {
    var random = SplitMix(state: seed)
    let plain = web(
        """
        command: [python3, -c, "print('${greeting}')"]
        env: {A: "b", C: 'd'}
        count: 2
        restart: {when: always, attempts: 5, backoff: 1s}
        requirements: {cores: 0.5, memory: 128MiB, labels: {disk: ssd}}
        depends-on: []
        stop-grace: 10s
        """)
    // All that YAML has, most of which is refused.
    let odd =
        "%YAML 1.1\n%TAG ! tag:x,2000:\n--- !!map\nname: &n !!str hello\n? [a, {b: *n}]\n: |2-\n   text\n\n  >\n"
        + "<<: *n\ncomponents: >+\n  folded\n\n\"k\\x41\\u263a\": 'it''s' # end\n- ~\n...\n--- b\n"
    let sample = Array((seed % 2 == 0 ? plain : odd).utf8)
    let spice = Array("&*!|>%@`'\"[]{}:,?#-~<\\$ \n\t\r\0".utf8) + [0xff, 0xc3, 0xe2, 0x80, 0xa8, 0x85]
    for _ in 0..<1_500 {
        var bytes = sample
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.insert(spice[Int.random(in: 0..<spice.count, using: &random)], at: index)
            case 2: bytes.removeSubrange(index..<min(bytes.count, index + Int.random(in: 1...20, using: &random)))
            default:
                let length = min(bytes.count - index, Int.random(in: 1...40, using: &random))
                bytes.insert(
                    contentsOf: bytes[index..<index + length], at: Int.random(in: 0...bytes.count, using: &random))
            }
            if bytes.isEmpty { bytes = [10] }
        }
        do throws(AssemblyFileError) {
            let specification = try AssemblyFile.read(bytes, file: "a.yaml")
            #expect(specification.complaint(named: specification.name) == nil)
        } catch {
            #expect(!error.text.isEmpty && !error.field.isEmpty && !error.description.contains(where: \.isNewline))
        }
    }
}

/// A small generator with a seed (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
