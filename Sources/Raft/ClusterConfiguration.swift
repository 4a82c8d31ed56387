/// Who belongs to the cluster, and the steps from one configuration to the next.

/// A membership: voters (in two halves while joint), learners, and learners to be.
package struct ClusterConfiguration: Sendable, Equatable {
    package var voters = JointQuorum()
    package var learners: [MemberID] = []
    /// Voters of the outgoing half that become learners when the joint configuration is left: until
    /// then they must keep voting, or the outgoing majority would shrink.
    package var learnersNext: [MemberID] = []
    package var autoLeave = false

    package init() {}

    /// - Throws: `.invalidConfiguration` for lists that overlap where they must not.
    package init(_ state: ConfState) throws(RaftError) {
        func set(_ members: [MemberID]) -> [MemberID] {
            var sorted: [MemberID] = []
            for member in members { sorted.insertSorted(member) }
            return sorted
        }
        voters.incoming.voters = set(state.voters)
        voters.outgoing.voters = set(state.votersOutgoing)
        learners = set(state.learners)
        learnersNext = set(state.learnersNext)
        autoLeave = state.autoLeave
        try check()
    }

    package var confState: ConfState {
        ConfState(
            voters: voters.incoming.voters, learners: learners, votersOutgoing: voters.outgoing.voters,
            learnersNext: learnersNext, autoLeave: autoLeave)
    }

    package var isJoint: Bool { !voters.outgoing.voters.isEmpty }

    /// All voters, of both halves, sorted.
    var allVoters: [MemberID] {
        var all = voters.incoming.voters
        for member in voters.outgoing.voters { all.insertSorted(member) }
        return all
    }

    func isVoter(_ id: MemberID) -> Bool {
        voters.incoming.voters.containsSorted(id) || voters.outgoing.voters.containsSorted(id)
    }

    func contains(_ id: MemberID) -> Bool { isVoter(id) || learners.containsSorted(id) }

    private func check() throws(RaftError) {
        func fail(_ reason: String) throws(RaftError) -> Never { throw .invalidConfiguration(reason: reason) }
        if contains(.none) || learnersNext.containsSorted(.none) {
            try fail("a member of the configuration has id 0, which stands for no member")
        }
        if let member = learners.first(where: isVoter) {
            try fail("learners has \(member), which is both voter and learner")
        }
        // Demotion is put off only for those whose vote the outgoing majority still needs. (4.3; etcd's learners-next.)
        for member in learnersNext where !voters.outgoing.voters.containsSorted(member) {
            try fail("learnersNext has \(member), which is not in votersOutgoing")
        }
        if let member = learnersNext.first(where: voters.incoming.voters.containsSorted) {
            try fail("learnersNext has \(member), which is in voters")
        }
        if isJoint && voters.incoming.voters.isEmpty { try fail("votersOutgoing is set, but voters is empty") }
        if !isJoint && autoLeave {
            try fail("autoLeave is set, but votersOutgoing is empty: there is nothing to leave")
        }
    }
}

/// Why a membership change does not fit the configuration it meets.
package enum ConfigurationChangeError: Error, Equatable, Sendable {
    case alreadyJoint
    case notJoint
    case noVotersToJoin
    case removesAllVoters
    /// Two majorities that may not overlap: only a joint configuration makes that safe. (Dissertation, 4.1.)
    case moreThanOneVoterChanged
    case simpleChangeWhileJoint
}

