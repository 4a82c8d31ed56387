import Raft
import Replica
import Storage

/// The part of a format that shows what a stopped member holds.
protocol CheckFormat: Sendable {
    func bytes(_ report: MemberDataReport) throws(CommandFailure) -> [UInt8]
}

/// What a stopped member's data directory holds. Made of a directory that was found sound.
struct MemberDataReport: Sendable {
    var clusterID: UInt64
    var memberID: UInt64
    /// The entry before the log's first: the last one trimmed.
    var trimmed = (index: UInt64(0), term: UInt64(0))
    /// Of the log's entries; nil when it has none.
    var entries: (first: UInt64, firstTerm: UInt64, last: UInt64, lastTerm: UInt64)?
    var term: UInt64
    var vote: UInt64
    var commit: UInt64
    /// How far the log had been synced, by the witness note.
    var witness: (index: UInt64, term: UInt64, voteTerm: UInt64, vote: UInt64)?
    var applied = (index: UInt64(0), term: UInt64(0))
    var revision: Int64
    var compactedRevision: Int64
    var keys: Int
    var leases: Int
    /// Events of the history and notes beside it.
    var events: Int
    var notes: Int
    var voters: [UInt64]
    var learners: [UInt64]
    var members: [MemberAttributes]
    var files: [OfflineMember.File]
    var notices: [String]

    var bytes: Int { files.reduce(0) { $0 + $1.size } }
}

extension MemberDataReport {
    /// Reads all of the state.
    /// - Throws: `StorageError` for a file that cannot be read or is not what was written.
    init(_ member: OfflineMember) throws {
        (events, notes) = try member.readState()
        let machine = try ApplyMachine(
            id: member.identity.memberID, history: StateDatabase(member.state), applied: member.applied.index,
            term: member.applied.term, configuration: member.applied.configuration)
        clusterID = member.identity.clusterID
        memberID = member.identity.memberID.rawValue
        let log = member.log
        trimmed = (log.base.index.rawValue, log.base.term.rawValue)
        if let first = log.entries.first, let last = log.entries.last {
            entries = (first.index.rawValue, first.term.rawValue, last.index.rawValue, last.term.rawValue)
        }
        term = log.hardState.term.rawValue
        vote = log.hardState.vote.rawValue
        commit = log.hardState.commit.rawValue
        witness = member.witness.map {
            ($0.lastIndex.rawValue, $0.lastTerm.rawValue, $0.voteTerm.rawValue, $0.vote.rawValue)
        }
        applied = (member.applied.index.rawValue, member.applied.term.rawValue)
        revision = machine.store.revision
        compactedRevision = machine.store.compactedRevision
        keys = machine.store.keyCount
        leases = machine.store.leases.count
        voters = machine.configuration.voters.map(\.rawValue)
        learners = machine.configuration.learners.map(\.rawValue)
        members = machine.members
        files = member.files
        notices = member.notices
    }
}

private func hex(_ id: UInt64) -> String { String(id, radix: 16) }

extension SimpleFormat {
    func bytes(_ report: MemberDataReport) -> [UInt8] {
        var lines = ["member \(hex(report.memberID)) of cluster \(hex(report.clusterID)): sound"]
        let trimmed = report.trimmed.index == 0 ? "" : ", trimmed up to index \(report.trimmed.index)"
        if let entries = report.entries {
            lines.append(
                "log: index \(entries.first) of term \(entries.firstTerm) to index \(entries.last) of term \(entries.lastTerm)"
                    + trimmed)
        } else {
            lines.append("log: no entries" + trimmed)
        }
        lines.append(
            "hard state: term \(report.term), vote \(report.vote == 0 ? "none" : hex(report.vote)), commit \(report.commit)"
        )
        lines.append(
            report.witness.map { "witness: synced up to index \($0.index) of term \($0.term)" } ?? "witness: none")
        lines.append(
            "state: applied up to index \(report.applied.index) of term \(report.applied.term), revision \(report.revision), "
                + (report.compactedRevision < 0 ? "never compacted" : "compacted at \(report.compactedRevision)")
                + ", \(report.keys) keys, \(report.events) events, \(report.leases) leases")
        for member in report.members {
            lines.append(
                "member \(hex(member.id.rawValue)): \(member.isLearner ? "learner" : "voter"), "
                    + "\(member.name.isEmpty ? "unstarted" : member.name), \(member.peerURLs.joined(separator: ","))")
        }
        lines.append("checked: \(report.files.count) files, \(report.bytes) bytes")
        return Array((lines.joined(separator: "\n") + "\n").utf8)
    }
}

