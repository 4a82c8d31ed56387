import LaunchModel
import Testing

@testable import Engine

@Suite struct PlannerTests {
    @Test func aLaunchIsPlacedInOneTransactionAndRunsWhenItsAgentsSaySo() {
        var world = World()
        world.pass()
        let commits = world.engine.commits
        world.launch("hello", component(count: 2))
        #expect(world.places == ["hello.web.0 on n1*", "hello.web.1 on n2*"])
        #expect(world.engine.commits == commits + 1)
        #expect(world.events("hello").map(\.state) == [.initializing, .initialized])
        world.report(.starting)
        #expect(world.state("hello") == .bootstrapped)
        world.report(.running)
        #expect(world.state("hello") == .running)
        #expect(world.events("hello").map(\.state) == [.initializing, .initialized, .bootstrapped, .running])
        // A state that lasts no time has its event all the same.
        world.launch("quick", component())
        world.report(.running, of: "quick.web.0")
        #expect(world.events("quick").map(\.state) == [.initializing, .initialized, .bootstrapped, .running])
        #expect(world.engine.commits == commits + 5)
        let revision = world.store.revision
        world.pass(milliseconds: 120_000)
        #expect(world.store.revision == revision)
    }

    @Test func anUnsoundSpecificationIsRefusedWithAReasonAndCanBeDestroyed() {
        var world = World()
        world.store.put([(Keys.specification("a"), Array("{".utf8)), (Keys.wanted("a"), Wanted(.running).json)])
        world.launch("b", component("x", dependsOn: ["y"]), component("y", dependsOn: ["x"]))
        #expect(world.state("a") == .preerror && world.reason("a").contains("cannot be read"))
        #expect(world.state("b") == .preerror && world.reason("b").contains("wait for each other"))
        for name in ["a", "b"] {
            world.want(name, .destroyed)
            #expect(world.store.keys(Keys.assembly(name)).isEmpty)
        }
    }

