/// One member's replica, without I/O: consensus and apply as two machines joined by values.
///
/// ```
///        ticks, messages, proposals, reads                 committed entries, confirmed reads
///      ───────────────► ConsensusMachine ───────────────────────────────► ApplyMachine ──► answers,
///                        (Raft)  │  ▲                                       (Store)        deliveries
///                                ▼  │ appended(term, index)                    │
///                          entries to sync                                     └─► applied(upTo:)
/// ```
///
/// - ``ConsensusMachine`` decides what is replicated: it owns the Raft node, batches reads into
///   ReadIndex rounds, holds proposals back while there is no leader, and decides when the log is cut.
/// - ``ApplyMachine`` decides what a committed entry means: it owns the store, the watches, the leases
///   and the list of members.
///
/// Neither reads a clock, opens a socket, starts a task or draws a random number: time, identities and
/// randomness are handed in. Each runs on a thread of its own in `Server`, so that a tick or a message
/// never waits for the disk; the simulator interleaves them in virtual time.
///
/// The driver's part of the bargain, on which safety rests:
/// 1. `entriesToAppend` and `hardState` are durable before `messagesAfterAppend` leave and before
///    ``ConsensusMachine/appended(term:index:)`` is called. (Raft dissertation, 3.8.)
/// 2. Effects are performed in the order in which they were taken.
/// 3. `committed` is applied in order, and the state records the applied index with the data it describes.

@_exported import Raft
@_exported import Store
