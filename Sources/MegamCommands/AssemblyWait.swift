import EtcdClient
import LaunchModel

/// Follows one launch of an assembly until it is where it should be, and shows its events meanwhile.
struct AssemblyWait: Sendable {
    enum Goal: Sendable {
        /// Every instance of this generation runs. An error state is a failure.
        case running(generation: Int)
        case stopped
        /// Nothing of it is left.
        case gone
    }

    let session: Session
    let name: String
    /// The revision that created the specification.
    let launch: Int64
    let goal: Goal

    /// Returns when the goal is reached.
    ///
    /// - Parameters:
    ///   - revision: up to which the assembly's keys have been looked at.
    ///   - limit: after which it fails with ``CommandStatus/timedOut``.
    func run(after revision: Int64, limit: Duration) async throws {
        let isReached: Bool? = try await within(limit) {
            var view = View()
            try await session.store.changes(of: .prefix(Keys.assembly(name)), after: revision) { change in
                try take(change, &view)
            }
            return true
        }
        guard isReached == nil else { return }
        let state = try? await session.store.inventory([.key(Keys.state(name))]).states[name]?.value
        let now = state.map { "; it is \($0.state)\($0.reason.map { ": \($0)" } ?? "")" } ?? ""
        throw CommandFailure(.timedOut, "\(name) was not \(goalText) within \(Words.duration(limit))\(now)")
    }

    private struct View {
        var lastEvent = 0
        var record: AssemblyRecord?
    }

    /// - Returns: whether the goal is reached.
    private func take(_ change: LaunchStore.Change, _ view: inout View) throws -> Bool {
        let (inventory, isGone) = change.read(of: name, launch: launch)
        for (sequence, event) in (inventory.events[name] ?? [:]).sorted(by: { $0.key < $1.key })
        where sequence > view.lastEvent {
            view.lastEvent = sequence
            try show(event)
        }
        if let record = inventory.states[name]?.value, record.launch == launch { view.record = record }
        return try isReached(view.record, isGone: isGone)
    }

    private func isReached(_ record: AssemblyRecord?, isGone: Bool) throws -> Bool {
        if isGone {
            guard case .gone = goal else { throw CommandFailure(.failed, "\(name) was destroyed meanwhile") }
            return true
        }
        guard let record else { return false }
        switch goal {
        case .gone: return false
        case .stopped: return record.state == .stopped
        case .running(let generation):
            guard record.generation >= generation else { return false }
            switch record.state {
            case .running: return true
            case .preerror, .posterror:
                throw CommandFailure(
                    .assemblyError, "\(name) is in \(record.state): \(record.reason ?? "megam show \(name) says more")")
            case .stopped: throw CommandFailure(.failed, "\(name) was stopped meanwhile")
            default: return false
            }
        }
    }

    private var goalText: String {
        switch goal {
        case .running: "running"
        case .stopped: "stopped"
        case .gone: "destroyed"
        }
    }

    /// Progress is for people: beside a document it goes to standard error.
    private func show(_ event: AssemblyEvent) throws {
        let line = EventsCommand.line(event) + "\n"
        if session.format == .table { try session.console.write(line) } else { session.console.writeError(line) }
    }
}
