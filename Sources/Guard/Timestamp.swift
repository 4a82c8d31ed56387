import Glibc

/// A moment of the wall clock, written as RFC 3339 in UTC with nanoseconds: always 30 characters.
struct Timestamp {
    let seconds: Int64
    let nanoseconds: Int64

    static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: Int64(time.tv_nsec))
    }

    /// Appends the text without allocating.
    func append(to bytes: inout [UInt8]) {
        var moment = time_t(seconds)
        var parts = tm()
        gmtime_r(&moment, &parts)
        func append(_ number: Int, digits: Int, _ separator: UInt8) {
            var divisor = 1
            for _ in 1..<digits { divisor *= 10 }
            while divisor > 0 {
                bytes.append(UInt8(ascii: "0") + UInt8(number / divisor % 10))
                divisor /= 10
            }
            bytes.append(separator)
        }
        append(Int(parts.tm_year) + 1900, digits: 4, UInt8(ascii: "-"))
        append(Int(parts.tm_mon) + 1, digits: 2, UInt8(ascii: "-"))
        append(Int(parts.tm_mday), digits: 2, UInt8(ascii: "T"))
        append(Int(parts.tm_hour), digits: 2, UInt8(ascii: ":"))
        append(Int(parts.tm_min), digits: 2, UInt8(ascii: ":"))
        append(Int(parts.tm_sec), digits: 2, UInt8(ascii: "."))
        append(Int(nanoseconds), digits: 9, UInt8(ascii: "Z"))
    }
}
