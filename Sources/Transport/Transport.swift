/// How the members of a cluster speak to each other.
///
///       member A                                                     member B
///     ┌──────────────────┐   stream: A's messages to B            ┌──────────────────┐
///     │ OutboundPeer(B) ─┼────────────────────────────────────────▶ InboundHandler   │
///     │ InboundHandler  ◀┼────────────────────────────────────────┼─ OutboundPeer(A) │
///     │                  │   stream: B's messages to A            │                  │
///     │ SnapshotSender  ─┼──── snapshot: one state, then closed ──▶ SnapshotReceiver │
///     └──────────────────┘                                        └──────────────────┘
///            a member without data ──── query: "who are you?" ──▶ any of them
///
/// Every connection is one-way: the member that dialled it sends, the other listens. Two members that talk have two
/// connections, which costs nothing and leaves no question which one to use. A connection opens with a handshake in
/// both directions (`Hello`, `Welcome`) that settles who speaks to whom, in which cluster and in which version of the
/// protocol, and then carries frames (`Frame`).
///
/// What is promised:
/// - Messages of one lane arrive in the order they were sent, or not at all. There are two lanes: what moves data
///   (entries, proposals, requests) and what keeps a leader (heartbeats, votes, answers). The second overtakes the
///   first, so that a large append does not cost an election.
/// - Nothing waits: a message for a member that cannot be reached, or that is too slow for what is sent to it, is
///   dropped and counted. Raft sends again what matters.
/// - Memory is bounded: by `Options.maxQueuedBytes` per member for what is sent, by `Options.maxFrameBytes` for what
///   is received, and by `Options.maxSnapshotBufferBytes` for a snapshot that is received faster than it is written.
/// - What comes in is believed only as far as it was checked: any damage closes the connection with a logged reason.
///
/// What is left to others: what the messages mean, who is a member, whether a cluster has been bootstrapped, and how a
/// snapshot is made and kept. The module knows no state of consensus.
enum PeerProtocol {
    /// The version of the peer protocol spoken here. It grows with every change of what is sent.
    static let version: UInt16 = 1
    /// The lowest version that is still understood.
    static let lowestVersion: UInt16 = 1
}
