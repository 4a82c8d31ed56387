/// # Raft: the consensus core
///
/// One member's part in agreeing on a log, as a value without any I/O. `RaftNode` reads no clock,
/// opens no socket, touches no disk and draws its randomness from a seed: the same calls give the
/// same effects, which is what lets a simulator run whole clusters through the code that ships.
///
/// ```
///   tick(), step(message), propose(…)          appended(term:index:), applied(upTo:)
///            │                                          ▲
///            ▼                                          │
///      ┌───────────┐   takeReady() ─► Ready ─► driver: log thread, apply thread, network
///      │ RaftNode  │
///      └───────────┘
/// ```
///
/// **What it promises.** The properties of figure 3.2 of Ongaro's dissertation ("Consensus: Bridging
/// Theory and Practice", 2014): at most one leader a term, a leader never overwrites its log, logs
/// that agree on one entry agree on all before it, and what is committed is in every later leader's
/// log. `committed` entries leave in log order, each exactly once, and only once they are durable
/// here. Whatever a peer sends, `step` throws or ignores; it never traps.
///
/// **What the driver owes it.**
/// - Readies are written in the order taken, and `messagesAfterAppend` leaves only when that Ready's
///   hard state, snapshot and entries, and all those of earlier Readies, are durable. A vote or an
///   acknowledgement that outruns its write loses data at the next power cut.
/// - `messagesAfterAppend` may hold messages to this member itself; they are stepped back at that
///   same moment. A leader counts itself only through them, so it may send entries to followers while
///   its own disk is still writing (dissertation, 10.2.1).
/// - A `.snapshot` message says who needs one. The sender takes the state as it is then and replaces the
///   metadata by that state's: index, term and configuration. Afterwards it calls `reportSnapshot`.
/// - Every committed `.confChange`/`.confChangeV2` entry is handed to `applyConfChange`, before
///   `applied(upTo:)` covers it, and not before the hard state of its Ready and of all earlier ones is durable
///   (`commitMustBeDurableBeforeApply`).
/// - On the way back from a crash, the state's applied index lies within the log: `InitialState` says what belongs
///   together, and what does not is refused.
/// - Ticks come at about the same pace on all members. Only reads by lease depend on it for their safety; they also
///   need that ticks missed in a pause are made up for before the next read.
/// - The transport vouches for the members at its ends, and reports what it could not deliver (`reportUnreachable`).
///
/// **What it leaves to others.** Bytes on the wire, the log's storage, the state machine, the
/// snapshot's data (a `.snapshot` message carries only its metadata), retries of dropped proposals
/// and reads, and the meaning of payloads.
///
/// **Where things are.** `RaftNode` holds the state and the driver's side; its extensions follow the
/// protocol's parts: `+Step` (validation, terms), `+Election`, `+Replication`, `+Follower`,
/// `+Membership`, `+Reads`, `+Lease`, `+Transfer`. `LogTail` is the log in memory, `Progress` what a leader knows of a
/// follower, `Quorum` the arithmetic of majorities, `ClusterConfiguration` and `ConfChange` membership, `RaftStatus` what
/// operators see. `docs/raft.md` lists every rule with its source and its place, and shows a driver's loop.
///
/// Behaviour follows etcd-io/raft where the dissertation leaves room, because its corner cases
/// are the best tried in the field; `Tests/RaftTests` runs that project's scenario files.
