import AgentAPI
import EtcdClient
import Foundation
import GRPC
import LaunchModel
import Synchronization

/// Follows an assembly's lines wherever its instances go, until the assembly is gone.
///
/// Each place of an instance has a follower, which asks the place's agent again, from where it was, for as long as the
/// instance is assigned there. The store tells which places there are.
struct LogFollow: Sendable {
    let session: Session
    let agents: AgentLogs
    let printer: LogPrinter
    let assembly: String
    /// The revision that created the specification.
    let launch: Int64
    /// Whose lines are wanted.
    let wants: @Sendable (InstanceID) -> Bool

    private enum Signal: Sendable {
        case assigned(Slot)
        /// With where its lines end.
        case ended(Slot, Data)
        case gone
        /// The agents have had their time to send the last lines.
        case over
        case failed(any Error)
    }

    /// Places to which something is assigned.
    private final class Assigned: Sendable {
        private let slots: Mutex<Set<Slot>>
        init(_ slots: Set<Slot>) { self.slots = Mutex(slots) }
        func contains(_ slot: Slot) -> Bool { slots.withLock { $0.contains(slot) } }
        func insert(_ slot: Slot) { slots.withLock { _ = $0.insert(slot) } }
        func remove(_ slot: Slot) { slots.withLock { _ = $0.remove(slot) } }
        func replace(by new: Set<Slot>) { slots.withLock { $0 = new } }
    }

    /// - Parameters:
    ///   - inventory: of the agents' keys.
    ///   - ends: where the lines printed so far end.
    func run(from inventory: Inventory, _ ends: [Slot: LogMerge.End]) async throws {
        let assigned = Assigned(Set(inventory.assignments.keys.filter { wants($0.instance) }))
        let (signals, channel) = AsyncStream.makeStream(of: Signal.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            /// Signals how a part ended.
            func add(_ part: @escaping @Sendable () async throws -> Signal) {
                group.addTask {
                    do { channel.yield(try await part()) } catch { channel.yield(.failed(error)) }
                }
            }
            add {
                try await watchAssembly(after: inventory.revision)
                return .gone
            }
            add {
                try await watchAssignments(after: inventory.revision, assigned) { channel.yield(.assigned($0)) }
                return .over
            }
            var ends = ends
            var followers: Set<Slot> = []
            var isGone = false
            func follow(_ slot: Slot) {
                guard followers.insert(slot).inserted else { return }
                add { [end = ends[slot]] in
                    .ended(slot, try await self.follow(slot, after: end) { assigned.contains(slot) })
                }
            }
            for slot in ends.keys { follow(slot) }
            for await signal in signals {
                switch signal {
                case .assigned(let slot):
                    if followers.contains(slot) || isGone { break }
                    session.console.complain("\(slot.instance) is on \(slot.node) now")
                    follow(slot)
                case .ended(let slot, let cursor):
                    followers.remove(slot)
                    ends[slot] = .at(cursor)
                    // It came back while its follower ended.
                    if assigned.contains(slot), !isGone { follow(slot) }
                case .gone:
                    isGone = true
                    add {
                        try await Task.sleep(for: .seconds(3))
                        return .over
                    }
                case .over: return
                case .failed(let error): throw error
                }
                if isGone, followers.isEmpty { return }
            }
        }
    }

    /// Returns when the assembly is gone.
    private func watchAssembly(after revision: Int64) async throws {
        try await session.store.changes(of: .key(Keys.specification(assembly)), after: revision) { change in
            switch change {
            case .events(let events): events.contains { $0.kind == .delete }
            case .everything(let kvs, _): kvs.first?.createRevision != launch
            }
        }
    }

    private func watchAssignments(
        after revision: Int64, _ assigned: Assigned, tell: @Sendable (Slot) -> Void
    ) async throws {
        try await session.store.changes(of: .prefix(Keys.agents), after: revision) { change in
            switch change {
            case .events(let events):
                for event in events {
                    guard let slot = slot(event.kv) else { continue }
                    if event.kind == .put { assigned.insert(slot) } else { assigned.remove(slot) }
                    if event.kind == .put { tell(slot) }
                }
            case .everything(let kvs, _):
                let slots = kvs.compactMap(slot)
                assigned.replace(by: Set(slots))
                for slot in slots { tell(slot) }
            }
            return false
        }
    }

    private func slot(_ kv: KeyValue) -> Slot? {
        guard case .assignment(let node, let instance) = Place(key: kv.key), wants(instance) else { return nil }
        return Slot(instance: instance, node: node)
    }

    /// Prints one place's lines until nothing is assigned there and its agent has no more, or is out of reach.
    ///
    /// - Returns: the cursor of the last lines.
    private func follow(
        _ slot: Slot, after end: LogMerge.End?, isAssigned: @Sendable () -> Bool
    ) async throws -> Data {
        var cursor = Data()
        /// It has been said that the agent cannot be asked.
        var isOut = false
        switch end {
        case .at(let place): cursor = place
        case .unknown(let place): (cursor, isOut) = (place, true)
        case nil: break
        }
        let firstPause = Duration.milliseconds(200)
        var pause = firstPause
        var address: String?
        while true {
            do {
                // The agent may come back at another address. While the store is away, the old one is as good as any.
                let read = try? await session.client.get(.key(Keys.node(slot.node)), timeout: .seconds(2))
                if let record = read?.first {
                    address = (try? NodeRecord(json: record.value))?.agentAddress
                }
                guard let address else { throw RPCError(.unavailable, "the node has no record") }
                let stream = try await agents.ask(address, slot.instance, cursor: cursor, follow: true)
                while let response = try await stream.next() {
                    if isOut { session.console.complain("the agent of \(slot.node) answers again") }
                    isOut = false
                    try printer.print(response.lines, of: slot)
                    cursor = response.cursor
                    pause = firstPause
                }
            } catch let error as RPCError {
                try Task.checkCancellation()
                // NOT_FOUND: it has not been started yet.
                if error.code != .notFound, isAssigned(), !isOut {
                    session.console.complain(
                        "the agent of \(slot.node) cannot be asked for \(slot.instance): \(error.message); waiting for it"
                    )
                    isOut = true
                }
            }
            guard isAssigned() else { return cursor }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(5))
        }
    }
}
