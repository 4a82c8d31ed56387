/// How often each kind of thing happened. A kind that never happens in many seeds means that the simulator has stopped
/// looking somewhere.
public struct Census: Sendable {
    public enum Kind: Int, CaseIterable, Sendable {
        case elections, leadershipTransfers
        case entriesApplied, proposalsRefused
        case snapshotsSent, snapshotsFailed, snapshotsInstalled, logCuts
        case crashes, crashesOfAll, crashesDuringSync, crashesDuringVoteSync, crashesAfterVote,
            crashesBetweenInstallAndReset
        case restarts, writesLost, stateRollbacks, interruptedInstallsFinished, catchUpsFromLog
        case messagesLost, messagesDuplicated, messagesReordered
        case fullPartitions, oneWayPartitions, isolations
        case slowSyncs, stalls, driftingClocks
        case puts, gets, transactions, deletes, leaseGrants, leaseRenewals, leaseExpiries, compactions
        case leaderReadsForwarded, clientTimeouts, clientRetries
        case watchEvents, watchReconnects, watchCatchUps, watchesCompacted
        case digestsCompared

        /// As the table shows it: `snapshotsSent` is `snapshots sent`.
        public var title: String {
            var title = ""
            for character in String(describing: self) {
                if character.isUppercase { title += " " }
                title += character.lowercased()
            }
            return title
        }

        /// Whether it can happen with so many members.
        public func isPossible(members: Int) -> Bool {
            switch self {
            case .leadershipTransfers, .snapshotsSent, .snapshotsFailed, .snapshotsInstalled,
                .crashesDuringVoteSync, .crashesAfterVote, .crashesBetweenInstallAndReset, .interruptedInstallsFinished,
                .catchUpsFromLog, .messagesLost,
                .messagesDuplicated, .messagesReordered, .fullPartitions, .oneWayPartitions, .isolations,
                .leaderReadsForwarded:
                members > 2
            default: true
            }
        }
    }

    private var counts = [Int](repeating: 0, count: Kind.allCases.count)

    public init() {}

    public subscript(kind: Kind) -> Int {
        get { counts[kind.rawValue] }
        set { counts[kind.rawValue] = newValue }
    }

    mutating func count(_ kind: Kind) { counts[kind.rawValue] += 1 }

    public mutating func add(_ other: Census) {
        for kind in Kind.allCases { self[kind] += other[kind] }
    }
}