    @Test func whatNoNodeCanTakeIsRefusedWholeAndPlacedWhenThereIsRoom() {
        var world = World(nodes: ["n1"], millicores: 500)
        world.launch("hello", component(count: 2, millicores: 300))
        #expect(world.state("hello") == .preerror)
        #expect(
            world.reason("hello")
                == "no node can take hello.web.1: of 1 node 1 has 200 of 500 millicores free; add a node or lower "
                + "requirements.cores")
        #expect(world.places.isEmpty)
        world.launch("other", component(millicores: 50))
        world.pass(milliseconds: 6_000)
        #expect(world.reason("hello").contains("has 150 of 500"))
        world.add("n2", millicores: 500)
        world.pass()
        #expect(world.state("hello") == .initialized && world.reason("hello").isEmpty)
    }

    @Test func whatAStepOnItsWayTakesIsNotGivenToAnother() {
        var world = World(nodes: ["n1"], millicores: 500)
        world.pass()
        for name in ["first", "other"] {
            let specification = AssemblySpecification(name: name, components: [component(millicores: 300)])
            world.store.put([
                (Keys.specification(name), specification.json), (Keys.wanted(name), Wanted(.running).json),
            ])
        }
        var planner = Planner(leader: "e", since: Timestamp(milliseconds: 0))
        let first = Step.Reservation(
            node: "n1", instance: InstanceID(assembly: "first", component: "web", index: 0),
            resources: Resources(millicores: 300))
        func planned(_ reserved: [Step.Reservation]) -> [Step.Reservation] {
            planner.plan(
                world.store.readAll(), busy: [.assembly("first")], reservations: [.assembly("first"): reserved],
                at: .init(wall: Timestamp(milliseconds: 0), uptime: 0)
            ).steps.flatMap(\.reservations)
        }
        #expect(planned([first]).isEmpty)
        #expect(planned([]).map(\.instance.assembly) == ["other"])
        // A step of unknown outcome does not stand in the way of the next one about the same assembly.
        let again = planner.plan(
            world.store.readAll(), reservations: [.assembly("first"): [first]],
            at: .init(wall: Timestamp(milliseconds: 0), uptime: 0))
        #expect(again.steps.flatMap(\.reservations) == [first])
    }

    @Test func aReasonThatKeepsChangingIsWrittenRarely() {
        var world = World(nodes: ["n1"], millicores: 500)
        world.launch("hello", component(millicores: 600))
        let before = world.events("hello").count
        for step in 1...100 {
            world.add("n1", millicores: 400 + Int64(step))
            world.pass()
        }
        // A hundred changes in ten seconds.
        #expect(world.events("hello").count - before <= 3)
    }

    @Test func aComponentWaitsForThoseItDependsOn() {
        var world = World(nodes: ["n1"])
        world.launch("hello", component("web", dependsOn: ["db"]), component("db", count: 2))
        #expect(world.places == ["hello.db.0 on n1*", "hello.db.1 on n1*", "hello.web.0 on n1"])
        world.report(.running, of: "hello.db.0")
        #expect(world.places.contains("hello.web.0 on n1"))
        world.report(.running, of: "hello.db.1")
        #expect(world.places.contains("hello.web.0 on n1*"))
        #expect(world.state("hello") == .initialized)
        world.report(.running)
        #expect(world.state("hello") == .running)
        // It is not switched off again when one of them fails.
        world.report(.failed, of: "hello.db.1", reason: "it broke")
        #expect(world.places.contains("hello.web.0 on n1*"))
    }

    @Test func aFailureIsToldAndAHigherGenerationTriesAgain() {
        var world = World()
        world.launch("hello", component(count: 2))
        world.report(.running)
        world.report(.failed, of: "hello.web.1", reason: "there is no program run; install it")
        #expect(world.state("hello") == .posterror)
        #expect(world.reason("hello") == "hello.web.1 on n2 failed: there is no program run; install it")
        let last = world.events("hello").last
        #expect(last?.node == "n2" && last?.instance == InstanceID("hello.web.1"))
        world.want("hello", .running, generation: 2)
        #expect(world.state("hello") == .bootstrapped && world.record("hello")?.generation == 2)
        #expect(world.assignments().allSatisfy { $0.value.generation == 2 })
        world.report(.running)
        #expect(world.state("hello") == .running)
    }

    @Test func aStoppedAssemblyKeepsItsPlaces() {
        var world = World()
        world.launch("hello", component(count: 2))
        world.report(.running)
        world.want("hello", .stopped)
        #expect(world.state("hello") == .stopping)
        #expect(world.places == ["hello.web.0 on n1", "hello.web.1 on n2"])
        world.report(.stopped)
        #expect(world.state("hello") == .stopped)
        world.want("hello", .running, generation: 2)
        #expect(world.places == ["hello.web.0 on n1*", "hello.web.1 on n2*"])
        world.report(.running)
        #expect(world.state("hello") == .running)
        #expect(
            world.events("hello").map(\.state).suffix(5) == [
                .stopping, .stopped, .initialized, .bootstrapped, .running,
            ])
    }

    @Test func destroyingWaitsForTheReportsAndLeavesNothing() {
        var world = World()
        world.launch("hello", component(count: 2))
        world.report(.running)
        world.want("hello", .destroyed)
        #expect(world.state("hello") == .destroying && world.places.isEmpty)
        // It is too late to want something else.
        world.want("hello", .running)
        #expect(world.state("hello") == .destroying)
        world.store.delete(world.store.keys(Keys.reports))
        world.pass()
        #expect(world.store.keys(Keys.assemblies).isEmpty)
    }

    @Test func aLargeAssemblyIsPlacedAndDestroyedInSeveralSteps() {
        var world = World(nodes: ["n1", "n2", "n3"], millicores: 100_000)
        world.launch("big", component(count: 400))
        #expect(world.places.count == 400 && world.state("big") == .initialized)
        #expect(world.events("big").map(\.state) == [.initializing, .initialized])
        for node in ["n1", "n2", "n3"] { #expect(world.places.count { $0.contains(node) } >= 133) }
        world.want("big", .destroyed)
        #expect(world.store.keys(Keys.assemblies).isEmpty && world.places.isEmpty)
    }

    @Test func nothingIsDestroyedWhileAReportIsUntoldThatWasWrittenBeforeTheAssignmentWent() {
        var world = World()
        world.launch("hello", component(onDisconnect: .stop))
        world.store.put(Keys.wanted("hello"), Wanted(.destroyed))
        world.tick()
        // The assignment's end is decided; before that is executed the agent reports that it begins.
        let report = world.reportUntold("hello.web.0", .starting)
        world.pass(milliseconds: 10_000)
        #expect(world.places.isEmpty && world.state("hello") == .destroying)
        world.engine.isDeaf = false
        world.pass(milliseconds: 10_000)
        #expect(world.state("hello") == .destroying)
        world.store.delete([report])
        world.pass()
        #expect(world.store.keys(Keys.assemblies).isEmpty)
    }

    @Test func nothingIsClearedAwayWhileAReportIsUntold() {
        var world = World()
        world.launch("hello", component())
        world.store.delete([Keys.specification("hello")])
        world.tick()
        let report = world.reportUntold("hello.web.0", .starting)
        world.pass()
        #expect(world.places.isEmpty && world.state("hello") != nil)
        world.engine.isDeaf = false
        world.store.delete([report])
        world.pass()
        #expect(world.store.keys(Keys.assemblies).isEmpty)
    }

    @Test func aLaunchIsNotPlacedWhileAReportOfAFormerOneIsUntold() {
        var world = World()
        world.launch("hello", component(onDisconnect: .stop))
        // Somebody has launched anew without destroying what there was.
        world.store.delete([Keys.specification("hello"), Keys.state("hello")])
        world.submit("hello", [component(onDisconnect: .stop)])
        world.tick()
        let report = world.reportUntold("hello.web.0", .running)
        world.pass()
        #expect(world.places.isEmpty)
        world.engine.isDeaf = false
        world.pass(milliseconds: 6_000)
        #expect(world.places.isEmpty && world.reason("hello").contains("waits for its former run on n1"))
        world.store.delete([report])
        world.pass()
        #expect(world.places == ["hello.web.0 on n1*"])
    }

    @Test func theRoomOfAnAssemblyIsItsOwnFromItsFirstStepOn() {
        var world = World(nodes: ["n1", "n2"], millicores: 15_000)
        world.pass()
        world.submit("big", [component(count: 300)])
        world.tick()
        world.submit("a", [component()])
        for _ in 0..<2 {
            world.tick()
            #expect(!world.places.contains { $0.hasPrefix("a.") })
        }
        world.pass()
        #expect(world.state("big") == .initialized && world.places.count == 300)
        #expect(world.state("a") == .preerror && world.reason("a").contains("0 of 15000 millicores free"))
    }

    @Test func whatWasCommittedWhileEverythingWasReadAnewIsNotForgotten() {
        var world = World(nodes: ["n1"], millicores: 500)
        world.pass()
        world.submit("first", [component(millicores: 300)])
        world.tick()
        world.submit("a", [component(millicores: 300)])
        world.engine.beginReading(world.store, until: world.now + 100)
        world.pass()
        #expect(world.places == ["first.web.0 on n1*"])
        // It has read, and was not told yet what it wrote meanwhile.
        world.engine.isDeaf = true
        world.pass(milliseconds: 1_000)
        #expect(world.places == ["first.web.0 on n1*"])
        world.engine.isDeaf = false
        world.pass()
        #expect(world.state("first") == .initialized && world.state("a") == .preerror)
    }

    @Test func theOldestEventsGo() {
        var world = World()
        world.launch("hello", component())
        for round in 0..<220 {
            world.report(round % 2 == 0 ? .running : .waiting)
            world.report(.starting)
        }
        #expect(world.events("hello").count == StepDraft.eventsKept)
        #expect(world.record("hello").map { $0.nextEvent - $0.firstEvent } == StepDraft.eventsKept)
    }

    @Test func whatLiesAboutWithoutASpecificationIsCleared() {
        var world = World()
        world.launch("hello", component(count: 2))
        world.store.delete([Keys.specification("hello")])
        world.store.put(Keys.wanted("begun"), Wanted(.running))
        world.pass()
        #expect(world.places.isEmpty && world.store.keys(Keys.assembly("hello")).isEmpty)
        // The beginning of a launch is not.
        #expect(world.store.keys(Keys.assembly("begun")).count == 1)
    }

    @Test func anAssignmentThatCannotBeReadIsReplaced() {
        var world = World()
        world.launch("hello", component(count: 2))
        world.store.put([("/megam/agents/n1/assignments/hello.web.0", Array("?".utf8))])
        world.pass()
        #expect(world.places == ["hello.web.0 on n1*", "hello.web.1 on n2*"])
        #expect(world.events("hello").contains { $0.text.contains("cannot be read") && $0.node == "n1" })
    }
}

