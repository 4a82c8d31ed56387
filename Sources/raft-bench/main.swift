import Raft

// raft-bench [SECONDS] : what consensus itself costs. Three members in memory propose, replicate, commit and apply entries of
// 256 bytes, in batches of 1 and of 64: writes and deliveries take no time, so all that is measured is the core and this
// driver's loop. Prints a line for each batch size and way of driving.

/// Three members and the messages on their way between them.
struct Cluster {
    /// A node and what was sent to it. (Looking at a node inside of an array copies it; its own functions do not.)
    private struct Member {
        var node: RaftNode
        var inbox: [Message] = []

        mutating func takeReady() -> Ready? { node.hasReady ? node.takeReady() : nil }
        mutating func takeInbox() -> [Message] {
            defer { inbox = [] }
            return inbox
        }
    }
    private var nodes: [Member] = []
    private var members = ConfState(voters: [1, 2, 3].map(MemberID.init))
    /// Entries applied by each member.
    private(set) var applied = [0, 0, 0]
    private(set) var messages = 0

    init() throws(RaftError) {
        for number in 1...3 as ClosedRange<UInt64> {
            let configuration = RaftConfiguration(id: MemberID(number), preVote: false, randomSeed: number)
            nodes.append(Member(node: try RaftNode(configuration, InitialState(configuration: members))))
        }
        try nodes[0].node.campaign()
        while try exchange() {}
        precondition(nodes[0].node.currentRole == .leader, "nobody was elected")
        messages = 0
    }

    mutating func propose(_ payloads: [[UInt8]]) throws(RaftError) { try nodes[0].node.propose(payloads) }

    /// Every member does what it has to do, and then gets what was sent to it.
    /// - Returns: whether there was anything to do.
    mutating func exchange() throws(RaftError) -> Bool {
        var isBusy = false
        for index in nodes.indices {
            guard let ready = nodes[index].takeReady() else { continue }
            isBusy = true
            try perform(ready, index)
        }
        for index in nodes.indices where !nodes[index].inbox.isEmpty {
            isBusy = true
            let arriving = nodes[index].takeInbox()
            messages += arriving.count
            for message in arriving { try nodes[index].node.step(message) }
        }
        return isBusy
    }

    /// A disk that needs no time, and a state machine that does nothing.
    private mutating func perform(_ ready: Ready, _ index: Int) throws(RaftError) {
        for message in ready.messages { nodes[Int(message.to.rawValue) - 1].inbox.append(message) }
        if let last = ready.entriesToAppend.last { nodes[index].node.appended(term: last.term, index: last.index) }
        for message in ready.messagesAfterAppend {
            let recipient = Int(message.to.rawValue) - 1
            if recipient == index {
                try nodes[index].node.step(message)
            } else {
                nodes[recipient].inbox.append(message)
            }
        }
        guard let last = ready.committed.last else { return }
        nodes[index].node.applied(upTo: last.index)
        applied[index] += ready.committed.count
        // As a server does it now and then, so that the log in memory does not grow.
        if last.index.rawValue % 4096 < UInt64(ready.committed.count) {
            nodes[index].node.compactLog(upTo: last.index, configuration: members)
        }
    }
}

func measure(batch: Int, isPipelined: Bool, _ time: Duration) throws(RaftError) {
    var cluster = try Cluster()
    let payloads = [[UInt8]](repeating: [UInt8](repeating: 7, count: 256), count: batch)
    let clock = ContinuousClock()
    var start = clock.now
    var before = (entries: 0, messages: 0)
    // The first quarter warms up.
    for part in 0..<2 {
        let end = clock.now + (part == 0 ? time / 4 : time)
        if part == 1 {
            start = clock.now
            before = (cluster.applied[0], cluster.messages)
        }
        while clock.now < end {
            for _ in 0..<64 {
                try cluster.propose(payloads)
                if isPipelined { _ = try cluster.exchange() } else { while try cluster.exchange() {} }
            }
        }
    }
    let elapsed = clock.now - start
    while try cluster.exchange() {}
    precondition(
        cluster.applied.allSatisfy { $0 == cluster.applied[0] }, "members have applied different numbers of entries")
    let entries = cluster.applied[0] - before.entries
    let nanoseconds = elapsed / .nanoseconds(1)
    let perEntry = nanoseconds / Double(entries)
    let thousandths = (cluster.messages - before.messages) * 1000 / entries
    print(
        pad("\(batch)", 5), pad(isPipelined ? "pipelined" : "one by one", 11),
        pad("\(Int(1e9 / perEntry))", 11), pad("\(Int(perEntry))", 9), pad("\(Double(thousandths) / 1000)", 15))
}

func pad(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}

let seconds = CommandLine.arguments.dropFirst().first.flatMap(Double.init) ?? 3
if seconds <= 0 || CommandLine.arguments.count > 2 {
    print("usage: raft-bench [SECONDS]   (measured time of each line, 3 by default)")
} else {
    print("batch     driving   entries/s  ns/entry  messages/entry")
    for batch in [1, 64] {
        for isPipelined in [false, true] {
            try measure(batch: batch, isPipelined: isPipelined, .seconds(seconds))
        }
    }
}
