import CSystemd

/// The service manager's notices (sd_notify(3)). Without `NOTIFY_SOCKET` each call does nothing.
public enum ServiceNotice {
    public static func ready() { sd_notify(0, "READY=1\nSTATUS=ready to serve client requests") }
    public static func stopping() { sd_notify(0, "STOPPING=1") }
    public static func alive() { sd_notify(0, "WATCHDOG=1") }

    /// How often the service manager wants to hear ``alive()``: half of its limit; nil when it does not watch.
    public static var watchdogMicroseconds: UInt64? {
        var limit: UInt64 = 0
        guard sd_watchdog_enabled(0, &limit) > 0, limit > 1 else { return nil }
        return limit / 2
    }
}