@Suite struct LostNodeTests {
    @Test func anInstanceThatMustNotRunTwiceIsMovedInOneStep() {
        var world = World()
        world.launch("hello", component(onDisconnect: .stop))
        world.report(.running)
        world.lose("n1")
        world.pass(milliseconds: 4_000)
        #expect(world.places == ["hello.web.0 on n1*"])
        #expect(world.state("hello") == .bootstrapped)
        world.pass(milliseconds: 2_000)
        // Of two nodes one is lost: half is not more than half.
        #expect(world.places == ["hello.web.0 on n2*"])
        world.report(.running)
        #expect(world.state("hello") == .running)
    }

    @Test func anInstanceThatMayRunOnKeepsItsPlaceUntilTheReplacementRuns() {
        var world = World()
        world.launch("hello", component())
        world.report(.running)
        world.lose("n1")
        world.pass(milliseconds: 6_000)
        #expect(world.places == ["hello.web.0 on n1*", "hello.web.0 on n2*"])
        world.report(.starting)
        #expect(world.places.count == 2)
        world.report(.running)
        #expect(world.places == ["hello.web.0 on n2*"])
        #expect(world.state("hello") == .running)
    }

    @Test func theReplacementGoesWhenTheOldOneIsBackAndRunsFirst() {
        var world = World()
        world.launch("hello", component())
        world.report(.running)
        world.lose("n1")
        world.pass(milliseconds: 6_000)
        world.report(.starting, on: "n2")
        world.arrive("n1")
        world.report(.running, on: "n1")
        #expect(world.places == ["hello.web.0 on n1*"])
    }

