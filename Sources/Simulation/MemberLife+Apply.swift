/// The apply thread.
extension MemberLife {
    func applyTurn() throws {
        var events: [ApplyEvent] = []
        swap(&events, &applyMail)
        var committed: [Entry] = []
        for event in events {
            if case .committed(let entries) = event {
                if committed.isEmpty { committed = entries } else { committed += entries }
                continue
            }
            try applyAll(&committed)
            try handle(event)
        }
        try applyAll(&committed)
        try answerWaitingReads()
        if apply.watchesNeedCatchUp {
            cluster.census.count(.watchCatchUps)
            deliver(try apply.catchUpWatches())
        }
        if apply.store.isCompacting { apply.compactStep(budget: 50) }
        if applyMail.isEmpty, apply.watchesNeedCatchUp || apply.store.isCompacting { post(.leaseTurn) }
    }

    private func handle(_ event: ApplyEvent) throws {
        switch event {
        case .committed:
            break
        case .reads(let index, let reads):
            if index <= apply.applied {
                for read in reads { try answer(read) }
            } else {
                readsByIndex.append((index, reads))
            }
        case .serializableRead(let read):
            try answer(read)
        case .watch(let client, let request):
            if case .success(let watch) = apply.createWatch(request) {
                watchers[watch] = client
            } else {
                cluster.fail("member \(id) refused a watch")
            }
        case .leadership(let leadership):
            leadingTerm = leadership.term
            guard leadership.isLeader != isLeader else { return }
            isLeader = leadership.isLeader
            apply.leadershipChanged(
                isLeader: isLeader, now: clock, leaseExtension: cluster.swarm.electionTimeout * 1_000)
        case .sendSnapshot(let message):
            sendSnapshot(message)
        case .install(let metadata, let state):
            try install(metadata, state)
        case .leaseTurn:
            _ = apply.lookedAtClock(now: clock)
            if isLeader { revokeExpiredLeases() }
        }
    }

    // MARK: Commands

    /// Applied in pieces that end where all members compare their states.
    private func applyAll(_ committed: inout [Entry]) throws {
        var rest = committed[...]
        committed = []
        while let first = rest.first {
            let upToMark = Oracle.digestInterval - first.index.rawValue % Oracle.digestInterval + 1
            let piece = Array(rest.prefix(Int(upToMark)))
            rest = rest.dropFirst(piece.count)
            try apply(piece)
        }
    }

    private func apply(_ entries: [Entry]) throws {
        try cluster.oracle.checkDurable(entries, by: id, in: cluster.disks[place].log)
        try cluster.observe(entries, by: self)
        let batch = try apply.apply(entries)
        try cluster.oracle.checkState(apply, of: id, &cluster.census)
        startFlushIfDue()
        for answer in batch.answers {
            guard case .command(let outcome) = answer.outcome else { continue }
            cluster.reply(answer.requestID, outcome, revision: answer.revision, from: place)
        }
        deliver(batch.deliveries)
        post(.applied(apply.applied))
        noteCatchUp()
    }

    private func noteCatchUp() {
        guard !hasCaughtUp, !hasInstalled, number > 0, apply.applied >= cluster.oracle.lastApplied,
            apply.applied > startApplied
        else { return }
        hasCaughtUp = true
        cluster.census.count(.catchUpsFromLog)
    }

    private func deliver(_ deliveries: [WatchDelivery]) {
        for delivery in deliveries {
            guard let client = watchers[delivery.watch] else { continue }
            if case .compacted = delivery.content { watchers[delivery.watch] = nil }
            cluster.deliver(delivery, to: client, from: self)
        }
    }

    // MARK: The state on disk

    private var image: StateImage {
        StateImage(
            history: apply.store.history, applied: apply.applied, term: apply.appliedTerm,
            configuration: apply.configuration)
    }

    private func startFlushIfDue() {
        guard flushing == nil, apply.applied.rawValue - lastFlushed.rawValue >= cluster.swarm.flushEntries else {
            return
        }
        flushing = image
        // The flush thread may be done before this turn is.
        guard cluster.swarm.flushTime > 0 else { return flushed() }
        let time = cluster.random.below(cluster.swarm.flushTime)
        cluster.agenda.schedule(.flushed(place: place, life: number), at: cluster.now + time)
    }

    func flushed() {
        guard let image = flushing.take() else { return }
        // An installed snapshot may have come in between.
        if image.applied > cluster.disks[place].state.applied { cluster.disks[place].state = image }
        lastFlushed = image.applied
        post(.flushed(image.applied, image.configuration))
    }

    // MARK: Reads

    private func answerWaitingReads() throws {
        guard !readsByIndex.isEmpty else { return }
        for (index, reads) in readsByIndex where index <= apply.applied {
            for read in reads { try answer(read) }
        }
        readsByIndex.removeAll { $0.index <= apply.applied }
    }

    private func answer(_ read: WaitingRead) throws {
        switch (read.question, read.asker) {
        case (.range(let query), .client(let address)):
            cluster.reply(.range(try apply.store.range(query)), to: address, from: place)
        case (.renewLease(let lease), .client(let address)):
            cluster.reply(.leaseRenewed(apply.renewLease(lease, now: clock)), to: address, from: place)
        case (.renewLease(let lease), .member(let member, let token)):
            let outcome = apply.renewLease(lease, now: clock)
            cluster.send(Parcel(from: place, to: member, .leaseRenewed(token: token, outcome: outcome)))
        case (.range, .member):
            break
        }
    }

    // MARK: Leases

    private func revokeExpiredLeases() {
        for lease in apply.expiredLeases(now: clock, limit: 100) {
            internalRequests += 1
            cluster.census.count(.leaseExpiries)
            let request = ClientAddress.internalRequest(place: place, life: number, count: internalRequests)
            let proposal = Proposal(
                origin: id, requestID: request, command: .store(.leaseRevoke(LeaseRevokeCommand(id: lease))))
            post(
                .proposal(
                    ProposedEntry(requestID: request, payload: proposal.encoded(), leadingTerm: leadingTerm)))
        }
    }

    // MARK: Snapshots

    private func sendSnapshot(_ request: Message) {
        var message = request
        let state = image
        message.snapshot = SnapshotMetadata(index: state.applied, term: state.term, configuration: state.configuration)
        cluster.sendSnapshot(message, state, from: self)
    }

    private func install(_ metadata: SnapshotMetadata, _ staged: StateImage?) throws {
        guard var state = staged, state.applied == metadata.index else {
            throw Violation("member \(id) has no state for the snapshot at \(metadata.index)")
        }
        state.isInstalled = true
        try apply.replaceState(
            state.history, applied: metadata.index, term: metadata.term, configuration: metadata.configuration)
        cluster.disks[place].state = state
        flushing = nil
        lastFlushed = metadata.index
        hasInstalled = true
        cluster.census.count(.snapshotsInstalled)
        cluster.trace.add(metadata.index.rawValue, metadata.term.rawValue, id.rawValue)
        apply.leadershipChanged(isLeader: isLeader, now: clock, leaseExtension: cluster.swarm.electionTimeout * 1_000)
        resetLog()
    }
}
