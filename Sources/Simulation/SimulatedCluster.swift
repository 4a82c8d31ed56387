/// What is on the agenda.
enum SimulatedEvent {
    case tick(place: Int, life: Int)
    case leaseTurn(place: Int, life: Int)
    case turn(place: Int, life: Int, MemberLife.Thread)
    case synced(place: Int, life: Int)
    case flushed(place: Int, life: Int)
    case arrival(Parcel)
    case request(ClientAddress, place: Int)
    case reply(ClientReply, ClientAddress)
    /// A client begins, or has waited long enough for this attempt.
    case clientTimer(ClientAddress)
    case watchTimer(client: Int)
    case fault
    case mend([(from: Int, to: Int)])
    case crash(place: Int, life: Int, Census.Kind)
    case crashAll
    case start(place: Int)
}

/// One run: members, their disks, the network between them, clients and faults, on one agenda.
final class SimulatedCluster {
    let options: SimulationOptions
    let swarm: Swarm
    let ids: [MemberID]
    /// How fast each member's clock runs, in per mille off the true time.
    let drifts: [Int64]

    var now: Int64 = 0
    var random: SimulationRandom
    var agenda = Agenda<SimulatedEvent>()
    var network: SimulatedNetwork
    var disks: [SimulatedDisk]
    var lives: [MemberLife?]
    var lifeCounts: [Int]
    var clients: [SimulatedClient] = []
    var oracle: Oracle
    var census = Census()
    var trace = TraceDigest()
    /// The newest revision acknowledged or read.
    var acknowledged: Int64 = 1
    /// Cleared at the end, when the last requests have been answered.
    var clientsBeginAnew = true
    private(set) var isCalm = false
    private var second: Int64 = 0
    private var eventsInSecond = 0
    private(set) var failure: String?

    init(_ options: SimulationOptions) {
        self.options = options
        random = SimulationRandom(seed: options.seed)
        swarm = Swarm(from: &random, members: options.members)
        ids = (1...UInt64(options.members)).map(MemberID.init)
        var drifts: [Int64] = []
        for _ in ids { drifts.append(Int64(random.between(-swarm.drift, swarm.drift))) }
        if swarm.isTurmoil { drifts[drifts.count - 1] = -400 }
        self.drifts = drifts
        network = SimulatedNetwork(swarm, members: options.members)
        disks = Array(repeating: SimulatedDisk(), count: options.members)
        lives = Array(repeating: nil, count: options.members)
        lifeCounts = Array(repeating: 0, count: options.members)
        do { oracle = try Oracle() } catch { preconditionFailure("an empty history cannot be damaged: \(error)") }
        for number in 0..<swarm.clients {
            clients.append(SimulatedClient(number: number, members: options.members, keys: swarm.keys, &random))
        }
    }

    func place(of member: MemberID) -> Int? { ids.firstIndex(of: member) }

    func configuration(of place: Int, life: Int) -> ConsensusMachine.Configuration {
        let raft = RaftConfiguration(
            id: ids[place], electionTimeoutTicks: swarm.electionTimeoutTicks, preVote: swarm.preVote,
            checkQuorum: swarm.checkQuorum, maxBytesPerMessage: swarm.maxBytesPerMessage,
            maxInflightMessages: swarm.maxInflightMessages, maxUncommittedBytes: swarm.maxUncommittedBytes,
            maxCommittedBytesPerReady: swarm.maxCommittedBytes, randomSeed: random.next())
        var configuration = ConsensusMachine.Configuration(raft: raft)
        configuration.snapshotCount = swarm.snapshotCount
        configuration.catchUpEntries = swarm.catchUpEntries
        if swarm.largeValues { configuration.catchUpBytes = 20_000 }
        return configuration
    }

    func fail(_ description: String) {
        if failure == nil {
            failure = "after \(now / 1_000_000).\(String(now / 1_000 % 1_000 + 1_000).dropFirst()) s: \(description)"
        }
    }

    // MARK: The run

