/// The form of all small files of a run's directory: readable, able to hold any bytes, and it shows damage.
///
/// ```
/// gulp-run exit 1            kind and version
/// exited 1 3                 name, number of bytes, the bytes
/// cause 8 byItself
/// sum 16 0f3c…               FNV-1a of all before this line
/// ```
///
/// Fields may repeat. A reader ignores those that it does not know, so that fields can be added without a new version.
struct RunRecord {
    let kind: String
    /// Where it was read from, for messages.
    var origin: String
    private var fields: [(name: String, value: String)] = []

    init(kind: String) {
        self.kind = kind
        origin = kind
    }

    mutating func add(_ name: String, _ value: String) {
        fields.append((name, value))
    }

    func all(_ name: String) -> [String] {
        fields.filter { $0.name == name }.map(\.value)
    }

    func first(_ name: String) -> String? {
        fields.first { $0.name == name }?.value
    }

    func text(_ name: String) throws(GuardError) -> String {
        guard let value = first(name) else { throw damaged(name) }
        return value
    }

    func number<Number: FixedWidthInteger>(_ name: String) throws(GuardError) -> Number {
        guard let value = first(name), let number = Number(value) else { throw damaged(name) }
        return number
    }

    func damaged(_ what: String) -> GuardError {
        GuardError("\(origin) is damaged (\(what) is missing or wrong); the run cannot be judged by it")
    }
}

extension RunRecord {
    var encoded: [UInt8] {
        var bytes = Array("gulp-run \(kind) \(GuardFormat.version)\n".utf8)
        for (name, value) in fields { Self.append(name, value, to: &bytes) }
        Self.append("sum", Self.sum(bytes[...]), to: &bytes)
        return bytes
    }

    /// Reads a record, or throws an error that names `origin`.
    init(_ bytes: [UInt8], kind: String, origin: String) throws(GuardError) {
        self.init(kind: kind)
        self.origin = origin
        var rest = bytes[...]
        guard let newline = rest.firstIndex(of: UInt8(ascii: "\n")) else { throw damaged("the first line") }
        let head = String(decoding: rest[..<newline], as: UTF8.self).split(separator: " ")
        guard head.count == 3, head[0] == "gulp-run", head[1] == kind, let version = Int(head[2]) else {
            throw damaged("the first line")
        }
        guard version <= GuardFormat.version else {
            throw GuardError(
                "\(origin) has format version \(version), this program knows \(GuardFormat.version); use a newer gulpd")
        }
        rest = rest[(newline + 1)...]
        while true {
            let start = rest.startIndex
            guard let (name, value) = Self.takeField(&rest) else { throw damaged("a field or the sum") }
            guard name == "sum" else {
                add(name, value)
                continue
            }
            guard value == Self.sum(bytes[..<start]), rest.isEmpty else { throw damaged("the sum") }
            return
        }
    }

    private static func append(_ name: String, _ value: String, to bytes: inout [UInt8]) {
        bytes += Array("\(name) \(value.utf8.count) ".utf8) + Array(value.utf8) + [UInt8(ascii: "\n")]
    }

    /// Takes one field off the front; nil if there is no whole one.
    private static func takeField(_ rest: inout ArraySlice<UInt8>) -> (String, String)? {
        let space = UInt8(ascii: " ")
        guard let nameEnd = rest.firstIndex(of: space),
            let countEnd = rest[(nameEnd + 1)...].firstIndex(of: space),
            let count = Int(String(decoding: rest[(nameEnd + 1)..<countEnd], as: UTF8.self)),
            count >= 0, count < rest.endIndex - (countEnd + 1),
            rest[countEnd + 1 + count] == UInt8(ascii: "\n")
        else { return nil }
        let name = String(decoding: rest[..<nameEnd], as: UTF8.self)
        let value = String(decoding: rest[(countEnd + 1)..<(countEnd + 1 + count)], as: UTF8.self)
        rest = rest[(countEnd + 1 + count + 1)...]
        return (name, value)
    }

    /// FNV-1a of 64 bits: it is to notice damage, not malice.
    private static func sum(_ bytes: ArraySlice<UInt8>) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
