/// One member of the cluster: the replica wired to sockets, disk and clock, and the API services on top.
///
/// ```
///   client ──► event loops (GRPC, HTTP) ──proposals, reads──► consensus thread ──entries──► log thread
///     ▲              ▲                                           │      ▲                      │ one sync
///     │              │                              committed,   │      └──── appended ────────┤ a batch
///     │              │                         confirmed reads   ▼                             ▼
///     └── answers ───┴──────── batches, one per loop ─────── apply thread            messages after append
///
///   peers  ◄──────────────────────────── Transport (same event loops) ──────────────────────────►
/// ```
///
/// Everything between the boxes travels as batches through a ``Mailbox``; nothing on the way of a request is an
/// `async` hop. This module contains no decision about consensus or about what a command means: those are
/// `Replica`'s. It decides when to call it, performs its effects in order, and translates between etcd's wire
/// and the store's values.
///
/// - ``Member`` starts and stops everything.
/// - ``ConsensusDriver``, ``LogDriver``, ``ApplyDriver``: one thread each.
/// - ``ClientService``: the API, one instance per event loop.

@_exported import Configuration
import Replica
