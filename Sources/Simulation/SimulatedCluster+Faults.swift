/// What goes wrong now and then.
extension SimulatedCluster {
    /// One fault, and the time of the next.
    func strike() {
        guard !isCalm else { return }
        agenda.schedule(.fault, at: now + 1 + random.below(2 * swarm.faultInterval))
        let fault = random.pick(swarm.faults)
        let place = random.below(ids.count)
        switch fault {
        case .crash:
            crash(place)
        case .crashAll:
            crashAll()
        case .crashMost:
            for _ in 0...(ids.count / 2) { crash(random.below(ids.count)) }
        case .fullPartition:
            census.count(.fullPartitions)
            let side = ids.indices.map { _ in random.chance(perMille: 500) }
            cut { side[$0] != side[$1] }
        case .oneWayPartition:
            census.count(.oneWayPartitions)
            cut { from, _ in from == place }
        case .isolateLeader:
            census.count(.isolations)
            let leader = ids.indices.first { lives[$0]?.consensus.leadership.isLeader == true } ?? place
            cut { $0 == leader || $1 == leader }
        case .transfer:
            guard let leader = lives.first(where: { $0?.consensus.leadership.isLeader == true }) ?? nil,
                ids[place] != leader.id
            else { return }
            census.count(.leadershipTransfers)
            leader.post(.transferLeadership(ids[place]))
        case .stall:
            guard let life = lives[place] else { return }
            census.count(.stalls)
            life.stalledUntil = now + random.below(2 * swarm.electionTimeout)
        }
    }

    private func cut(_ isCut: (_ from: Int, _ to: Int) -> Bool) {
        var links: [(from: Int, to: Int)] = []
        for from in ids.indices {
            for to in ids.indices where from != to && isCut(from, to) {
                network.cut(from: from, to: to)
                links.append((from, to))
            }
        }
        agenda.schedule(.mend(links), at: now + 1 + random.below(3 * swarm.faultInterval))
    }
}