extension TableFormat {
    func bytes(_ report: MemberDataReport) -> [UInt8] {
        let titles = [
            "CLUSTER", "ID", "FIRST INDEX", "LAST INDEX", "TERM", "COMMIT", "APPLIED INDEX", "REVISION", "COMPACTED",
            "KEYS",
            "FILES", "BYTES",
        ]
        let numbers: [any CustomStringConvertible] = [
            report.entries?.first ?? report.trimmed.index + 1, report.entries?.last ?? report.trimmed.index,
            report.term,
            report.commit, report.applied.index, report.revision, report.compactedRevision, report.keys,
            report.files.count, report.bytes,
        ]
        return table(titles, [[hex(report.clusterID), hex(report.memberID)] + numbers.map(\.description)])
    }
}

extension FieldsFormat {
    func bytes(_ report: MemberDataReport) -> [UInt8] {
        var lines = FieldLines()
        lines.add("ClusterID", report.clusterID)
        lines.add("MemberID", report.memberID)
        lines.add("TrimmedIndex", report.trimmed.index)
        lines.add("TrimmedTerm", report.trimmed.term)
        if let entries = report.entries {
            lines.add("FirstIndex", entries.first)
            lines.add("FirstTerm", entries.firstTerm)
            lines.add("LastIndex", entries.last)
            lines.add("LastTerm", entries.lastTerm)
        }
        lines.add("Term", report.term)
        lines.add("Vote", report.vote)
        lines.add("Commit", report.commit)
        if let witness = report.witness {
            lines.add("WitnessIndex", witness.index)
            lines.add("WitnessTerm", witness.term)
            lines.add("WitnessVoteTerm", witness.voteTerm)
            lines.add("WitnessVote", witness.vote)
        }
        lines.add("AppliedIndex", report.applied.index)
        lines.add("AppliedTerm", report.applied.term)
        lines.add("Revision", report.revision)
        lines.add("CompactedRevision", report.compactedRevision)
        lines.add("Keys", report.keys)
        lines.add("Events", report.events)
        lines.add("Notes", report.notes)
        lines.add("Leases", report.leases)
        for voter in report.voters { lines.add("Voter", voter) }
        for learner in report.learners { lines.add("Learner", learner) }
        for member in report.members {
            lines.addMember(
                member.id.rawValue, member.name, member.peerURLs, member.clientURLs, isLearner: member.isLearner)
        }
        for file in report.files {
            lines.add("File", QuotedBytes.quote(file.path))
            lines.add("Size", file.size)
        }
        return lines.bytes
    }
}

extension JSONFormat {
    func bytes(_ report: MemberDataReport) -> [UInt8] {
        func numbers(_ values: KeyValuePairs<String, any CustomStringConvertible>) -> String {
            var object = JSONObject()
            for (name, value) in values { object.add(name, value.description) }
            return object.text
        }
        var object = JSONObject()
        object.add("cluster_id", "\(report.clusterID)")
        object.add("member_id", "\(report.memberID)")
        object.add("trimmed", numbers(["index": report.trimmed.index, "term": report.trimmed.term]))
        if let entries = report.entries {
            object.add(
                "entries",
                numbers([
                    "first_index": entries.first, "first_term": entries.firstTerm, "last_index": entries.last,
                    "last_term": entries.lastTerm,
                ]))
        }
        object.add("hard_state", numbers(["term": report.term, "vote": report.vote, "commit": report.commit]))
        if let witness = report.witness {
            object.add(
                "witness",
                numbers([
                    "index": witness.index, "term": witness.term, "vote_term": witness.voteTerm, "vote": witness.vote,
                ]))
        }
        object.add(
            "state",
            numbers([
                "applied_index": report.applied.index, "applied_term": report.applied.term, "revision": report.revision,
                "compacted_revision": report.compactedRevision, "keys": report.keys, "events": report.events,
                "notes": report.notes, "leases": report.leases,
            ]))
        object.add("voters", "\(report.voters)".filter { $0 != " " })
        object.add("learners", "\(report.learners)".filter { $0 != " " })
        object.add("members", JSONObject.array(report.members.map(Self.object)))
        object.add(
            "files",
            JSONObject.array(
                report.files.map { file in
                    var object = JSONObject()
                    object.add("path", text: file.path)
                    object.add("size", "\(file.size)")
                    return object.text
                }))
        object.add("notices", JSONObject.array(of: report.notices))
        return object.line
    }

    private static func object(_ member: MemberAttributes) -> String {
        var object = JSONObject()
        object.add("ID", "\(member.id.rawValue)")
        object.add("name", text: member.name)
        object.add("peerURLs", JSONObject.array(of: member.peerURLs))
        object.add("clientURLs", JSONObject.array(of: member.clientURLs))
        object.add("isLearner", "\(member.isLearner)")
        return object.text
    }
}

extension ProtobufFormat {
    func bytes(_ report: MemberDataReport) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
}
