/// The consensus thread.
extension MemberLife {
    func tick() {
        // Ticks missed during a stall are not made up, as in production.
        guard cluster.now >= stalledUntil else { return }
        consensus.tick()
        performEffects()
    }

    func consensusTurn() {
        var events: [ConsensusEvent] = []
        swap(&events, &consensusMail)
        for event in events { handle(event) }
        performEffects()
        events.removeAll(keepingCapacity: true)
        if consensusMail.isEmpty { swap(&events, &consensusMail) }
    }

    private func handle(_ event: ConsensusEvent) {
        switch event {
        case .messages(let messages):
            receive(messages)
        case .proposal(let proposal):
            consensus.propose([proposal])
        case .withdrawn(let request):
            consensus.withdraw([request])
        case .read(let read):
            nextToken += 1
            waitingReads[nextToken] = read
            consensus.read(ReadToken(nextToken), onLeader: read.onLeader)
        case .appended(let term, let index, let toSelf):
            if index > .zero { consensus.appended(term: term, index: index) }
            if !toSelf.isEmpty { receive(toSelf) }
        case .snapshotInstalled(let index):
            consensus.snapshotInstalled(index: index)
        case .snapshotReceived(let message, let state):
            // Apart from what came before, so that the effects say whether Raft wants this very one.
            performEffects()
            staged = state
            receive([message])
            performEffects()
        case .snapshotReported(let member, let succeeded):
            consensus.reportSnapshot(to: member, succeeded: succeeded)
        case .unreachable(let member):
            consensus.reportUnreachable(member)
        case .applied(let index):
            consensus.applied(upTo: index)
        case .flushed(let index, let configuration):
            consensus.stateFlushed(upTo: index, configuration: configuration)
        case .transferLeadership(let member):
            consensus.transferLeadership(to: member)
        }
    }

    private func receive(_ messages: [Message]) {
        // Members that keep the rules never send each other what the rules refuse.
        if consensus.receive(messages) > 0 { cluster.fail("member \(id) refused a message of a member") }
    }

    private func performEffects() {
        perform(consensus.takeEffects())
        // Not in the midst of the effects that brought the leader: those are carried out in order.
        let retried = retriedReads
        retriedReads = []
        for token in retried { consensus.read(token, onLeader: true) }
        if !retried.isEmpty { perform(consensus.takeEffects()) }
    }

    private func perform(_ effects: ConsensusEffects) {
        if let leadership = effects.leadership { note(leadership, effects.entriesToAppend) }
        if let commit = effects.hardState?.commit, commit > knownCommit {
            knownCommit = commit
            let leadership = consensus.leadership
            if leadership.isLeader { cluster.oracle.checkCommit(of: id, leadership.term, to: commit) }
        }
        if !effects.messages.isEmpty { cluster.send(effects.messages, from: place) }
        for message in effects.snapshotsToSend { post(.sendSnapshot(message)) }
        if effects.needsAppend { append(effects) }
        staged = nil
        if !effects.committed.isEmpty { post(.committed(effects.committed)) }
        for confirmed in effects.confirmedReads {
            let reads = confirmed.tokens.compactMap { waitingReads.removeValue(forKey: $0.rawValue) }
            post(.reads(after: confirmed.index, reads))
        }
        for (token, leader) in effects.redirectedReads { redirect(token, to: leader) }
        for (request, _) in effects.refusedProposals { cluster.refuse(request, at: place) }
    }

    private func append(_ effects: ConsensusEffects) {
        cluster.oracle.checkAppended(effects.entriesToAppend, by: id)
        if effects.truncateLogUpTo != nil { cluster.census.count(.logCuts) }
        post(
            LogJob(
                hardState: effects.hardState, snapshot: effects.snapshotToInstall.map { ($0, staged) },
                entries: effects.entriesToAppend, mustSync: effects.mustSync,
                messages: effects.messagesAfterAppend,
                truncateUpTo: effects.truncateLogUpTo))
    }

    private func note(_ leadership: Leadership, _ appended: [Entry]) {
        cluster.trace.add(leadership.term.rawValue, leadership.leader.rawValue, id.rawValue)
        if leadership.isLeader {
            // An election comes with entries of its term, which are none of what the voters judged.
            let own = appended.first { $0.term == leadership.term }
            cluster.noteLeader(
                id, leadership.term, lastIndex: own?.index.previous ?? consensus.status.lastIndex)
        }
        post(.leadership(leadership))
        guard leadership.leader != .none else { return }
        retriedReads += parked
        parked = []
    }

    // MARK: Reads that only the leader answers

    private func redirect(_ token: ReadToken, to leader: MemberID) {
        guard let read = waitingReads[token.rawValue] else { return }
        switch read.asker {
        case .member(let member, let theirToken):
            waitingReads[token.rawValue] = nil
            cluster.send(Parcel(from: place, to: member, .leaseRenewed(token: theirToken, outcome: nil)))
        case .client where leader == .none || leader == id:
            parked.append(token)
        case .client:
            waitingReads[token.rawValue] = nil
            guard case .renewLease(let lease) = read.question, let target = cluster.place(of: leader) else { return }
            askedOfLeader[token.rawValue] = read
            cluster.census.count(.leaderReadsForwarded)
            cluster.send(Parcel(from: place, to: target, .leaseRenewal(lease: lease, token: token.rawValue)))
        }
    }

    /// An answer of the leader. Without one the client asks again.
    func leaseRenewed(_ token: UInt64, _ outcome: Result<Int64, StoreError>?) {
        guard let read = askedOfLeader.removeValue(forKey: token), case .client(let address) = read.asker,
            let outcome
        else { return }
        cluster.reply(.leaseRenewed(outcome), to: address, from: place)
    }
}
