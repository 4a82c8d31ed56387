import Foundation
import Testing

@testable import Storage

/// The damages of the matrix: every header of every record of the log, and samples of everything else.
struct DamageCases {
    let member: StoredMember
    /// How many times as many samples as usual.
    let factor: Int
    private(set) var all: [Damage] = []
    private var random = SplitMix(state: 0x5d1a)

    init(_ member: StoredMember, factor: Int) throws {
        self.member = member
        self.factor = factor
        for ending in StoredMember.Ending.allCases { try addHeaders(ending) }
        try addLogTails()
        for (path, isDirectory) in try walk(member.path(.rest)) where !isDirectory { try addSamples(path) }
        try addTables()
        try addRollbacks()
    }

    private mutating func add(
        _ row: String, _ file: String, _ change: Damage.Change, _ detail: String,
        ending: StoredMember.Ending = .rest
    ) {
        all.append(
            Damage(
                row: row, name: "\(file) \(detail), stopped \(ending.rawValue)", ending: ending, file: file,
                change: change))
    }

    private func logs(_ ending: StoredMember.Ending) throws -> [String] {
        try Files.list(member.path(ending) + "/member/log/records").filter { $0.hasSuffix(".log") }
            .map { "member/log/records/" + $0 }
    }

    /// Where the fragments of a log file begin, and where the last ends.
    static func fragments(_ bytes: [UInt8]) -> [Int] {
        var starts: [Int] = []
        var offset = 0
        while offset + LogFileScan.headerSize <= bytes.count {
            let left = LogFileScan.blockSize - offset % LogFileScan.blockSize
            if left < LogFileScan.headerSize {
                offset += left
                continue
            }
            starts.append(offset)
            offset += LogFileScan.headerSize + Int(bytes[offset + 4]) + Int(bytes[offset + 5]) << 8
        }
        return starts
    }

    /// Every byte of every header of the log: of all files for the member at rest, of the last record for the others.
    private mutating func addHeaders(_ ending: StoredMember.Ending) throws {
        let logs = try logs(ending)
        for file in ending == .rest ? logs : [logs[logs.count - 1]] {
            let bytes = try Files.read(member.path(ending) + "/" + file)
            let starts = Self.fragments(bytes)
            for (number, start) in starts.enumerated() {
                let isLast = file == logs.last && number == starts.count - 1
                guard ending == .rest || isLast else { continue }
                for byte in 0..<LogFileScan.headerSize {
                    let part = byte < 4 ? "checksum" : byte < 6 ? "length" : "type"
                    let bits =
                        isLast || factor > 1 ? [0, 1, 2, 3, 4, 5, 6, 7] : [Int.random(in: 0...7, using: &random)]
                    for bit in bits {
                        add(
                            "log: a bit of a record's \(part)\(isLast ? ", the last record, \(ending.rawValue)" : "")",
                            file, .flip(offset: start + byte, mask: 1 << bit), "byte \(start + byte) bit \(bit)",
                            ending: ending)
                    }
                }
            }
        }
    }

    /// The last record of the log cut short, at its end, or with a part that never arrived.
    private mutating func addLogTails() throws {
        for ending in StoredMember.Ending.allCases {
            let file = try logs(ending).last ?? ""
            let bytes = try Files.read(member.path(ending) + "/" + file)
            let last = Self.fragments(bytes).last ?? 0
            let length = bytes.count - last
            for size in [1, 3, 7, 8, length / 2, length - 1] where size > 0 && size < length {
                add(
                    "log: the last record cut short, \(ending.rawValue)", file, .truncate(last + size),
                    "cut to \(last + size)", ending: ending)
            }
            add(
                "log: the last record gone, \(ending.rawValue)", file, .truncate(last), "cut to \(last)", ending: ending
            )
            all[all.count - 1].isBeforeLastAppend = ending == .unproven
            let sector = last + 511 - (last + 511) % 512
            if sector + 512 <= bytes.count {
                add(
                    "log: a sector of the last record zeroed, \(ending.rawValue)", file, .zero(sector..<sector + 512),
                    "sector at \(sector) zeroed", ending: ending)
            }
            add(
                "log: zeros after the last record, \(ending.rawValue)", file,
                .append([UInt8](repeating: 0, count: 700)),
                "with zeros after it", ending: ending)
        }
    }

    private func kind(of path: String) -> String {
        let database = path.hasPrefix("member/log/records/") ? "log" : path.hasPrefix("member/state/0") ? "state" : nil
        let name = String(path.split(separator: "/").last ?? "")
        guard let database else { return "our \(name)" }
        if name.hasSuffix(".log") { return "\(database): write-ahead log" }
        if name.hasSuffix(".sst") { return "\(database): table" }
        if name.hasPrefix("MANIFEST") { return "\(database): MANIFEST" }
        if name.hasPrefix("OPTIONS") { return "\(database): OPTIONS" }
        return "\(database): \(name.hasPrefix("LOG") ? "LOG" : name)"
    }

