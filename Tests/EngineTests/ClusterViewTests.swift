import LaunchModel
import Testing

@testable import Engine

@Suite struct ClusterViewTests {
    private let key = Keys.wanted("a")

    private func put(_ state: Wanted.State) -> ClusterView.Change { .put(Wanted(state).json, createRevision: 5) }

    private func wanted(_ view: ClusterView) -> Wanted.State? { view.assemblies["a"]?.wanted?.value?.state }

    @Test func whatTheWatchTellsOfThePastOfAnOwnCommitIsNoNews() {
        var view = ClusterView(revision: 4)
        view.apply(key, put(.running), at: 5)
        view.advance(to: 5)
        var step = Step(.assembly("a"))
        step.puts = [.init(key: key, value: Wanted(.stopped).json)]
        view.apply(step, at: 8)
        #expect(wanted(view) == .stopped)
        #expect(view.assemblies["a"]?.wanted?.createRevision == 5 && view.assemblies["a"]?.wanted?.modRevision == 8)
        // What came before it, and it itself, are told later.
        view.apply(key, put(.destroyed), at: 7)
        view.apply(key, .delete, at: 6)
        #expect(wanted(view) == .stopped)
        view.apply(key, put(.stopped), at: 8)
        view.advance(to: 8)
        view.apply(key, put(.running), at: 9)
        #expect(wanted(view) == .running)
    }

    @Test func whatAnOwnCommitDeletedDoesNotComeBack() {
        var view = ClusterView(revision: 4)
        view.apply(key, put(.running), at: 5)
        view.apply(Keys.event("a", 1), .put([], createRevision: 5), at: 5)
        view.advance(to: 5)
        var step = Step(.assembly("a"))
        step.deletes = [.assembly("a")]
        view.apply(step, at: 9)
        #expect(view.assemblies.isEmpty)
        view.apply(key, put(.stopped), at: 8)
        #expect(view.assemblies.isEmpty)
        view.advance(to: 9)
        view.apply(key, .put(Wanted(.running).json, createRevision: 10), at: 10)
        #expect(wanted(view) == .running)
        // An own commit that the watch has told before it was acknowledged.
        view.advance(to: 12)
        view.apply(step, at: 11)
        #expect(wanted(view) == .running)
    }

    @Test func whatWasReadBeforeAnOwnCommitIsNotWholeUntilThatIsTold() {
        var view = ClusterView(revision: 4)
        var step = Step(.assembly("a"))
        step.puts = [.init(key: key, value: Wanted(.stopped).json)]
        view.apply(step, at: 7)
        view.begin(with: ClusterView(revision: 6))
        #expect(!view.isWhole && view.assemblies.isEmpty)
        // A later one, taken in at once, does not bring the earlier one back.
        step.puts = [.init(key: Keys.event("a", 1), value: [])]
        view.apply(step, at: 9)
        #expect(!view.isWhole)
        view.apply(key, .put(Wanted(.stopped).json, createRevision: 7), at: 7)
        view.advance(to: 7)
        #expect(view.isWhole && wanted(view) == .stopped && view.assemblies["a"]?.events == [1])
        view.begin(with: ClusterView(revision: 10))
        #expect(view.isWhole && view.assemblies.isEmpty)
    }

    @Test func aValueThatIsNoneIsKeptWithTheReason() {
        var view = ClusterView()
        view.apply(Keys.specification("a"), .put(Array("[]".utf8), createRevision: 3), at: 3)
        view.apply("/megam/nonsense", .put([0xff], createRevision: 3), at: 3)
        let stored = view.assemblies["a"]?.specification
        #expect(stored?.value == nil && stored?.complaint?.contains("AssemblySpecification") == true)
        #expect(stored?.modRevision == 3)
    }
}