/// A configuration and the progress of its members, changed together.
package struct Membership: Sendable {
    package var configuration = ClusterConfiguration()
    package var progress: ProgressTable

    package init(progress: ProgressTable) { self.progress = progress }

    /// The membership after `change`. `lastIndex` is where new members are probed from.
    func applying(_ change: ConfChangeV2, lastIndex: LogIndex) throws(ConfigurationChangeError) -> Membership {
        if change.leavesJoint { return try leavingJoint() }
        let (joint, autoLeave) = change.entersJoint
        return joint
            ? try enteringJoint(change.changes, autoLeave: autoLeave, lastIndex: lastIndex)
            : try simple(change.changes, lastIndex: lastIndex)
    }

    /// At most one voter may change: any two majorities then still overlap. (Dissertation, 4.1.)
    package func simple(_ changes: [MemberChange], lastIndex: LogIndex) throws(ConfigurationChangeError) -> Membership {
        if configuration.isJoint { throw .simpleChangeWhileJoint }
        var new = self
        try new.apply(changes, lastIndex: lastIndex)
        let old = configuration.voters.incoming.voters
        let now = new.configuration.voters.incoming.voters
        let changed = old.count { !now.containsSorted($0) } + now.count { !old.containsSorted($0) }
        if changed > 1 { throw .moreThanOneVoterChanged }
        return new
    }

    /// From here on both the old and the new majority decide. (Dissertation, 4.3.)
    package func enteringJoint(
        _ changes: [MemberChange], autoLeave: Bool, lastIndex: LogIndex
    ) throws(ConfigurationChangeError) -> Membership {
        if configuration.isJoint { throw .alreadyJoint }
        if configuration.voters.incoming.voters.isEmpty { throw .noVotersToJoin }
        var new = self
        new.configuration.voters.outgoing = configuration.voters.incoming
        try new.apply(changes, lastIndex: lastIndex)
        new.configuration.autoLeave = autoLeave
        return new
    }

    /// Only the new majority decides from here on.
    package func leavingJoint() throws(ConfigurationChangeError) -> Membership {
        if !configuration.isJoint { throw .notJoint }
        var new = self
        for member in configuration.learnersNext {
            new.configuration.learners.insertSorted(member)
            new.setLearner(member, true)
        }
        new.configuration.learnersNext = []
        new.configuration.voters.outgoing = MajorityQuorum()
        new.configuration.autoLeave = false
        for member in configuration.voters.outgoing.voters where !new.configuration.contains(member) {
            new.progress.remove(member)
        }
        return new
    }

    private mutating func apply(_ changes: [MemberChange], lastIndex: LogIndex) throws(ConfigurationChangeError) {
        for change in changes where change.member != .none {
            switch change.kind {
            case .addVoter: makeVoter(change.member, lastIndex)
            case .addLearner: makeLearner(change.member, lastIndex)
            case .remove: remove(change.member)
            case .update: break
            }
        }
        if configuration.voters.incoming.voters.isEmpty { throw .removesAllVoters }
    }

    private mutating func makeVoter(_ id: MemberID, _ lastIndex: LogIndex) {
        configuration.learners.removeSorted(id)
        configuration.learnersNext.removeSorted(id)
        configuration.voters.incoming.voters.insertSorted(id)
        if progress.position(of: id) == nil {
            progress.add(id, lastIndex: lastIndex, isLearner: false)
        } else {
            setLearner(id, false)
        }
    }

    private mutating func makeLearner(_ id: MemberID, _ lastIndex: LogIndex) {
        guard let position = progress.position(of: id) else {
            configuration.learners.insertSorted(id)
            progress.add(id, lastIndex: lastIndex, isLearner: true)
            return
        }
        if progress.rows[position].isLearner { return }
        configuration.voters.incoming.voters.removeSorted(id)
        if configuration.voters.outgoing.voters.containsSorted(id) {
            configuration.learnersNext.insertSorted(id)
        } else {
            configuration.learners.insertSorted(id)
            setLearner(id, true)
        }
    }

    private mutating func remove(_ id: MemberID) {
        configuration.voters.incoming.voters.removeSorted(id)
        configuration.learners.removeSorted(id)
        configuration.learnersNext.removeSorted(id)
        // An outgoing voter is still needed until the joint configuration is left.
        if !configuration.voters.outgoing.voters.containsSorted(id) { progress.remove(id) }
    }

    private mutating func setLearner(_ id: MemberID, _ isLearner: Bool) {
        if let position = progress.position(of: id) { progress.rows[position].isLearner = isLearner }
    }

    /// The membership that a stored configuration stands for; all members are probed from `lastIndex`.
    mutating func restore(_ configuration: ClusterConfiguration, lastIndex: LogIndex) {
        self.configuration = configuration
        progress.rows = []
        for member in configuration.allVoters { progress.add(member, lastIndex: lastIndex, isLearner: false) }
        for member in configuration.learners { progress.add(member, lastIndex: lastIndex, isLearner: true) }
    }
}

extension [MemberID] {
    /// The first position that does not sort before `id`.
    private func lowerBound(_ id: MemberID) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func containsSorted(_ id: MemberID) -> Bool {
        let position = lowerBound(id)
        return position < count && self[position] == id
    }

    mutating func insertSorted(_ id: MemberID) {
        let position = lowerBound(id)
        if position == count || self[position] != id { insert(id, at: position) }
    }

    mutating func removeSorted(_ id: MemberID) {
        let position = lowerBound(id)
        if position < count, self[position] == id { remove(at: position) }
    }
}
