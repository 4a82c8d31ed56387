/// Roles, campaigns and votes. (Dissertation, 3.4, 3.6.1, 4.2.3 and 9.6.)

extension RaftNode {
    enum Campaign {
        /// Asks whether an election could be won.
        case preElection
        case election
        /// At the old leader's request: overrides the lease of those who still hear it.
        case transfer
    }

    /// Starts an election (a pre-vote first, if so configured). A leader ignores it.
    /// - Throws: `.cannotCampaign`.
    public mutating func campaign() throws(RaftError) {
        if let refusal = startElection(configuration.preVote ? .preElection : .election) {
            throw .cannotCampaign(refusal)
        }
    }

    /// - Returns: why not, if it did not start one.
    mutating func startElection(_ campaign: Campaign) -> RaftError.CampaignRefusal? {
        if role == .leader { return nil }
        if log.pendingSnapshot != nil { return .installingSnapshot }
        if !isPromotable { return .notVoter }
        // This member would count majorities of a configuration that the cluster has already left.
        // (4.1 lets a member use a configuration from when it is in its log; here, as in etcd, from when it is applied.)
        // (etcd-io/etcd issue 7280 has the schedule that elects two leaders.)
        if log.hasUnappliedConfChange { return .unappliedConfChange }
        if campaign != .transfer, hasPromisedLease { return .leaseHeld }
        run(campaign)
        return nil
    }

    private mutating func run(_ campaign: Campaign) {
        let request: Message.Kind
        let response: Message.Kind
        let electionTerm: Term
        if campaign == .preElection {
            becomePreCandidate()
            (request, response, electionTerm) = (.preVote, .preVoteResponse, Term(term.rawValue + 1))
        } else {
            becomeCandidate()
            (request, response, electionTerm) = (.vote, .voteResponse, term)
        }
        for voter in membership.configuration.allVoters {
            if voter == id {
                // One's own vote counts like any other: when it is durable.
                send(Message(kind: response, to: id, term: electionTerm))
            } else {
                send(
                    Message(
                        kind: request, to: voter, term: electionTerm, logTerm: log.lastTerm, index: log.lastIndex,
                        context: campaign == .transfer ? Message.transferContext : []))
            }
        }
    }

    // MARK: Roles

    private mutating func reset(_ new: Term) {
        if term != new {
            term = new
            vote = .none
        }
        leader = .none
        ticksSinceContact = 0
        ticksSinceHeartbeat = 0
        randomizedElectionTimeoutTicks =
            configuration.electionTimeoutTicks + random.next(below: configuration.electionTimeoutTicks)
        transferee = .none
        hasAskedForElection = false
        votes = []
        membership.progress.reset(lastIndex: log.lastIndex, own: id)
        pendingConfIndex = .zero
        uncommittedBytes = 0
        reads = ReadQueue()
    }

    mutating func becomeFollower(_ new: Term, leader newLeader: MemberID) {
        reset(new)
        role = .follower
        leader = newLeader
    }

    private mutating func becomePreCandidate() {
        // Neither term nor vote change: whether the election could be won is only asked.
        role = .preCandidate
        leader = .none
        votes = []
    }

    private mutating func becomeCandidate() {
        precondition(role != .leader, "a leader does not campaign")
        reset(Term(term.rawValue + 1))
        role = .candidate
        vote = id
    }

    private mutating func becomeLeader() {
        precondition(role == .candidate, "only a candidate becomes leader")
        reset(term)
        role = .leader
        leader = id
        if let own = membership.progress.position(of: id) {
            membership.progress.rows[own].becomeReplicate()
            membership.progress.rows[own].isRecentlyActive = true
        }
        // There may be a membership change in the log that is not applied: until the log as it is now
        // has been, none is accepted.
        // (4.1; Ongaro's correction of 2015: no change before the leader has committed an entry of its term.)
        pendingConfIndex = log.lastIndex
        // Entries of earlier terms commit only along with one of this term. (3.6.2)
        _ = appendAsLeader([Entry(term: .zero, index: .zero, payload: [])])
        broadcastAppend()
    }

    // MARK: Votes

    mutating func answerVote(_ request: Message) {
        // One vote a term (figure 3.1, RequestVote 2): one once given is repeated, a new one is only given while no leader
        // is known in this term. A pre-vote for a later term binds nobody. (9.6)
        let mayVote =
            vote == request.from || (vote == .none && leader == .none)
            || (request.kind == .preVote && request.term > term)
        let response: Message.Kind = request.kind == .vote ? .voteResponse : .preVoteResponse
        // A candidate must have all that may be committed, which its log's end tells. (3.6.1, 3.6.3)
        // A learner votes too when asked: it may have been promoted and not know it yet, and the
        // cluster may need its vote. (4.2.1 counts non-voters for nothing; etcd-io/etcd pull request 10998.)
        guard mayVote, log.isUpToDate(request.index, request.logTerm) else {
            return send(Message(kind: response, to: request.from, term: term, reject: true))
        }
        // The answer carries the term it is given for, which for a pre-vote is not this member's.
        send(Message(kind: response, to: request.from, term: request.term))
        if request.kind == .vote {
            ticksSinceContact = 0
            vote = request.from
        }
    }

    mutating func countVote(_ response: Message) {
        guard
            (role == .candidate && response.kind == .voteResponse)
                || (role == .preCandidate && response.kind == .preVoteResponse)
        else { return }
        // A pre-vote given for an earlier question is no answer to this one.
        if response.kind == .preVoteResponse, !response.reject, response.term.rawValue != term.rawValue + 1 { return }
        // The first answer of a member is the one that counts: answers may arrive twice.
        if !votes.contains(where: { $0.member == response.from }) {
            votes.append((response.from, !response.reject))
        }
        let result = membership.configuration.voters.result { member in
            votes.first { $0.member == member }?.granted
        }
        switch result {
        case .pending: break
        case .lost: becomeFollower(term, leader: .none)
        case .won where role == .preCandidate: run(.election)
        case .won:
            // Not before its own vote, and with it the term, is durable, even if the others suffice. A leader that
            // forgot its term in a crash could be elected in it once more, by the same votes, and would put other
            // entries where its first ones are. (3.8: the term is durable before anything is done in it.)
            if votes.contains(where: { $0.member == id }) { becomeLeader() }
        }
    }

    /// A leader that has not heard from a majority for an election timeout may have been replaced
    /// without knowing. (Dissertation, 6.2.)
    mutating func checkQuorum() {
        let progress = membership.progress
        let active = membership.configuration.voters.result { member in
            member == id ? true : progress[member]?.isRecentlyActive ?? false
        }
        if active != .won { return becomeFollower(term, leader: .none) }
        for position in membership.progress.rows.indices where membership.progress.rows[position].id != id {
            membership.progress.rows[position].isRecentlyActive = false
        }
    }
}