    func run() {
        if swarm.drift > 0 { census.count(.driftingClocks) }
        for place in ids.indices { start(place) }
        for client in clients.indices {
            agenda.schedule(.clientTimer(ClientAddress(client: client, attempt: 0)), at: random.below(500_000))
            agenda.schedule(.watchTimer(client: client), at: random.below(3_000_000))
        }
        if !swarm.faults.isEmpty { agenda.schedule(.fault, at: random.below(2 * swarm.faultInterval)) }
        advance(until: Int64(options.virtualSeconds) * 1_000_000) { false }
        if failure == nil { comeToRest() }
    }

    /// Carries out what is on the agenda until a time, a violation or until `isDone`.
    func advance(until end: Int64, _ isDone: () -> Bool) {
        while failure == nil, let (time, event) = agenda.next() {
            now = max(now, time)
            countEvent()
            if now >= end {
                agenda.schedule(event, at: now)
                return
            }
            do {
                try perform(event)
                if let violation = oracle.takeViolation() { throw violation }
            } catch {
                fail(String(describing: error))
            }
            if isDone() { return }
        }
    }

    /// A second in which this much happens is not one of work: members answer each other in circles.
    private func countEvent() {
        if now / 1_000_000 != second {
            second = now / 1_000_000
            eventsInSecond = 0
        }
        eventsInSecond += 1
        if eventsInSecond > 100_000 { fail("members flood each other with messages; \(situation)") }
    }

    private func life(_ place: Int, _ number: Int) -> MemberLife? {
        guard let life = lives[place], life.number == number else { return nil }
        return life
    }

    private func perform(_ event: SimulatedEvent) throws {
        switch event {
        case .tick(let place, let number):
            guard let life = life(place, number) else { return }
            life.tick()
            let interval = swarm.tick * 1_000 / (1_000 + drifts[place])
            agenda.schedule(.tick(place: place, life: number), at: now + interval)
        case .leaseTurn(let place, let number):
            guard let life = life(place, number) else { return }
            life.post(.leaseTurn)
            agenda.schedule(.leaseTurn(place: place, life: number), at: now + 500_000)
        case .turn(let place, let number, let thread):
            try life(place, number)?.turn(thread)
        case .synced(let place, let number):
            life(place, number)?.synced()
        case .flushed(let place, let number):
            life(place, number)?.flushed()
        case .arrival(let parcel):
            arrive(parcel)
        case .request(let address, let place):
            request(address, at: place)
        case .reply(let reply, let address):
            try receive(reply, address)
        case .clientTimer(let address):
            clientTimer(address)
        case .watchTimer(let client):
            watchTimer(client)
        case .fault:
            strike()
        case .mend(let links):
            for link in links { network.mend(from: link.from, to: link.to) }
        case .crash(let place, let number, let kind):
            guard let life = life(place, number), !isCalm else { return }
            switch (kind, life.logPhase) {
            case (.crashesBetweenInstallAndReset, .resetting), (.crashesDuringSync, .syncing),
                (.crashesDuringSync, .preparing), (.crashesDuringVoteSync, .syncing), (.crashesAfterVote, _):
                break
            default: return
            }
            census.count(kind)
            // A voter that is back at once meets the other candidates of the term.
            let isVoter = kind == .crashesAfterVote || kind == .crashesDuringVoteSync
            crash(place, longestDown: isVoter ? 5_000 : nil)
            if isVoter, random.chance(perMille: 200) {
                // Whoever was elected by this vote should be forgotten as well.
                crashAll()
            }
        case .crashAll:
            if !isCalm { crashAll() }
        case .start(let place):
            start(place)
        }
    }

    // MARK: Starts and crashes

    func start(_ place: Int) {
        guard lives[place] == nil, failure == nil else { return }
        let number = lifeCounts[place]
        lifeCounts[place] += 1
        if number > 0 { census.count(.restarts) }
        trace.add(UInt64(now), UInt64(place), UInt64(number))
        do {
            lives[place] = try MemberLife(place: place, number: number, cluster: self)
            agenda.schedule(.tick(place: place, life: number), at: now + 1 + random.below(swarm.tick))
            agenda.schedule(.leaseTurn(place: place, life: number), at: now + 1 + random.below(500_000))
        } catch {
            fail("member \(ids[place]) does not start again: \(error)")
        }
    }

