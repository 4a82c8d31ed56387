/// The log thread: what arrived while the last sync ran goes into the next one.
extension MemberLife {
    func logTurn() {
        guard case .idle = logPhase, !logMail.isEmpty else { return }
        var group = LogJob()
        var taken = 0
        while taken < logMail.count {
            // Nothing before a snapshot may be written after it, nor the other way round.
            if logMail[taken].snapshot != nil { break }
            merge(logMail[taken], into: &group)
            taken += 1
        }
        if taken == 0 {
            prepareInstall(logMail.removeFirst())
        } else {
            logMail.removeFirst(taken)
            write(group)
        }
    }

    private func merge(_ job: LogJob, into group: inout LogJob) {
        if let hardState = job.hardState { group.hardState = hardState }
        group.mustSync = group.mustSync || job.mustSync
        if group.entries.isEmpty {
            group.entries = job.entries
        } else if let first = job.entries.first {
            while let last = group.entries.last, last.index >= first.index { group.entries.removeLast() }
            group.entries.append(contentsOf: job.entries)
        }
        group.messages.append(contentsOf: job.messages)
        if let index = job.truncateUpTo { group.truncateUpTo = index }
    }

    private func write(_ group: LogJob) {
        if let hardState = group.hardState {
            self.hardState = hardState
            waitingHardState = hardState
        }
        if group.mustSync {
            cluster.disks[place].log.write(.append(waitingHardState, group.entries))
            waitingHardState = nil
            logPhase = .syncing(group)
            startSync(holdsVote(group) ? .crashesDuringVoteSync : .crashesDuringSync)
        } else {
            finish(group)
            if !logMail.isEmpty { logTurn() }
        }
    }

    private func holdsVote(_ group: LogJob) -> Bool {
        group.messages.contains { $0.kind == .voteResponse && !$0.reject && $0.to != id }
    }

    private func startSync(_ window: Census.Kind) {
        let swarm = cluster.swarm
        var time = 1 + cluster.random.below(2 * swarm.syncTime)
        if !cluster.isCalm, cluster.random.chance(perMille: swarm.slowSync) {
            time += cluster.random.below(swarm.slowSyncTime)
            cluster.census.count(.slowSyncs)
        }
        cluster.agenda.schedule(.synced(place: place, life: number), at: cluster.now + time)
        cluster.perhapsCrash(self, within: time, window)
    }

    /// The term is durable before the snapshot, whose term may be as new; the commit index, which counts the snapshot's
    /// entries, only with the log that begins after them.
    private func prepareInstall(_ job: LogJob) {
        let former = hardState.commit
        hardState = job.hardState ?? hardState
        cluster.disks[place].log.write(
            .append(HardState(term: hardState.term, vote: hardState.vote, commit: former), []))
        waitingHardState = nil
        logPhase = .preparing(job)
        startSync(.crashesDuringSync)
    }

    /// The state of the snapshot is in place; the log follows. A crash before it does is finished by the next start.
    func resetLog() {
        guard case .installing(let job) = logPhase, let metadata = job.snapshot?.metadata else { return }
        cluster.disks[place].log.write(.reset(to: metadata.index, term: metadata.term))
        cluster.disks[place].log.write(.append(hardState, job.entries))
        logPhase = .resetting(job)
        startSync(.crashesBetweenInstallAndReset)
    }

    func synced() {
        cluster.disks[place].log.sync()
        switch logPhase {
        case .syncing(let group):
            logPhase = .idle
            finish(group)
            if holdsVote(group) {
                cluster.perhapsCrash(
                    self, within: 2 * (cluster.swarm.latency + cluster.swarm.jitter), .crashesAfterVote)
            }
        case .preparing(let job):
            logPhase = .installing(job)
            if let snapshot = job.snapshot { post(.install(snapshot.metadata, snapshot.state)) }
        case .resetting(let job):
            logPhase = .idle
            if let snapshot = job.snapshot { post(.snapshotInstalled(snapshot.metadata.index)) }
            finish(job)
        case .idle, .installing:
            break
        }
        logTurn()
    }

    private func finish(_ group: LogJob) {
        let others = group.messages.filter { $0.to != id }
        if !others.isEmpty { cluster.send(others, from: place) }
        let toSelf = group.messages.filter { $0.to == id }
        if let last = group.entries.last {
            cluster.trace.add(last.term.rawValue, last.index.rawValue, id.rawValue)
            post(.appended(term: last.term, index: last.index, toSelf: toSelf))
        } else if !toSelf.isEmpty {
            post(.appended(term: .zero, index: .zero, toSelf: toSelf))
        }
        // Not synced by itself: a crash may bring the prefix back, which does no harm.
        if let index = group.truncateUpTo { cluster.disks[place].log.write(.cutPrefix(through: index)) }
    }
}