    @Test func theReplacementOfAReplacementIsFoundWhenItsNodeIsLostToo() {
        var world = World(nodes: ["n1", "n2", "n3", "n4", "n5"])
        world.launch("hello", component())
        world.report(.running)
        world.lose("n1")
        world.pass(milliseconds: 6_000)
        world.lose("n2")
        world.pass(milliseconds: 6_000)
        #expect(world.places == ["hello.web.0 on n1*", "hello.web.0 on n3*"])
    }

    @Test func whatNoOtherNodeTakesSaysSoAndIsMovedWhenOneCan() {
        var world = World(millicores: 500)
        world.launch("hello", component(count: 2, millicores: 400, onDisconnect: .stop))
        world.report(.running)
        world.lose("n1")
        world.pass(milliseconds: 6_000)
        #expect(world.state("hello") == .posterror)
        #expect(world.reason("hello").hasPrefix("its node n1 is lost, and no node can take hello.web.0: of 2 nodes"))
        world.add("n3", millicores: 500)
        world.pass()
        #expect(world.places == ["hello.web.0 on n3*", "hello.web.1 on n2*"])
        world.report(.running)
        #expect(world.state("hello") == .running)
    }

    @Test func withMoreThanHalfOfTheNodesSilentNothingIsMoved() {
        let names = (0..<10).map { "n\($0)" }
        var world = World(nodes: names)
        world.launch("hello", component(count: 10, onDisconnect: .stop))
        world.report(.running)
        let places = world.places
        let events = world.events("hello").count
        // Their leases end within a few seconds, not at once.
        for node in names.dropFirst() {
            world.lose(node)
            world.pass(milliseconds: 400)
        }
        world.pass(milliseconds: 60_000)
        #expect(world.places == places)
        #expect(world.state("hello") == .posterror && world.reason("hello").contains("nothing is moved"))
        #expect(world.status?.brake?.nodes.count == 9)
        #expect(world.events("hello").count - events <= 2)
        let revision = world.store.revision
        world.pass(milliseconds: 60_000)
        #expect(world.store.revision == revision)
        // They come back one after the other, and those that follow are not given up when half of them are there.
        for node in names.dropFirst() {
            world.arrive(node)
            world.pass(milliseconds: 1_000)
        }
        world.report(.running)
        #expect(world.places == places && world.state("hello") == .running && world.status?.brake == nil)
    }

    @Test func twoOfTenNodesMove() {
        let names = (0..<10).map { "n\($0)" }
        var world = World(nodes: names)
        world.launch("hello", component(count: 10, onDisconnect: .stop))
        world.report(.running)
        world.lose("n3", "n7")
        world.pass(milliseconds: 6_000)
        #expect(world.places.count == 10 && !world.places.contains { $0.contains("n3") || $0.contains("n7") })
        world.report(.running)
        #expect(world.state("hello") == .running)
    }

    @Test func nodesWhoseRecordsAreDeletedReleaseTheBrake() {
        var world = World(nodes: ["n1", "n2", "n3"])
        world.launch("hello", component(count: 3, onDisconnect: .stop))
        world.report(.running)
        world.lose("n1", "n2")
        world.pass(milliseconds: 10_000)
        #expect(world.status?.brake != nil && world.places.contains("hello.web.0 on n1*"))
        world.store.delete([Keys.node("n1"), Keys.node("n2")])
        world.pass(milliseconds: 16_000)
        #expect(world.places == ["hello.web.0 on n3*", "hello.web.1 on n3*", "hello.web.2 on n3*"])
    }

    @Test func aNodeThatIsGoneForADayIsForgotten() {
        var world = World()
        world.pass()
        world.lose("n2")
        world.pass(milliseconds: 1_000)
        #expect(world.store.keys(Keys.nodes).count == 2)
        var later = Planner(leader: "e", since: Timestamp(milliseconds: 0))
        let view = world.store.readAll()
        _ = later.plan(view, at: .init(wall: Timestamp(milliseconds: 0), uptime: 0))
        let plan = later.plan(view, at: .init(wall: Timestamp(milliseconds: 0), uptime: 86_400_000))
        #expect(plan.steps.map(\.deletes) == [[.key(Keys.node("n2"))]])
    }
}
