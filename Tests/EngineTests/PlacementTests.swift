import LaunchModel
import Testing

@testable import Engine

@Suite struct PlacementTests {
    private func node(
        _ name: String, millicores: Int64 = 1_000, memory: Int64 = 1 << 30, zone: String? = nil,
        labels: [String: String] = [:], isAlive: Bool = true
    ) -> Placement.Node {
        let record = NodeRecord(
            name: name, address: "127.0.0.1", agentAddress: "127.0.0.1:1", zone: zone, labels: labels,
            capacity: Resources(millicores: millicores, memoryBytes: memory), version: "1")
        return Placement.Node(name: name, record: record, isAlive: isAlive)
    }

    private func instance(_ component: String = "web", _ index: Int = 0, of assembly: String = "hello") -> InstanceID {
        InstanceID(assembly: assembly, component: component, index: index)
    }

    private func needs(_ millicores: Int64 = 0, memory: Int64 = 0) -> Requirements {
        Requirements(resources: Resources(millicores: millicores, memoryBytes: memory))
    }

    @Test func instancesOfAComponentAreSpread() throws {
        var placement = Placement(nodes: [node("a"), node("b"), node("c")])
        var places: [String] = []
        for index in 0..<3 {
            let node = try placement.place(instance(index: index), needs(100)).get()
            placement.occupy(node, instance(index: index), Resources(millicores: 100))
            places.append(node)
        }
        #expect(places == ["a", "b", "c"])
    }

    private func instance(index: Int) -> InstanceID { instance("web", index) }

    @Test func theAssemblyComesBeforeTheLoadAndTheLoadBeforeTheName() throws {
        var placement = Placement(nodes: [node("a"), node("b"), node("c")])
        placement.occupy("a", instance("db"), Resources(millicores: 1))
        placement.occupy("b", instance("x", of: "other"), Resources(millicores: 500))
        #expect(try placement.place(instance(), needs(100)).get() == "c")
        placement.occupy("c", instance("x", of: "other"), Resources(millicores: 600))
        #expect(try placement.place(instance(), needs(100)).get() == "b")
    }

    @Test func whatIsTakenCountsUntilItIsReleased() {
        var placement = Placement(nodes: [node("a", millicores: 500)])
        placement.occupy("a", instance("db"), Resources(millicores: 300))
        #expect(throws: Placement.Refusal.self) { try placement.place(instance(), needs(201)).get() }
        #expect(throws: Never.self) { try placement.place(instance(), needs(200)).get() }
        placement.release("a", instance("db"), Resources(millicores: 300))
        #expect(throws: Never.self) { try placement.place(instance(), needs(500)).get() }
    }

    @Test func aRefusalCountsTheReasonsAndSaysWhatToDo() throws {
        var placement = Placement(nodes: [
            node("a", labels: ["disk": "ssd"], isAlive: false), node("b"),
            node("c", millicores: 500, labels: ["disk": "ssd"]),
        ])
        placement.occupy("c", instance("db"), Resources(millicores: 300))
        var requirements = needs(400)
        requirements.labels = ["disk": "ssd"]
        let refusal = #expect(throws: Placement.Refusal.self) {
            try placement.place(instance("web", 1), requirements).get()
        }
        #expect(
            refusal?.description
                == "no node can take hello.web.1: of 3 nodes 1 is lost, 1 lacks label disk=ssd, 1 has 200 of 500 millicores "
                + "free; add a node, bring the lost ones back, change requirements.labels or lower requirements.cores")
    }

    @Test func withoutANodeTheRefusalSaysSo() {
        let refusal = #expect(throws: Placement.Refusal.self) {
            try Placement(nodes: []).place(instance(), needs()).get()
        }
        #expect(
            refusal?.description
                == "no node can take hello.web.0: there is no node yet; start gulpd with --agent on one")
    }

    @Test func zoneAndMemoryAreRespected() throws {
        let placement = Placement(nodes: [
            node("a", zone: "x"), node("b", memory: 1 << 20, zone: "y"), node("c", zone: "y"),
        ])
        var requirements = needs(memory: 1 << 21)
        requirements.zone = "y"
        #expect(try placement.place(instance(), requirements).get() == "c")
    }

    @Test func absurdNumbersFromTheStoreDoNotTrap() {
        var placement = Placement(nodes: [
            node("a", millicores: .min, memory: .min), node("b", millicores: .max, memory: .max),
        ])
        for index in 0..<3 {
            placement.occupy("b", instance("x", index), Resources(millicores: .max, memoryBytes: .max))
            placement.occupy("a", instance("x", index), Resources(millicores: .min, memoryBytes: .min))
        }
        #expect(throws: Placement.Refusal.self) { try placement.place(instance(), needs(.max, memory: .max)).get() }
    }
}
