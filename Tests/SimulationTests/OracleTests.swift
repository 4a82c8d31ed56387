import Testing

@testable import Simulation

/// What the simulator's oracle says of a new leader's log.
@Suite struct LeaderCompletenessTests {
    private var oracle: Oracle

    init() throws { oracle = try Oracle() }

    private mutating func apply(_ indexes: ClosedRange<UInt64>) throws {
        let entries = indexes.map { Entry(term: Term(1), index: LogIndex($0), payload: []) }
        try oracle.observe(entries, by: MemberID(1), now: 0)
    }

    /// - Returns: whether it is a violation.
    private mutating func lead(_ member: UInt64, term: UInt64, logEnd: UInt64) -> Bool {
        _ = oracle.checkLeader(MemberID(member), Term(term), lastIndex: LogIndex(logEnd))
        return oracle.takeViolation() != nil
    }

    @Test mutating func aLeaderThatLacksWhatWasAppliedIsAViolation() throws {
        try apply(1...2)
        let (whole, short) = (lead(1, term: 2, logEnd: 2), lead(2, term: 3, logEnd: 1))
        #expect(!whole && short)
    }

    @Test mutating func aLeaderElectedAfterItsSuccessorNeedsOnlyWhatWasAppliedBeforeThatOne() throws {
        try apply(1...2)
        let first = lead(1, term: 5, logEnd: 2)
        try apply(3...6)
        let successor = lead(2, term: 8, logEnd: 6)
        try apply(7...8)
        let beforeBoth = lead(3, term: 4, logEnd: 2)
        let between = lead(3, term: 6, logEnd: 5)
        let after = lead(3, term: 9, logEnd: 7)
        #expect(!first && !successor && !beforeBoth && between && after)
    }
}
