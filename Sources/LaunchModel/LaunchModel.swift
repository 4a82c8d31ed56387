/// # LaunchModel: what the agents, the engine and the command line tell each other through the store
///
/// Every key that a launch leaves in the store is named here (``Keys``), and every value has its type here. The values
/// are JSON, so that `etcdctl get --prefix /megam/` is readable.
///
/// ```
///   megam ──spec, wanted──▶ /megam/assemblies/NAME/ ◀──state, events── megamd
///                                                                        │
///   gulpd's agent ◀──assignments── /megam/agents/NODE/ ◀──assignments────┘
///        └──report──▶ /megam/reports/NODE/ ──────────────▶ megamd, megam
/// ```
///
/// Each key has one writer: users write `spec` and `wanted`, the leading engine writes `state`, `events` and the
/// assignments, and an agent writes its node's record, its presence and its reports.
///
/// The module decides nothing and does no I/O. It is where the three programs agree, and where a value from the store
/// that is none is refused with a sentence that names the field (``Record/init(json:)``).
enum LaunchModel {}
