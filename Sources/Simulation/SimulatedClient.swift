/// Which attempt of which client waits for an answer; also the request's id in the log.
struct ClientAddress: Equatable {
    var client: Int
    var attempt: UInt64

    private static let internalBit: UInt64 = 1 << 63

    init(client: Int, attempt: UInt64) {
        self.client = client
        self.attempt = attempt
    }

    /// nil for a member's own requests.
    init?(_ request: RequestID) {
        guard request.rawValue & Self.internalBit == 0 else { return nil }
        client = Int(request.rawValue >> 48)
        attempt = request.rawValue & 0xffff_ffff_ffff
    }

    var requestID: RequestID { RequestID(UInt64(client) << 48 | attempt) }

    static func internalRequest(place: Int, life: Int, count: UInt64) -> RequestID {
        RequestID(internalBit | UInt64(place) << 56 | UInt64(life) << 32 | count)
    }
}

enum ClientOperation {
    case get(key: [UInt8], serializable: Bool)
    case write(StoreCommand)
    case renewLease(Int64)
}

enum ClientReply {
    case written(CommandOutcome, revision: Int64)
    case range(Result<RangeResult, StoreError>)
    case leaseRenewed(Result<Int64, StoreError>)
    case refused
}

/// One client: a request at a time, asked again elsewhere when it is not answered, and one watch that goes on at another
/// member when its own dies.
struct SimulatedClient {
    struct Pending {
        var operation: ClientOperation
        var sentAt: Int64
        /// The newest revision acknowledged to anybody when this attempt was sent.
        var floor: Int64
        var attemptsLeft: Int
    }

    let number: Int
    var member: Int
    var attempt: UInt64 = 0
    var pending: Pending?
    var leases: [Int64] = []
    /// Per key number, the newest mod revision seen.
    var seen: [Int64]
    var served = 0
    /// Answered since the faults stopped.
    var servedInCalm = 0

    // The watch.
    let watchKey: [UInt8]
    let watchRangeEnd: [UInt8]
    /// Where it is served; nil while it is not.
    var watchMember: (place: Int, life: Int)?
    /// Before it is registered deliveries cannot come.
    var nextRevision: Int64 = 1
    /// The next of the oracle's events to come, if it is in the range.
    var nextEvent = 0

    init(number: Int, members: Int, keys: Int, _ random: inout SimulationRandom) {
        self.number = number
        member = random.below(members)
        seen = Array(repeating: 0, count: keys)
        if random.chance(perMille: 600) {
            (watchKey, watchRangeEnd) = (Array("k".utf8), Array("l".utf8))
        } else {
            (watchKey, watchRangeEnd) = (Self.key(random.below(keys)), [])
        }
    }

    static func key(_ number: Int) -> [UInt8] { [UInt8(ascii: "k"), UInt8(ascii: "a") + UInt8(number)] }

    /// What to ask next.
    mutating func draw(_ swarm: Swarm, revision: Int64, _ random: inout SimulationRandom, _ census: inout Census)
        -> ClientOperation
    {
        let number = random.below(swarm.keys)
        let key = Self.key(number)
        switch random.below(100) {
        case ..<38:
            census.count(.puts)
            let lease = !leases.isEmpty && random.chance(perMille: 200) ? random.pick(leases) : 0
            return .write(.put(PutCommand(key: key, value: value(swarm, &random), lease: lease)))
        case ..<68:
            census.count(.gets)
            return .get(key: key, serializable: random.chance(perMille: 150))
        case ..<83:
            census.count(.transactions)
            let put = Operation.put(PutCommand(key: key, value: value(swarm, &random)))
            let also = Operation.put(PutCommand(key: Self.key((number + 1) % swarm.keys), value: value(swarm, &random)))
            return .write(
                .transaction(
                    TransactionCommand(
                        compares: [Compare(key: key, .modRevision(seen[number]))],
                        success: random.chance(perMille: 300) && swarm.keys > 1 ? [put, also] : [put],
                        failure: [.range(RangeQuery(key: key))])))
        case ..<89:
            census.count(.deletes)
            let all = random.chance(perMille: 100)
            return .write(.deleteRange(DeleteRangeCommand(key: key, rangeEnd: all ? [UInt8(ascii: "l")] : [])))
        case ..<92:
            census.count(.leaseGrants)
            let lease = Int64(self.number) << 32 | Int64(attempt) + 1
            leases.append(lease)
            if leases.count > 4 { leases.removeFirst() }
            return .write(.leaseGrant(LeaseGrantCommand(id: lease, ttl: random.between(Int64(1), 8))))
        case ..<98:
            guard !leases.isEmpty else { return .get(key: key, serializable: false) }
            census.count(.leaseRenewals)
            return .renewLease(random.pick(leases))
        default:
            guard swarm.compaction, revision > 10 else { return .get(key: key, serializable: false) }
            census.count(.compactions)
            return .write(.compact(CompactCommand(revision: random.between(revision / 2, revision))))
        }
    }

    private func value(_ swarm: Swarm, _ random: inout SimulationRandom) -> [UInt8] {
        var value: [UInt8] = []
        for shift in stride(from: 0, to: 48, by: 8) {
            value.append(UInt8(truncatingIfNeeded: attempt >> UInt64(shift)))
        }
        value.append(UInt8(number))
        if swarm.largeValues { value += Array(repeating: UInt8(number), count: random.below(2_000)) }
        return value
    }

    /// Learns the key's newest revision from a read.
    mutating func learn(_ key: [UInt8], _ record: [UInt8]?) throws {
        let revision = try record.map { try KeyValueRecord(decoding: $0).modRevision } ?? 0
        seen[Int(key[1] - UInt8(ascii: "a"))] = revision
    }

    /// Compares what a watch shows with what happened: every event of the range, once, in order.
    mutating func checkEvents(_ shown: [[UInt8]], _ oracle: Oracle) throws {
        let range = KeyRange(key: watchKey, rangeEnd: watchRangeEnd)
        for event in shown {
            while nextEvent < oracle.events.count, !range.contains(oracle.events[nextEvent].key) { nextEvent += 1 }
            guard nextEvent < oracle.events.count else {
                throw Violation("client \(number)'s watch shows what never happened")
            }
            let expected = oracle.events[nextEvent]
            guard Self.shows(event, expected) else {
                throw Violation("client \(number)'s watch does not show revision \(expected.revision) where it should")
            }
            nextEvent += 1
            nextRevision = expected.revision + 1
        }
    }

    /// Whether an encoded `mvccpb.Event` is this event: type 1 for a deletion, then the record as field 2.
    private static func shows(_ shown: [UInt8], _ expected: KnownEvent) -> Bool {
        let head: [UInt8] = expected.isDelete ? [0x08, 1, 0x12] : [0x12]
        guard shown.starts(with: head) else { return false }
        return shown.dropFirst(head.count).drop { $0 & 0x80 != 0 }.dropFirst().elementsEqual(expected.record)
    }

    /// Whether all that happened was shown.
    func hasSeenAll(_ oracle: Oracle) -> Bool {
        let range = KeyRange(key: watchKey, rangeEnd: watchRangeEnd)
        return !oracle.events[nextEvent...].contains { range.contains($0.key) }
    }
}