    func crash(_ place: Int, longestDown: Int64? = nil) {
        guard lives[place] != nil else { return }
        lives[place] = nil
        census.count(.crashes)
        census[.writesLost] += disks[place].log.crash(&random)
        trace.add(UInt64(now), UInt64(place), .max)
        for client in clients.indices where clients[client].watchMember?.place == place {
            clients[client].watchMember = nil
            agenda.schedule(.watchTimer(client: client), at: now + random.below(1_000_000))
        }
        let down = random.below(longestDown ?? (random.chance(perMille: 400) ? 50_000 : swarm.longestDown))
        agenda.schedule(.start(place: place), at: now + down)
    }

    func crashAll() {
        census.count(.crashesOfAll)
        for place in ids.indices { crash(place) }
    }

    /// Aims at a moment while a write is under way.
    func perhapsCrash(_ life: MemberLife, within time: Int64, _ window: Census.Kind) {
        guard !isCalm, swarm.crashInWindow > 0 else { return }
        // Votes and snapshots are rare.
        let chance =
            switch window {
            case .crashesBetweenInstallAndReset: 600
            case .crashesDuringVoteSync, .crashesAfterVote: 20 * swarm.crashInWindow
            default: swarm.crashInWindow
            }
        guard random.chance(perMille: chance) else { return }
        agenda.schedule(.crash(place: life.place, life: life.number, window), at: now + random.below(time))
    }

    // MARK: Messages

    func send(_ messages: [Message], from place: Int) {
        eventsInSecond += messages.count
        for message in messages {
            if message.kind == .vote { oracle.checkCampaign(of: ids[place], message.term) }
            if message.kind == .voteResponse, !message.reject {
                oracle.checkVote(of: ids[place], for: message.to, message.term)
            }
        }
        if messages.count == 1 {
            if let to = self.place(of: messages[0].to) { send(Parcel(from: place, to: to, .messages(messages))) }
            return
        }
        for to in ids.indices {
            let batch = messages.filter { $0.to == ids[to] }
            if !batch.isEmpty { send(Parcel(from: place, to: to, .messages(batch))) }
        }
    }

    func send(_ parcel: Parcel) {
        if let time = network.arrival(from: parcel.from, to: parcel.to, now: now, &random, &census) {
            agenda.schedule(.arrival(parcel), at: time)
        } else if random.chance(perMille: 100) {
            lives[parcel.from]?.post(.unreachable(ids[parcel.to]))
        }
        if case .messages(let messages) = parcel.content, network.mayDuplicate(messages, &random),
            let time = network.arrival(from: parcel.from, to: parcel.to, now: now, &random, &census)
        {
            census.count(.messagesDuplicated)
            agenda.schedule(.arrival(parcel), at: time)
        }
    }

    /// The state travels with its message, slower than others; the sender hears whether it arrived.
    func sendSnapshot(_ message: Message, _ state: StateImage, from life: MemberLife) {
        guard let to = place(of: message.to) else { return }
        census.count(.snapshotsSent)
        let isLost = !isCalm && random.chance(perMille: swarm.snapshotLoss)
        guard !isLost, let time = network.arrival(from: life.place, to: to, now: now, &random, &census) else {
            census.count(.snapshotsFailed)
            return life.post(.snapshotReported(message.to, succeeded: false))
        }
        agenda.schedule(
            .arrival(Parcel(from: life.place, to: to, .snapshot(message, state))), at: time + random.below(200_000))
    }

