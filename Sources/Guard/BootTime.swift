import Glibc

/// A moment on CLOCK_BOOTTIME, which goes on while the machine is suspended and is never set. Moments of different
/// boots do not compare; the files that hold one name its boot.
public struct BootTime: Comparable, Hashable, Sendable {
    /// Nanoseconds since the machine was booted.
    public var nanoseconds: Int64

    /// The moment that is `nanoseconds` after the boot.
    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// The present moment.
    public static var now: BootTime {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return BootTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    public static func < (left: BootTime, right: BootTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// The moment that much later; the last one representable if that is passed.
    public static func + (moment: BootTime, duration: Duration) -> BootTime {
        let (sum, overflow) = moment.nanoseconds.addingReportingOverflow(duration.clampedNanoseconds)
        return BootTime(nanoseconds: overflow ? (duration < .zero ? .min : .max) : sum)
    }

    /// The moment that much earlier.
    public static func - (moment: BootTime, duration: Duration) -> BootTime {
        moment + (.zero - duration)
    }

    /// The time from `right` to `left`.
    public static func - (left: BootTime, right: BootTime) -> Duration {
        .nanoseconds(left.nanoseconds) - .nanoseconds(right.nanoseconds)
    }
}

extension Duration {
    /// The duration in nanoseconds, at most what fits.
    var clampedNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carry) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflow || carry ? (seconds < 0 ? .min : .max) : sum
    }
}

/// The wall clock in Unix milliseconds.
func wallClockMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
