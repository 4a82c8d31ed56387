import Glibc
import Raft
import Replica
import Storage

/// What is done, and what is made of what is left of it.
extension Workload {
    /// Everything that the tests crash: a new member, appends, flushes, an unfinished leader's entries that are
    /// replaced, a log that is trimmed, a restart, a snapshot in the place of all that, and another restart.
    static func work(in directory: String, snapshot: String) throws {
        do {
            let member = try Member(directory)
            for first in stride(from: UInt64(1), through: 36, by: 5) {
                let batch = entries(first...first + 4)
                try member.append(batch, term: 1, commit: first + 4)
                try member.apply(batch)
                if first == 16 { _ = try member.flush() }
            }
            try member.trim(upTo: 18)
            try member.append((41...44).map { orphan($0) }, term: 2, commit: 40)
            try member.append(entries(41...50), term: 3, commit: 50)
            try member.apply(entries(41...50))
            try member.trim(upTo: member.flush() - 4)
        }
        do {
            let member = try restarted(directory)
            try member.append(entries(51...55), term: 3, commit: 52)
            try member.apply(entries(51...52))
            try member.install(readChunks(snapshot), term: 4, then: entries(snapshotIndex + 1...snapshotIndex + 5))
            try member.apply(entries(snapshotIndex + 1...snapshotIndex + 5))
            _ = try member.flush()
            try member.trim(upTo: snapshotIndex + 2)
        }
        do {
            let member = try restarted(directory)
            try member.append(entries(snapshotIndex + 6...snapshotIndex + 9), term: 4, commit: snapshotIndex + 9)
            try member.apply(entries(snapshotIndex + 6...snapshotIndex + 9))
            _ = try member.flush()
        }
        say("done")
    }

    private static func restarted(_ directory: String) throws -> Member {
        let member = try Member(directory)
        try member.apply(member.recovery.log.entries.filter { $0.index > member.recovery.applied.index })
        return member
    }

    /// Starts as after a crash. Prints what is there, as `key value` lines, then takes the rest of the reference log and
    /// prints the state that it comes to, now and after one more start.
    static func inspect(_ directory: String) throws {
        do {
            let member = try Member(directory)
            let log = member.recovery.log
            say("base \(log.base.index.rawValue) \(log.base.term.rawValue)")
            say("last \(log.last.index.rawValue) \(log.last.term.rawValue)")
            say("hardstate \(log.hardState.term.rawValue) \(log.hardState.commit.rawValue)")
            say("applied \(member.recovery.applied.index.rawValue) \(member.recovery.applied.term.rawValue)")
            let applied = member.recovery.applied.index
            if applied != .zero, member.recovery.applied.term != term(of: applied.rawValue) {
                throw WorkloadError("the state ends in term \(member.recovery.applied.term) at \(applied)")
            }
            // Up to here the log is the reference's; what follows can only be what a leader failed to commit.
            let agreed = log.entries.prefix { $0 == entry($0.index.rawValue) }
            for other in log.entries.dropFirst(agreed.count) where other != orphan(other.index.rawValue) {
                throw WorkloadError("entry \(other.index.rawValue) of term \(other.term.rawValue) was never written")
            }
            let end = agreed.last?.index ?? log.base.index
            say("agreed \(end.rawValue)")
            guard applied <= end, log.hardState.commit <= end else {
                throw WorkloadError("applied or committed beyond what the log has in common with the others'")
            }
            try member.apply(agreed.filter { $0.index > applied })
            let rest = (end.rawValue..<lastIndex).map { entry($0 + 1) }
            try member.append(rest, term: 5, commit: lastIndex)
            try member.apply(rest)
            say("digest \(try member.digest())")
            try member.trim(upTo: member.flush() - 2)
        }
        say("again \(try restarted(directory).digest())")
    }

    // MARK: The snapshot

    /// Another member's state, applied up to the snapshot's index: chunks, each with its length before it.
    static func writeSnapshot(to path: String) throws {
        let directory = path + ".member"
        let member = try Member(directory)
        try member.append(entries(1...snapshotIndex), term: 3, commit: snapshotIndex)
        try member.apply(entries(1...snapshotIndex))
        let snapshot = member.machine.store.history.makeSnapshot()
        guard let file = fopen(path, "w") else { throw WorkloadError("cannot write \(path)") }
        defer { fclose(file) }
        while let chunk = try snapshot.nextChunk(maxBytes: 16_384) {
            var count = UInt32(chunk.count).littleEndian
            fwrite(&count, 4, 1, file)
            fwrite(chunk, 1, chunk.count, file)
        }
    }

    static func readChunks(_ path: String) throws -> [[UInt8]] {
        guard let file = fopen(path, "r") else { throw WorkloadError("cannot read \(path)") }
        defer { fclose(file) }
        var chunks: [[UInt8]] = []
        var count = UInt32(0)
        while fread(&count, 4, 1, file) == 1 {
            var chunk = [UInt8](repeating: 0, count: Int(UInt32(littleEndian: count)))
            guard fread(&chunk, 1, chunk.count, file) == chunk.count else {
                throw WorkloadError("\(path) is cut short")
            }
            chunks.append(chunk)
        }
        return chunks
    }
}
