/// Whole clusters of the real `Replica` in virtual time, every accident of which follows from one seed.
///
/// ```
///   clients ──► MemberLife ──parcels──► SimulatedNetwork ──► MemberLife ...
///                │  consensus, log and apply threads of the real machines,
///                │  interleaved by the Agenda
///                ▼
///           SimulatedDisk (survives a crash, less what was not synced)
///
///   everything that happens ──► Oracle (invariants), Census (how often), trace digest
/// ```
///
/// `MemberLife` plays the edges that `Server` plays in production: three threads joined by mailboxes, a log whose
/// writes are synced in groups, a state that is flushed now and then, a transport. `Swarm` draws from the seed which
/// faults a run knows and how hard they strike, so that different seeds search different corners. `Oracle` sees every entry
/// a member applies and every answer a client gets, and says what must never be.
///
/// A run depends on its options alone: no clock, no address, no order of a `Set` or `Dictionary` enters it. The trace
/// digest covers every message, write, applied entry and answer; equal options give equal digests.

@_exported import Replica

/// What one run is made from.
public struct SimulationOptions: Sendable {
    public var seed: UInt64
    /// How long faults last and clients work; the cluster is then healed and must come to rest.
    public var virtualSeconds: Int
    /// Voters of the cluster; 1 to 9.
    public var members: Int

    public init(seed: UInt64, virtualSeconds: Int = 60, members: Int = 3) {
        precondition((1...9).contains(members) && virtualSeconds > 0, "1 to 9 members and at least a second")
        self.seed = seed
        self.virtualSeconds = virtualSeconds
        self.members = members
    }
}

/// What came of a run.
public struct SimulationReport: Sendable {
    public var seed: UInt64
    /// What was violated, and when; nil when the run passed.
    public var failure: String?
    /// Over everything that happened, in order.
    public var traceDigest: UInt64
    public var census: Census
    /// How much time the cluster saw, coming to rest included.
    public var virtualMicroseconds: Int64
}

/// Runs one cluster from its founding to its rest.
public func simulate(_ options: SimulationOptions) -> SimulationReport {
    let cluster = SimulatedCluster(options)
    cluster.run()
    return SimulationReport(
        seed: options.seed, failure: cluster.failure, traceDigest: cluster.trace.value, census: cluster.census,
        virtualMicroseconds: cluster.now)
}
