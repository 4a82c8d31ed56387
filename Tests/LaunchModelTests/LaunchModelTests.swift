import Testing

@testable import LaunchModel

private func sample(_ components: [ComponentSpecification]) -> AssemblySpecification {
    AssemblySpecification(name: "hello", components: components)
}

@Test func everyKeyNamesThePlaceItWasMadeFor() throws {
    let instance = InstanceID(assembly: "hello", component: "web", index: 12)
    let places: [(String, Place)] = [
        (Keys.engineStatus, .engineStatus), (Keys.engineElection + "/7f3a", .engineCandidate),
        (Keys.node("n1"), .node("n1")), (Keys.alive("n1"), .alive(node: "n1")),
        (Keys.assignment("n1", instance), .assignment(node: "n1", instance)),
        (Keys.report("n1", instance), .report(node: "n1", instance)),
        (Keys.specification("hello"), .specification(assembly: "hello")),
        (Keys.wanted("hello"), .wanted(assembly: "hello")), (Keys.state("hello"), .state(assembly: "hello")),
        (Keys.event("hello", 7), .event(assembly: "hello", sequence: 7)),
    ]
    for (key, place) in places { #expect(Place(key: Array(key.utf8)) == place, "\(key)") }
    #expect(Keys.event("hello", 7) == "/megam/assemblies/hello/events/0000000007")
}

@Test(arguments: [
    "", "/megam", "/megam/", "/megam//", "/other/nodes/n1", "/megam/nodes/", "/megam/nodes/a/b",
    "/megam/agents/n1/assignments/x",
    "/megam/reports/n1/a.b.01", "/megam/reports/n1/a.b.-1", "/megam/assemblies/x/events/y",
])
func aKeyOfNobodyIsNoPlace(_ key: String) {
    #expect(Place(key: Array(key.utf8)) == nil)
    #expect(Place(key: Array(key.utf8) + [0xff]) == nil)
}

@Test func recordsSurviveTheStore() throws {
    let instance = InstanceID(assembly: "hello", component: "web", index: 0)
    let component = ComponentSpecification(
        name: "web", command: "/bin/true", environment: ["A": "ü"], requirements: Requirements(zone: "a"))
    let assignment = Assignment(instance: instance, launch: 5, generation: 2, run: true, component: component)
    #expect(try Assignment(json: assignment.json) == assignment)
    let report = Report(
        token: 9, generation: 1, state: .waiting, since: Timestamp(milliseconds: 1_795_567_323_456), restarts: 3,
        lastEnd: .init(time: Timestamp(milliseconds: 1_795_567_323_001), code: 3, text: "exit code 3"))
    #expect(try Report(json: report.json) == report)
    let presence = NodePresence(since: Timestamp(milliseconds: 1_795_567_323_456), pid: 7, process: "5f")
    #expect(try NodePresence(json: presence.json) == presence)
    // From an agent that did not write it yet.
    let earlier = Array(#"{"pid":7,"since":"2026-11-25T00:42:03.456Z"}"#.utf8)
    #expect(try NodePresence(json: earlier).process == nil)
    #expect(Timestamp(milliseconds: 1_795_567_323_456).description == "2026-11-25T00:42:03.456Z")
    for milliseconds: Int64 in [0, 1, 999, 1_795_567_323_001, -1, -1_000, 1_795_567_323_999] {
        let assembly = AssemblyEvent(
            time: Timestamp(milliseconds: milliseconds), state: .running, text: "all instances run")
        #expect(try AssemblyEvent(json: assembly.json) == assembly, "\(milliseconds)")
    }
}

@Test func aRecordThatIsNoneNamesItsField() {
    func text(_ json: String) -> String? {
        do throws(RecordError) {
            _ = try Report(json: Array(json.utf8))
            return nil
        } catch { return error.description }
    }
    #expect(text("{") != nil)
    #expect(text(#"{"generation":1}"#)?.contains("token is missing") == true)
    #expect(
        text(#"{"token":1,"generation":1,"state":"odd","since":"2026-11-25T01:02:03.456Z","restarts":0,"outputs":{}}"#)?
            .contains("state") == true)
    #expect(
        text(#"{"token":1,"generation":1,"state":"failed","since":"soon","restarts":0,"outputs":{}}"#)?
            .contains("since") == true)
}

@Test func aSoundSpecificationHasNoComplaint() {
    let web = ComponentSpecification(name: "web", command: "true", count: 3, dependsOn: ["db", "cache"])
    let assembly = sample([
        web, ComponentSpecification(name: "db", command: "true"),
        ComponentSpecification(name: "cache", command: "true", dependsOn: ["db"]),
    ])
    #expect(assembly.complaint(named: "hello") == nil)
    #expect(
        assembly.instances.map(\.description).prefix(4) == ["hello.web.0", "hello.web.1", "hello.web.2", "hello.db.0"])
}

@Test func aSpecificationThatIsNotSoundNamesTheField() {
    func web(_ change: (inout ComponentSpecification) -> Void) -> String? {
        var component = ComponentSpecification(name: "web", command: "true")
        change(&component)
        return sample([component]).complaint()?.description
    }
    #expect(sample([]).complaint()?.field == "components")
    #expect(AssemblySpecification(name: "Hello", components: []).complaint()?.field == "name")
    #expect(web { $0.count = 0 } == "components.web.count: 0 is not between 1 and 1000")
    #expect(web { $0.command = "" }?.hasPrefix("components.web.command:") == true)
    #expect(web { $0.arguments = ["a\0b"] }?.contains("NUL") == true)
    #expect(web { $0.environment = ["MEGAM_NODE": "x"] }?.contains("set by the agent") == true)
    #expect(web { $0.workingDirectory = "relative" }?.contains("absolute path") == true)
    #expect(web { $0.dependsOn = ["db"] }?.contains("there is no component \"db\"") == true)
    #expect(web { $0.dependsOn = ["web"] }?.contains("web → web") == true)
    #expect(web { $0.restart.backoffMilliseconds = 0 }?.contains("restart.backoff") == true)
}

@Test func aRingOfDependenciesIsNamedInItsOrder() {
    func component(_ name: String, _ dependsOn: [String]) -> ComponentSpecification {
        ComponentSpecification(name: name, command: "true", dependsOn: dependsOn)
    }
    let ring = sample([component("a", ["b"]), component("b", ["c", "d"]), component("c", []), component("d", ["b"])])
    #expect(ring.complaint()?.text.contains("b → d → b") == true)
    // Deep, and without a ring.
    let chain = (0..<900).map { component("c\($0)", $0 == 899 ? [] : ["c\($0 + 1)"]) }
    #expect(sample(chain).complaint() == nil)
}
