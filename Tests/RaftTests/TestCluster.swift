@testable import Raft

extension MemberID: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt64) { self.init(value) }
}
extension Term: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt64) { self.init(value) }
}
extension LogIndex: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt64) { self.init(value) }
}

/// What survives a crash of a test member.
struct Disk {
    var hardState = HardState()
    var base: (index: LogIndex, term: Term) = (0, 0)
    var entries: [Entry] = []
    /// The state machine: everything applied, from index 1 on.
    var applied: [Entry] = []
    var configuration: ConfState

    var appliedIndex: LogIndex { LogIndex(UInt64(applied.count)) }

    mutating func append(_ new: [Entry]) {
        guard let first = new.first else { return }
        entries.removeAll { $0.index >= first.index }
        entries += new
    }
}

/// A member with a disk, whose writes and applications finish when the test says so.
struct TestMember {
    let configuration: RaftConfiguration
    var node: RaftNode
    var disk: Disk
    var isDown = false
    /// Readies taken but not durable, oldest first.
    var writes: [Ready] = []
    /// Committed entries handed out but not applied, and the number of the write that must be
    /// durable before (for membership changes).
    var toApply: [(entries: [Entry], afterWrite: Int)] = []
    var writesTaken = 0
    var writesDone = 0
    var readStates: [ReadState] = []

    init(_ configuration: RaftConfiguration, _ members: ConfState) throws {
        self.configuration = configuration
        disk = Disk(configuration: members)
        node = try RaftNode(configuration, InitialState(configuration: members))
    }

    /// Takes the next Ready; returns the messages that may leave at once.
    mutating func takeReady() -> [Message] {
        let ready = node.takeReady()
        writesTaken += 1
        writes.append(ready)
        readStates += ready.readStates
        if !ready.committed.isEmpty {
            toApply.append((ready.committed, ready.commitMustBeDurableBeforeApply ? writesTaken : 0))
        }
        // The snapshot that is sent is the state of now, as the transport would take it.
        return ready.messages.map { message in
            guard message.kind == .snapshot, let last = disk.applied.last else { return message }
            var message = message
            message.snapshot = SnapshotMetadata(index: last.index, term: last.term, configuration: disk.configuration)
            return message
        }
    }

    /// Makes the oldest Ready durable; returns the messages that waited for it. `snapshotState` is the
    /// state that comes with a snapshot.
    mutating func finishWrite(snapshotState: (LogIndex) -> [Entry]) -> [Message] {
        let ready = writes.removeFirst()
        writesDone += 1
        if let state = ready.hardState { disk.hardState = state }
        if let snapshot = ready.snapshot {
            disk.base = (snapshot.index, snapshot.term)
            disk.entries = []
            disk.applied = snapshotState(snapshot.index)
            disk.configuration = snapshot.configuration
            toApply.removeAll { $0.entries[0].index <= snapshot.index }
            node.snapshotInstalled(index: snapshot.index)
        }
        disk.append(ready.entriesToAppend)
        if let last = ready.entriesToAppend.last { node.appended(term: last.term, index: last.index) }
        var leaving: [Message] = []
        for message in ready.messagesAfterAppend {
            if message.to == configuration.id { try? node.step(message) } else { leaving.append(message) }
        }
        return leaving
    }

    /// Applies the oldest batch handed out, if it may be; returns it.
    mutating func applyBatch() throws -> [Entry] {
        guard let batch = toApply.first, batch.afterWrite <= writesDone else { return [] }
        toApply.removeFirst()
        for entry in batch.entries {
            disk.applied.append(entry)
            if let change = try ConfChangeV2(entry) { disk.configuration = node.applyConfChange(change) }
            node.applied(upTo: entry.index)
        }
        return batch.entries
    }

    /// Comes back from its disk, having lost all else.
    mutating func restart() throws {
        isDown = false
        writes = []
        toApply = []
        writesDone = writesTaken
        node = try RaftNode(
            configuration,
            InitialState(
                hardState: disk.hardState, configuration: disk.configuration, base: disk.base, entries: disk.entries,
                applied: disk.appliedIndex))
    }
}