    /// Flips, cuts, zeros and the deletion of any file.
    private mutating func addSamples(_ path: String) throws {
        let kind = kind(of: path)
        let size = try Files.size(of: member.path(.rest) + "/" + path)
        add("\(kind), deleted", path, .delete, "deleted")
        guard size > 0 else { return }
        let matters = !kind.hasSuffix("LOG") && !kind.hasSuffix("OPTIONS") && !kind.hasSuffix("LOCK")
        let flips = (matters ? 10 : 3) * factor
        let offsets =
            size <= flips * 2 ? Array(0..<size) : (0..<flips).map { _ in Int.random(in: 0..<size, using: &random) }
        for offset in offsets {
            add(
                "\(kind), a bit flipped", path,
                .flip(offset: offset, mask: 1 << UInt8.random(in: 0...7, using: &random)), "byte \(offset)")
        }
        let cuts =
            [0, 1, size / 3, size / 2, size - 1]
            + (0..<(matters ? 3 : 0) * factor).map { _ in Int.random(in: 0..<size, using: &random) }
        for cut in Set(cuts).sorted() where cut < size {
            add("\(kind), cut short", path, .truncate(cut), "cut to \(cut)")
        }
        add("\(kind), zeroed", path, .zero(0..<size), "zeroed")
        for _ in 0..<(matters ? 2 : 1) * factor {
            let start = Int.random(in: 0...(size - 1) / 512, using: &random) * 512
            add("\(kind), a sector zeroed", path, .zero(start..<start + 512), "sector at \(start) zeroed")
        }
        if kind.hasSuffix("MANIFEST") || kind == "log: write-ahead log" || kind == "state: write-ahead log" {
            // At the records' ends, where a scan sees nothing.
            let bytes = try Files.read(member.path(.rest) + "/" + path)
            let starts = Self.fragments(bytes)
            for start in kind.hasSuffix("MANIFEST") ? starts : starts.suffix(2) + starts.prefix(2) {
                add("\(kind), cut at a record's end", path, .truncate(start), "cut to \(start)")
            }
            for start in kind.hasSuffix("MANIFEST") ? starts : [] {
                for byte in 0..<LogFileScan.headerSize {
                    let bit = UInt8.random(in: 0...7, using: &random)
                    add(
                        "\(kind), a bit of a record's header", path, .flip(offset: start + byte, mask: 1 << bit),
                        "byte \(start + byte)")
                }
            }
            // Padding between the last fragment of a block and the block's end.
            for block in stride(from: LogFileScan.blockSize, through: bytes.count, by: LogFileScan.blockSize) {
                guard let before = starts.last(where: { $0 < block }) else { continue }
                let end = before + LogFileScan.headerSize + Int(bytes[before + 4]) + Int(bytes[before + 5]) << 8
                for offset in end..<max(end, block) {
                    add("\(kind), a bit of a block's padding", path, .flip(offset: offset, mask: 4), "byte \(offset)")
                }
            }
        }
    }

    /// The ends of tables, where their indexes and properties are, bit by bit: no checksum covers the last 53 bytes.
    private mutating func addTables() throws {
        let tables = try walk(member.path(.rest)).map(\.path).filter { $0.hasSuffix(".sst") }
        for path in tables {
            let size = try Files.size(of: member.path(.rest) + "/" + path)
            for offset in size - 53..<size {
                let bits = factor > 1 ? Array(0...7) : [Int.random(in: 0...7, using: &random)]
                for bit in bits {
                    add(
                        "\(kind(of: path)), a bit of its footer", path, .flip(offset: offset, mask: 1 << UInt8(bit)),
                        "byte \(offset) bit \(bit)")
                }
            }
            for _ in 0..<15 * factor {
                let offset = size - 54 - Int.random(in: 0..<min(1400, size - 54), using: &random)
                add(
                    "\(kind(of: path)), a bit of its index or properties", path,
                    .flip(offset: offset, mask: 1 << UInt8.random(in: 0...7, using: &random)), "byte \(offset)")
            }
        }
    }

    /// Files that are of another time, or of another place.
    private mutating func addRollbacks() throws {
        let current = member.path(.rest)
        let files = try walk(current).filter { !$0.isDirectory }.map(\.path)
        func alike(_ a: String, _ b: String) -> Bool { a != b && kind(of: a) == kind(of: b) }
        for path in files where path.hasSuffix(".sst") || path.hasSuffix(".log") {
            for other in files where alike(path, other) {
                add(
                    "\(kind(of: path)), another one in its place", path, .replace(with: current + "/" + other),
                    "replaced by \(other)")
            }
        }
        for former in member.former + [member.beforeLastAppend] {
            let name = former.split(separator: "/").last ?? ""
            for path in files where Files.exists(former + "/" + path) {
                add("\(kind(of: path)), an older copy", path, .replace(with: former + "/" + path), "as in \(name)")
            }
            for (path, _) in try walk(former) {
                guard path.contains("MANIFEST") || path.hasSuffix(".log") else { continue }
                // What used to be under another name.
                for now in files where kind(of: now) == kind(of: path) && now != path {
                    add(
                        "\(kind(of: now)), an older one in its place", now, .replace(with: former + "/" + path),
                        "replaced by \(path) of \(name)")
                }
            }
            for directory in ["member/log/records", "member/log", "member/state"] {
                add("\(directory), an older copy", directory, .replace(with: former + "/" + directory), "as in \(name)")
            }
        }
        for directory in ["member/log/records", "member/log", "member/state", "member/state/000001"] {
            add("\(directory), deleted", directory, .delete, "deleted")
        }
        add(
            "member/state/000001, the log's database", "member/state/000001",
            .replace(with: current + "/member/log/records"), "replaced by the log's")
        add(
            "member/log/records, the state's database", "member/log/records",
            .replace(with: current + "/member/state/000001"), "replaced by the state's")
    }
}
