/// Linearizable reads without a log entry. (Dissertation, 6.4.)

extension RaftNode {
    /// Asks for an index at which a read is linearizable once it is applied. The answer comes as a
    /// `ReadState` with the same context in a later Ready, or never: when no leader is known, when
    /// leadership changes or a message is lost. Then ask again.
    public mutating func readIndex(context: [UInt8]) {
        readIndex(ReadQueue.Request(from: id, context: context))
    }

    mutating func readIndex(_ request: ReadQueue.Request) {
        switch role {
        case .leader: admit(request)
        case .follower where leader != .none:
            send(Message(kind: .readIndex, to: leader, from: request.from, context: request.context))
        default: break
        }
    }

    private mutating func admit(_ request: ReadQueue.Request) {
        // A new leader does not know what is committed before it has committed an entry of its
        // own. That holds for a lone voter too: its commit index on disk may lag. (6.4, step 1)
        guard log.term(at: log.commit) == term else { return reads.postpone(request) }
        switch configuration.readOnlyOption {
        case .leaseBased where holdsLease: answer(request, index: log.commit)
        case .quorum, .leaseBased: reads.add(request, index: log.commit)
        }
    }

    mutating func admitPostponedReads() {
        for request in reads.takePostponed() { admit(request) }
    }

    /// Asks everyone to confirm the leadership, once for all reads that arrived since the last Ready.
    mutating func beginReadRound() { broadcastHeartbeat() }

    /// Answers the reads for which a majority has confirmed the leadership since they arrived.
    mutating func answerConfirmedReads() {
        let progress = membership.progress
        let confirmed = membership.configuration.voters.reached { member in
            member == id ? reads.round : progress[member]?.confirmedReadRound
        }
        for read in reads.take(confirmedBy: confirmed) { answer(read.request, index: read.index) }
    }

    private mutating func answer(_ request: ReadQueue.Request, index: LogIndex) {
        if request.from == id {
            readStates.append(ReadState(index: index, context: request.context))
        } else {
            send(Message(kind: .readIndexResponse, to: request.from, index: index, context: request.context))
        }
    }
}