/// Members joined by a network that delivers in order, except to and from isolated members.
struct TestCluster {
    var members: [TestMember] = []
    var network: [Message] = []
    /// Members that neither send nor receive.
    var isolated: Set<UInt64> = []
    /// Messages that get lost.
    var isLost: (Message) -> Bool = { _ in false }

    init(
        voters: Int, learners: Int = 0, spare: Int = 0, _ adjust: (inout RaftConfiguration) -> Void = { _ in }
    ) throws {
        let state = ConfState(
            voters: (1...voters).map { MemberID(UInt64($0)) },
            learners: (0..<learners).map { MemberID(UInt64(voters + 1 + $0)) })
        for number in 1...(voters + learners + spare) {
            var configuration = RaftConfiguration(id: MemberID(UInt64(number)), randomSeed: UInt64(number))
            adjust(&configuration)
            members.append(try TestMember(configuration, number > voters + learners ? ConfState() : state))
        }
    }

    subscript(_ number: Int) -> RaftNode {
        get { members[number - 1].node }
        set { members[number - 1].node = newValue }
    }

    func log(_ number: Int) -> [String] {
        members[number - 1].node.entriesInMemory.map {
            "\($0.term)/\($0.index) \(String(decoding: $0.payload, as: UTF8.self))"
        }
    }

    func appliedPayloads(_ number: Int) -> [String] {
        members[number - 1].disk.applied.filter { $0.kind == .normal && !$0.payload.isEmpty }
            .map { String(decoding: $0.payload, as: UTF8.self) }
    }

    mutating func propose(_ number: Int, _ text: String...) throws {
        try members[number - 1].node.propose(text.map { Array($0.utf8) })
    }

    /// Lets everything that is under way finish. Messages from and to isolated members are lost.
    mutating func settle() throws { while try exchange() {} }

    /// Every member does what it has to do and then receives what has been sent.
    /// - Returns: whether there was anything to do.
    @discardableResult
    mutating func exchange() throws -> Bool {
        var isBusy = false
        for index in members.indices where !members[index].isDown {
            if members[index].node.hasReady {
                network += members[index].takeReady()
                isBusy = true
            }
            while !members[index].writes.isEmpty { network += finishWrite(index) }
            while try !members[index].applyBatch().isEmpty { isBusy = true }
        }
        let arriving = network
        network = []
        for message in arriving where carries(message) {
            isBusy = true
            try? members[Int(message.to.rawValue) - 1].node.step(message)
        }
        return isBusy
    }

    func carries(_ message: Message) -> Bool {
        let to = Int(message.to.rawValue) - 1
        return members.indices.contains(to) && !members[to].isDown && !isolated.contains(message.to.rawValue)
            && !isolated.contains(message.from.rawValue) && !isLost(message)
    }

    mutating func finishWrite(_ index: Int) -> [Message] {
        let states = members.map(\.disk.applied)
        return members[index].finishWrite { index in
            // Any member that has applied that much can have sent the snapshot.
            Array(states.first { $0.count >= Int(index.rawValue) }?.prefix(Int(index.rawValue)) ?? [])
        }
    }

    mutating func tick(_ number: Int, times: Int = 1) {
        for _ in 0..<times { members[number - 1].node.tick() }
    }

    /// Makes a member leader.
    mutating func elect(_ number: Int) throws {
        try members[number - 1].node.campaign()
        try settle()
    }

    mutating func compact(_ number: Int, upTo index: LogIndex) {
        let configuration = members[number - 1].disk.configuration
        members[number - 1].node.compactLog(upTo: index, configuration: configuration)
        let disk = members[number - 1].disk
        guard let entry = disk.entries.first(where: { $0.index == index }) else { return }
        members[number - 1].disk.base = (index, entry.term)
        members[number - 1].disk.entries.removeAll { $0.index <= index }
    }
}