    private func arrive(_ parcel: Parcel) {
        guard let life = lives[parcel.to], !network.isCut(from: parcel.from, to: parcel.to) else {
            if case .snapshot = parcel.content {
                census.count(.snapshotsFailed)
                lives[parcel.from]?.post(.snapshotReported(ids[parcel.to], succeeded: false))
            } else {
                census.count(.messagesLost)
            }
            return
        }
        switch parcel.content {
        case .messages(let messages):
            for message in messages {
                trace.add(
                    UInt64(message.kind.rawValue) << 56 ^ message.term.rawValue << 16 ^ UInt64(parcel.from) << 8
                        ^ UInt64(parcel.to),
                    message.index.rawValue, UInt64(now) ^ UInt64(message.entries.count) << 48)
            }
            life.post(.messages(messages))
        case .snapshot(let message, let state):
            lives[parcel.from]?.post(.snapshotReported(ids[parcel.to], succeeded: true))
            life.post(.snapshotReceived(message, state))
        case .leaseRenewal(let lease, let token):
            life.post(.read(WaitingRead(question: .renewLease(lease), asker: .member(parcel.from, token: token))))
        case .leaseRenewed(let token, let outcome):
            life.leaseRenewed(token, outcome)
        }
    }

    // MARK: What members tell

    func noteLeader(_ member: MemberID, _ term: Term, lastIndex: LogIndex) {
        guard oracle.checkLeader(member, term, lastIndex: lastIndex) else { return }
        census.count(.elections)
        // Whoever did not hear of the election must still not win the same term.
        if !isCalm, random.chance(perMille: 10 * swarm.crashInWindow) {
            agenda.schedule(.crashAll, at: now + random.below(2 * swarm.syncTime + 20 * swarm.latency))
        }
    }

    func observe(_ entries: [Entry], by life: MemberLife) throws {
        try oracle.observe(entries, by: life.id, now: now)
        census[.entriesApplied] += entries.count
        if let last = entries.last { trace.add(last.index.rawValue, last.term.rawValue, life.id.rawValue) }
        for entry in entries { trace.add(entry.payload) }
    }

    // MARK: Rest

    /// Faults stop, everything works again: now there must be a leader soon, every client must be served, and all
    /// members must come to the same state.
    private func comeToRest() {
        isCalm = true
        network = SimulatedNetwork(swarm, members: options.members)
        network.isCalm = true
        for place in ids.indices { start(place) }
        // Stragglers of the old network, then elections that may split a few times, then what was missed.
        let patience =
            20 * swarm.electionTimeout + swarm.straggleDelay + swarm.longestDown + 2 * swarm.slowSyncTime
            + 6 * swarm.patience + 20_000_000
        let end = now + patience
        advance(until: end) { clients.allSatisfy { $0.servedInCalm >= 3 } }
        guard failure == nil else { return }
        guard clients.allSatisfy({ $0.servedInCalm >= 3 }) else {
            return fail("faults stopped \(patience / 1_000_000) s ago and a client is still not served; \(situation)")
        }
        clientsBeginAnew = false
        let lastEnd = now + patience
        advance(until: lastEnd) { isAtRest }
        guard failure == nil else { return }
        guard isAtRest else { return fail("the members do not come to the same state; \(situation)") }
        do {
            for life in lives.compactMap({ $0 }) {
                try oracle.compareDigest(life.apply, of: life.id, &census)
                trace.add(try life.apply.store.digest())
            }
        } catch {
            fail(String(describing: error))
        }
    }

    private var isAtRest: Bool {
        let last = oracle.lastApplied
        return lives.allSatisfy { $0?.apply.applied == last && $0?.readsByIndex.isEmpty == true }
            && clients.allSatisfy { $0.pending == nil && $0.watchMember != nil && $0.hasSeenAll(oracle) }
    }

    private var situation: String {
        let members = lives.map { life -> String in
            guard let life else { return "down" }
            let status = life.consensus.status
            return
                "\(life.id): \(status.role) of term \(status.term), leader \(status.leader), log \(status.firstIndex)-"
                + "\(status.lastIndex), commit \(status.commit), applied \(life.apply.applied)"
        }
        return members.joined(separator: "; ")
    }
}
