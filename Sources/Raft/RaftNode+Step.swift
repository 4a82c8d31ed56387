/// Messages from outside: what is refused, and what terms mean.

extension Message {
    /// The context of a vote request in a transfer of leadership, which overrides the leader's lease.
    static let transferContext: [UInt8] = [1]
}

extension RaftNode {
    /// Terms and indexes beyond this are refused, so that no arithmetic on accepted ones overflows.
    static let largestNumber: UInt64 = 1 << 62

    /// Takes a message from another member (or one of this member's own, out of
    /// `messagesAfterAppend`). Whatever it holds, the node stays consistent: what cannot be is refused.
    /// The transport vouches for `from` alone: that it names the member at the connection's other end.
    /// - Throws: `.localMessage`, `.unknownSender`, `.invalidMessage`, `.malformedConfChange`,
    ///   `.proposalDropped` for a forwarded proposal.
    public mutating func step(_ message: Message) throws(RaftError) {
        if message.from == id {
            // One's own answer means nothing once one is not a member anymore.
            guard membership.progress.position(of: id) != nil else { return }
        } else if message.kind.isResponse, membership.progress.position(of: message.from) == nil {
            throw .unknownSender(message.from)
        }
        try checkShape(of: message)
        try receive(message)
    }

    private mutating func receive(_ message: Message) throws(RaftError) {
        // Requests on a client's behalf belong to no term.
        if message.kind == .propose || message.kind == .readIndex { return try dispatch(message) }
        if message.term < term { return answerOutdated(message) }
        if message.term > term {
            // Members that hear a leader keep to it; without this a member that was removed or cut off
            // would disrupt the cluster. A transfer is the leader's own wish. (Dissertation, 4.2.3 and 3.10.)
            if message.kind.isVoteRequest, keepsToLeader, message.context != Message.transferContext { return }
            switch message.kind {
            case .preVote: break  // A pre-vote never changes anyone's term. (9.6)
            case .preVoteResponse where !message.reject: break  // Carries the term it is a promise for.
            case .append, .heartbeat, .snapshot: becomeFollower(message.term, leader: message.from)
            default: becomeFollower(message.term, leader: .none)
            }
        }
        try dispatch(message)
    }

    private mutating func dispatch(_ message: Message) throws(RaftError) {
        switch message.kind {
        case .vote, .preVote: answerVote(message)
        case .voteResponse, .preVoteResponse: countVote(message)
        case .append, .heartbeat, .snapshot: try receiveFromLeader(message)
        case .appendResponse: try receiveAppendResponse(message)
        case .heartbeatResponse: receiveHeartbeatResponse(message)
        case .propose: try propose(entries: message.entries, from: message.from)
        case .readIndex: readIndex(ReadQueue.Request(from: message.from, context: message.context))
        case .readIndexResponse:
            if role == .follower { readStates.append(ReadState(index: message.index, context: message.context)) }
        case .transferLeader: transferLeadership(to: message.from)
        case .timeoutNow: receiveTimeoutNow()
        default: throw .localMessage(message.kind)
        }
    }

    private mutating func answerOutdated(_ message: Message) {
        switch message.kind {
        case .append, .heartbeat:
            // With pre-vote or check-quorum a member whose term ran ahead cannot depose this old leader by
            // a vote request, as that may be ignored; so tell the leader about the newer term.
            if configuration.checkQuorum || configuration.preVote {
                send(Message(kind: .appendResponse, to: message.from))
            }
        case .preVote:
            // Without an answer, members with differing terms could go on asking forever.
            send(Message(kind: .preVoteResponse, to: message.from, term: term, reject: true))
        default: break
        }
    }

    /// Queues a message of this member. Votes and acknowledgements speak of what must be durable first. (3.8, and figure
    /// 3.1: persistent state is updated before responding to RPCs.) Pre-votes promise nothing, but their answers stay in
    /// order with the rest.
    mutating func send(_ message: Message) {
        var message = message
        if message.from == .none { message.from = id }
        switch message.kind {
        case .vote, .preVote: messages.append(message)
        case .voteResponse, .preVoteResponse: messagesAfterAppend.append(message)
        case .propose, .readIndex: messages.append(message)
        case .appendResponse:
            message.term = term
            messagesAfterAppend.append(message)
        default:
            message.term = term
            messages.append(message)
        }
    }

    // MARK: Validation

    private func checkShape(of message: Message) throws(RaftError) {
        func require(_ condition: Bool, _ reason: @autoclosure () -> String) throws(RaftError) {
            if !condition { throw .invalidMessage(message.kind, from: message.from, reason: reason()) }
        }
        switch message.kind {
        case .hup, .beat, .unreachable, .snapshotStatus, .checkQuorum, .forgetLeader, .storageAppend,
            .storageAppendResponse, .storageApply, .storageApplyResponse:
            throw .localMessage(message.kind)
        default: break
        }
        try require(message.to == id, "it is addressed to \(message.to), this is \(id)")
        try require(message.from != .none, "it has no sender")
        try require(message.from != id || message.kind.canBeOwn, "a member does not send this to itself")
        // Below a power of two are those whose union of bits is.
        let numbers = message.term.rawValue | message.logTerm.rawValue | message.index.rawValue
        try require(
            numbers | message.commit.rawValue | message.rejectHint.rawValue < Self.largestNumber,
            "a term or an index is beyond all reason")
        if message.kind != .propose && message.kind != .readIndex {
            try require(message.term > .zero, "it has no term")
        }
        switch message.kind {
        case .append:
            try require(
                (message.index == .zero) == (message.logTerm == .zero) && message.logTerm <= message.term,
                "there is no entry \(message.logTerm)/\(message.index) in term \(message.term)")
            var previous = (index: message.index, term: message.logTerm)
            for entry in message.entries {
                guard
                    entry.index == previous.index.next && entry.term >= previous.term && entry.term > .zero
                        && entry.term <= message.term
                else {
                    throw .invalidMessage(
                        .append, from: message.from,
                        reason: "entry \(entry.term)/\(entry.index) follows \(previous.term)/\(previous.index)")
                }
                if entry.kind != .normal { _ = try ConfChangeV2(entry) }
                previous = (entry.index, entry.term)
            }
        case .snapshot:
            guard let snapshot = message.snapshot else {
                throw .invalidMessage(.snapshot, from: message.from, reason: "it has no snapshot")
            }
            try require(
                snapshot.index > .zero && snapshot.index.rawValue < Self.largestNumber && snapshot.term > .zero
                    && snapshot.term <= message.term, "its snapshot is at \(snapshot.term)/\(snapshot.index)")
            let members = try ClusterConfiguration(snapshot.configuration)
            try require(!members.voters.incoming.voters.isEmpty, "its snapshot has no voters")
        case .propose:
            try require(!message.entries.isEmpty, "it proposes nothing")
            for entry in message.entries where entry.kind != .normal { _ = try ConfChangeV2(entry) }
        default: break
        }
    }
}

extension Message.Kind {
    /// What a member sends to itself; a wish to transfer leadership may name the leader as its origin, and what was
    /// passed on to a member that no longer leads may be passed back to its origin, which now does.
    var canBeOwn: Bool {
        switch self {
        case .appendResponse, .voteResponse, .preVoteResponse, .transferLeader, .propose, .readIndex: true
        default: false
        }
    }
    var isVoteRequest: Bool { self == .vote || self == .preVote }
    var isResponse: Bool {
        switch self {
        case .appendResponse, .voteResponse, .preVoteResponse, .heartbeatResponse, .readIndexResponse: true
        default: false
        }
    }
}
