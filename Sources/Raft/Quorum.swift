/// The arithmetic of majorities, single and joint. (Dissertation, 3.6 and 4.3.)

/// What the votes counted so far say.
package enum VoteResult: Sendable {
    case pending, lost, won
}

/// A majority of a set of voters. The empty set agrees to everything, which is what makes it the
/// neutral half of a joint quorum.
package struct MajorityQuorum: Sendable, Equatable {
    /// Sorted by id, without duplicates.
    package var voters: [MemberID]

    package init(_ voters: [MemberID] = []) { self.voters = voters }

    /// The largest value that a majority has reached, where a voter without a value has reached 0;
    /// `UInt64.max` without voters.
    package func reached(_ value: (MemberID) -> UInt64?) -> UInt64 {
        let count = voters.count
        guard count > 0 else { return .max }
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: count) { sorted in
            // Insertion sort, descending: clusters are small and nothing is allocated.
            for filled in 0..<count {
                let new = value(voters[filled]) ?? 0
                var position = filled
                while position > 0, sorted[position - 1] < new {
                    sorted[position] = sorted[position - 1]
                    position -= 1
                }
                sorted[position] = new
            }
            return sorted[count / 2]
        }
    }

    package func result(_ vote: (MemberID) -> Bool?) -> VoteResult {
        guard !voters.isEmpty else { return .won }
        var granted = 0
        var missing = 0
        for voter in voters {
            switch vote(voter) {
            case true?: granted += 1
            case false?: break
            case nil: missing += 1
            }
        }
        let majority = voters.count / 2 + 1
        if granted >= majority { return .won }
        return granted + missing >= majority ? .pending : .lost
    }
}

/// Both majorities of a joint configuration must agree. (Dissertation, 4.3.) With an empty outgoing
/// half it is the plain majority of the incoming one.
package struct JointQuorum: Sendable, Equatable {
    package var incoming: MajorityQuorum
    package var outgoing: MajorityQuorum

    package init(incoming: MajorityQuorum = MajorityQuorum(), outgoing: MajorityQuorum = MajorityQuorum()) {
        self.incoming = incoming
        self.outgoing = outgoing
    }

    package func reached(_ value: (MemberID) -> UInt64?) -> UInt64 {
        outgoing.voters.isEmpty ? incoming.reached(value) : min(incoming.reached(value), outgoing.reached(value))
    }

    package func result(_ vote: (MemberID) -> Bool?) -> VoteResult {
        switch (incoming.result(vote), outgoing.result(vote)) {
        case (.won, .won): .won
        case (.lost, _), (_, .lost): .lost
        default: .pending
        }
    }
}
