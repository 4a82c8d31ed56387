/// What clients do.
extension SimulatedCluster {
    /// Time to begin something, or to give up waiting.
    func clientTimer(_ address: ClientAddress) {
        let number = address.client
        guard clients[number].attempt == address.attempt else { return }
        if let pending = clients[number].pending {
            census.count(.clientTimeouts)
            lives[clients[number].member]?.post(.withdrawn(address.requestID))
            clients[number].member = random.below(ids.count)
            if pending.attemptsLeft > 0 {
                census.count(.clientRetries)
                return ask(number, pending.operation, attemptsLeft: pending.attemptsLeft - 1)
            }
            clients[number].pending = nil
        }
        guard clientsBeginAnew else { return }
        let operation = clients[number].draw(swarm, revision: acknowledged, &random, &census)
        ask(number, operation, attemptsLeft: 3)
    }

    private func ask(_ number: Int, _ operation: ClientOperation, attemptsLeft: Int) {
        clients[number].attempt += 1
        clients[number].pending = .init(
            operation: operation, sentAt: now, floor: acknowledged, attemptsLeft: attemptsLeft)
        let address = ClientAddress(client: number, attempt: clients[number].attempt)
        agenda.schedule(.request(address, place: clients[number].member), at: now + 50 + random.below(200))
        agenda.schedule(.clientTimer(address), at: now + swarm.patience + random.below(swarm.patience))
    }

    func request(_ address: ClientAddress, at place: Int) {
        guard let pending = clients[address.client].pending, clients[address.client].attempt == address.attempt,
            let life = lives[place]
        else { return }
        switch pending.operation {
        case .get(let key, let serializable):
            let read = WaitingRead(question: .range(RangeQuery(key: key)), asker: .client(address))
            if serializable { life.post(.serializableRead(read)) } else { life.post(.read(read)) }
        case .renewLease(let lease):
            life.post(.read(WaitingRead(question: .renewLease(lease), asker: .client(address))))
        case .write(let command):
            let proposal = Proposal(origin: ids[place], requestID: address.requestID, command: .store(command))
            life.post(.proposal(ProposedEntry(requestID: address.requestID, payload: proposal.encoded())))
        }
    }

    // MARK: Answers

    func reply(_ request: RequestID, _ outcome: CommandOutcome, revision: Int64, from place: Int) {
        guard let address = ClientAddress(request) else { return }
        reply(.written(outcome, revision: revision), to: address, from: place)
    }

    func refuse(_ request: RequestID, at place: Int) {
        census.count(.proposalsRefused)
        if let address = ClientAddress(request) { reply(.refused, to: address, from: place) }
    }

    func reply(_ reply: ClientReply, to address: ClientAddress, from place: Int) {
        agenda.schedule(.reply(reply, address), at: now + 50 + random.below(200))
    }

    /// An answer counts even when its client has stopped waiting: whoever else saw it could have acted on it.
    func receive(_ reply: ClientReply, _ address: ClientAddress) throws {
        let number = address.client
        guard let pending = clients[number].pending, clients[number].attempt == address.attempt else { return }
        clients[number].pending = nil
        clients[number].served += 1
        if isCalm { clients[number].servedInCalm += 1 }
        switch reply {
        case .written(let outcome, let revision):
            try oracle.checkAnswer(address.requestID, outcome, revision: revision, floor: pending.floor)
            acknowledged = max(acknowledged, revision)
            if case .write(.leaseGrant(let grant)) = pending.operation, case .success = outcome {
                protect(grant.id, seconds: grant.ttl, since: pending.sentAt)
            }
            trace.add(UInt64(revision), UInt64(number), UInt64(now))
        case .range(let result):
            guard case .get(let key, let serializable) = pending.operation, case .success(let range) = result else {
                throw Violation("a read of the newest revision was refused")
            }
            try oracle.checkRead(key, range, floor: serializable ? 0 : pending.floor)
            if !serializable { acknowledged = max(acknowledged, range.revision) }
            try clients[number].learn(key, range.kvs.first)
            trace.add(UInt64(range.revision), UInt64(number), UInt64(now))
        case .leaseRenewed(let outcome):
            if case .renewLease(let lease) = pending.operation, case .success(let ttl) = outcome {
                protect(lease, seconds: ttl, since: pending.sentAt)
            }
            trace.add(UInt64(number), address.attempt, UInt64(now))
        case .refused:
            trace.add(UInt64(number), address.attempt, UInt64(now))
        }
        // All clients together come to the rate that is wanted, while they are served in a fifth of their pause.
        let pause = 1_600_000 * Int64(swarm.clients) / Int64(swarm.operationsPerSecond)
        agenda.schedule(.clientTimer(address), at: now + random.below(pause))
    }

    /// A lease that was granted or renewed lives at least as long as promised, by the fastest clock among the members.
    private func protect(_ lease: Int64, seconds: Int64, since sent: Int64) {
        let promised = sent + seconds * 1_000_000_000 / (1_000 + Int64(swarm.drift))
        oracle.protect(lease, until: promised)
    }

    // MARK: Watches

    /// Begins the watch anew where it is not served.
    func watchTimer(_ number: Int) {
        guard clients[number].watchMember == nil else { return }
        let place = random.below(ids.count)
        guard let life = lives[place] else {
            return agenda.schedule(.watchTimer(client: number), at: now + 100_000 + random.below(500_000))
        }
        if clients[number].nextRevision > 1 { census.count(.watchReconnects) }
        let client = clients[number]
        clients[number].watchMember = (place, life.number)
        clients[number].nextEvent = oracle.firstEvent(from: client.nextRevision)
        life.post(
            .watch(
                client: number,
                WatchRequest(
                    key: client.watchKey, rangeEnd: client.watchRangeEnd, startRevision: client.nextRevision)))
    }

    func deliver(_ delivery: WatchDelivery, to number: Int, from life: MemberLife) {
        guard let member = clients[number].watchMember, member == (life.place, life.number) else { return }
        trace.add(UInt64(delivery.revision), UInt64(number), UInt64(life.place))
        switch delivery.content {
        case .events(let events):
            census[.watchEvents] += events.count
            do { try clients[number].checkEvents(events, oracle) } catch { fail(String(describing: error)) }
        case .compacted(let revision):
            census.count(.watchesCompacted)
            if revision <= clients[number].nextRevision || revision > oracle.compactedRevision {
                fail(
                    "client \(number)'s watch from \(clients[number].nextRevision) was ended by a compaction at \(revision)"
                )
            }
            clients[number].nextRevision = revision
            clients[number].watchMember = nil
            agenda.schedule(.watchTimer(client: number), at: now + random.below(500_000))
        }
    }
}
