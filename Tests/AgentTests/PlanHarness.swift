import Guard
import LaunchModel

@testable import Agent

/// A plan at a clock that only moves when it is told to.
struct PlanHarness {
    var plan: NodePlan
    var now: Now

    static let instance = InstanceID(assembly: "hello", component: "web", index: 0)

    init(secondsUp: Int64 = 1_000, adopting found: [FoundInstance] = []) {
        now = Now(
            boot: BootTime(nanoseconds: secondsUp * 1_000_000_000),
            wall: Timestamp(milliseconds: 1_790_000_000_000 + secondsUp * 1_000))
        plan = NodePlan(now)
        adopted = plan.adopt(found, now)
    }

    /// The effects of the adoption.
    private(set) var adopted: [Effect] = []

    mutating func send(_ events: Event...) -> [Effect] { plan.handle(events, now) }

    /// Lets time pass, and answers the effects of it.
    mutating func pass(_ duration: Duration) -> [Effect] {
        now.boot = now.boot + duration
        now.wall = Timestamp(milliseconds: now.wall.milliseconds + duration.milliseconds)
        return send(.tick)
    }

    var report: Report? { plan.reports[Self.instance] }

    /// Registered, with these assignments.
    mutating func register(_ wishes: [InstanceID: Wish], certainFor: Duration = .seconds(8)) -> [Effect] {
        let events: [Event] = [.registered, .assignments(wishes), .leaseCertain(until: now.boot + certainFor)]
        // And what is reported at once is written.
        return plan.handle(events, now) + plan.handle([.reported(plan.reports.mapValues(\.token))], now)
    }

    static func component(_ change: (inout ComponentSpecification) -> Void = { _ in }) -> ComponentSpecification {
        var component = ComponentSpecification(name: "web", command: "serve")
        change(&component)
        return component
    }

    static func wish(
        token: Int64 = 7, generation: Int = 1, run: Bool = true,
        _ change: (inout ComponentSpecification) -> Void = { _ in }
    ) -> Wish {
        .assigned(
            token: token,
            Assignment(instance: instance, launch: 3, generation: generation, run: run, component: component(change)))
    }

    static func run(_ attempt: Int, token: Int64 = 7) -> RunKey { RunKey(instance, token: token, attempt: attempt) }

    /// A run's end, now.
    func end(_ ending: Ending, _ cause: Cause = .byItself) -> RunOutcome {
        RunOutcome(ending: ending, cause: cause, endedAt: now.wall.milliseconds)
    }

    mutating func started(_ key: RunKey) -> [Effect] { send(.started(key, pid: 42, at: now.wall.milliseconds)) }
}

extension [Effect] {
    /// The runs that are begun.
    var starts: [RunKey] { compactMap { if case .start(let key, _, _) = $0 { key } else { nil } } }

    var deadlines: [BootTime?] {
        compactMap { if case .start(_, _, let deadline) = $0 { .some(deadline) } else { nil } }
    }

    /// All but what is written down.
    var deeds: [Effect] { filter { if case .save = $0 { false } else { true } } }

    var saved: InstanceRecord? { compactMap { if case .save(_, let record) = $0 { record } else { nil } }.last }
}
