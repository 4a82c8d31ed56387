import LaunchModel

/// What an agent has to remember of an instance beside the directories of its runs, so that the next agent goes on
/// where it stood: written to the instance's directory before the step that it speaks of is done.
struct InstanceRecord: Record {
    /// Of the file. A reader takes a newer one for damaged.
    static let currentFormat = 1
    var format = Self.currentFormat

    /// Of the assignment that all of this is about.
    var token: Int64
    /// The assignment as last seen; nil if its value could not be read.
    var assignment: Assignment?
    /// The ``Assignment/generation`` since which is counted.
    var generation: Int
    /// The number of the last attempt that was begun. Never goes back while the token stays.
    var attempt = 0
    /// Runs begun in this generation.
    var starts = 0
    /// Ends in a row, with less than a minute up before each, that were answered by a restart.
    var failuresInRow = 0

    /// What the report says; nil as long as there is nothing to report.
    var state: Report.State?
    var since: Timestamp
    var pid: Int32?
    var startedAt: Timestamp?
    var lastEnd: Report.End?
    var reason: String?
    var outputs: [String: String] = [:]
    /// When the next attempt is due, while ``state`` is `waiting`.
    var retryAt: Timestamp?

    init(token: Int64, assignment: Assignment?, since: Timestamp) {
        self.token = token
        self.assignment = assignment
        self.generation = assignment?.generation ?? 0
        self.since = since
    }

    /// Of an instance whose file is lost, by what a run of it shows.
    static func unknown(_ run: RunKey, _ now: Now) -> InstanceRecord {
        var record = InstanceRecord(token: run.token, assignment: nil, since: now.wall)
        record.enter(.starting, now)
        return record
    }

    var report: Report? {
        guard let state else { return nil }
        return Report(
            token: token, generation: generation, state: state, since: since, pid: pid, startedAt: startedAt,
            restarts: max(0, starts - 1), lastEnd: lastEnd, reason: reason, outputs: outputs)
    }

    mutating func enter(_ state: Report.State, _ now: Now, reason: String? = nil) {
        if self.state != state { since = now.wall }
        self.state = state
        // A command may be as long as the store allows; the reason for a failure need not be.
        self.reason = reason.map { $0.count <= 1_000 ? $0 : $0.prefix(1_000) + "…" }
        retryAt = nil
    }
}
