import AgentAPI
import Foundation
import GRPC
import LaunchModel

/// What several agents have of an assembly's lines now, in the order of their times.
struct LogMerge {
    let session: Session
    let agents: AgentLogs
    let printer: LogPrinter
    /// The last lines of each place; 0: all.
    let tail: Int64

    /// What is known of a place when all its lines have been printed.
    enum End {
        /// Where to go on; empty: at the beginning.
        case at(Data)
        /// Its agent could not be asked.
        case unknown(after: Data)
    }

    /// Prints what there is, and complains of agents that cannot be asked. Holds one response of each in memory.
    ///
    /// - Parameter addresses: of the nodes' agents.
    func run(_ slots: [Slot], addresses: [String: String]) async throws -> [Slot: End] {
        // An agent answers so many calls at a time; with more instances than that on a node, the order holds within
        // each batch.
        let callsOfAnAgent = 32
        var batches: [[Slot]] = [[]]
        var seen: [String: Int] = [:]
        for slot in slots {
            let batch = seen[slot.node, default: 0] / callsOfAnAgent
            seen[slot.node, default: 0] += 1
            if batch == batches.count { batches.append([]) }
            batches[batch].append(slot)
        }
        var ends: [Slot: End] = [:]
        for batch in batches {
            ends.merge(try await runBatch(batch, addresses: addresses)) { _, new in new }
        }
        return ends
    }

    private func runBatch(_ slots: [Slot], addresses: [String: String]) async throws -> [Slot: End] {
        var ends: [Slot: End] = [:]
        var sources: [Source] = []
        for (slot, opened) in await open(slots, addresses) {
            var source = Source(slot: slot)
            switch opened {
            case .success(let stream): source.stream = stream
            case .failure(let error): source.failure = error
            }
            await source.fill()
            sources.append(source)
        }
        while true {
            let ready = sources.indices.filter { sources[$0].nextTime != nil }
            guard let first = ready.min(by: { sources[$0].sortKey < sources[$1].sortKey }) else { break }
            // Its lines up to where another's come first.
            let limit = ready.filter { $0 != first }.compactMap { sources[$0].nextTime }.min() ?? .max
            try printer.print(sources[first].take(upTo: limit), of: sources[first].slot)
            await sources[first].fill()
        }
        for source in sources {
            switch source.failure {
            case let error? where error.code == .notFound:
                session.console.complain("\(source.slot.instance) has nothing on \(source.slot.node) yet")
                ends[source.slot] = .at(source.cursor)
            case let error?:
                session.console.complain(
                    "the agent of \(source.slot.node) cannot be asked for \(source.slot.instance): \(error.message)")
                ends[source.slot] = .unknown(after: source.cursor)
            case nil: ends[source.slot] = .at(source.cursor)
            }
        }
        return ends
    }

    /// All at once: an agent that is out of reach costs its timeout only once.
    private func open(
        _ slots: [Slot], _ addresses: [String: String]
    ) async -> [(Slot, Result<LogStream, RPCError>)] {
        await withTaskGroup(of: (Slot, Result<LogStream, RPCError>).self) { group in
            for slot in slots {
                group.addTask { [agents, tail] in
                    guard let address = addresses[slot.node] else {
                        return (slot, .failure(RPCError(.unavailable, "the node has no record")))
                    }
                    do {
                        return (slot, .success(try await agents.ask(address, slot.instance, tail: tail, follow: false)))
                    } catch { return (slot, .failure(error as? RPCError ?? RPCError(.unknown, "\(error)"))) }
                }
            }
            var opened: [(Slot, Result<LogStream, RPCError>)] = []
            for await result in group { opened.append(result) }
            return opened.sorted { $0.0 < $1.0 }
        }
    }

    private struct Source {
        let slot: Slot
        var stream: LogStream?
        var lines: ArraySlice<Megam_LogLine> = []
        /// Of the lines taken and those that wait.
        var cursor = Data()
        var failure: RPCError?

        init(slot: Slot) { self.slot = slot }

        var nextTime: Int64? { lines.first?.timeUnixNano }
        var sortKey: (Int64, Slot) { (nextTime ?? .max, slot) }

        mutating func take(upTo time: Int64) -> [Megam_LogLine] {
            // One line at least: others may have the same time.
            let taken = lines.prefix(1) + lines.dropFirst().prefix { $0.timeUnixNano <= time }
            lines = lines.dropFirst(taken.count)
            return Array(taken)
        }

        /// Waits until there are lines, or will be none.
        mutating func fill() async {
            while lines.isEmpty, stream != nil {
                do {
                    guard let response = try await stream?.next() else {
                        stream = nil
                        return
                    }
                    lines = response.lines[...]
                    cursor = response.cursor
                } catch {
                    failure = error as? RPCError ?? RPCError(.unknown, "\(error)")
                    stream = nil
                }
            }
        }
    }
}
