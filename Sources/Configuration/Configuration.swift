/// What a member was told: its settings, where they come from, and what is wrong with them.
///
///     arguments ──── flags (Go's syntax) ──┐
///     GULPD_… ─────── environment ─────────┤ a flag wins over GULPD_…, GULPD_… over ETCD_…
///     ETCD_… ──────── environment ─────────┤
///                                          ├──▶ settings by flag name ──▶ MemberConfiguration
///     --config-file ─ YAML, etcd's keys ───┘ (when given, nothing else is looked at)
///
/// The flags, their defaults and their spelling are those of etcd 3.5, so that a unit file or a manifest written for
/// etcd starts a member here. All of them stand in one table (`Flag.all`). One that is not served yet is taken as
/// long as it asks for what it would do anyway; set away from its default it is an error that names it, because a
/// setting silently ignored is worse than a refusal.
///
/// `MemberConfiguration.resolve` is a pure function of its arguments: it reads no clock, no directory and no file but
/// by the closure it is given, and changes nothing. Whatever it refuses, it refuses before anything was touched.
public enum VersionText {
    /// This program's own version.
    public static let own = "0.1.0"
    /// The etcd version whose interface is served; clients and tools decide by it.
    public static let etcd = "3.5.16"
    /// The version of the cluster's protocol as a whole, as `/version` reports it.
    public static let cluster = "3.5.0"

    /// What `--version` prints.
    public static let report = "gulpd Version: \(own)\netcd Version: \(etcd)\n"
}

/// Why a member does not start: one line for the person who started it.
public struct ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong, with what, and what to do.
    public var message: String
    /// 2 when the command line could not be understood, 1 when it could but cannot be followed, as etcd exits.
    public var exitCode: Int32

    public init(_ message: String, exitCode: Int32 = 1) {
        self.message = message
        self.exitCode = exitCode
    }

    public var description: String { message }
}
