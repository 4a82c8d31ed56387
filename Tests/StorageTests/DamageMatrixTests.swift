import Foundation
import Synchronization
import Testing

@testable import Storage

/// What becomes of a member whose files were damaged while it was stopped. Prints the matrix that docs/storage.md holds.
///
/// `STORAGE_DAMAGE_SAMPLES=10` takes ten times as many samples.
@Suite(.serialized) struct DamageMatrixTests {
    static let factor = ProcessInfo.processInfo.environment["STORAGE_DAMAGE_SAMPLES"].flatMap(Int.init) ?? 1

    @Test func aDamagedMemberStopsOrServesWhatItHad() throws {
        let member = try StoredMember()
        let matrix = try DamageMatrix(member, DamageCases(member, factor: Self.factor).all, checks: .all)
        print(matrix.text)
        for violation in matrix.violations { Issue.record("\(violation)") }
        #expect(matrix.count > 1000 * Self.factor)
        // The specimen is of the kind that was asked for, and no case has changed it.
        #expect(matrix.logFiles >= 3 && matrix.stateTables >= 3)
    }

    /// Without its checks the same member serves what it never held, and without the scan RocksDB ends the process: so
    /// the matrix can fail.
    @Test(arguments: [StorageChecks.all.subtracting(.scan), []])
    func withoutTheChecksTheMatrixFails(checks: StorageChecks) throws {
        let member = try StoredMember()
        let cases = try DamageCases(member, factor: 1).all.enumerated()
            .filter { $0.offset % 5 == 0 && $0.element.row.hasPrefix("log") }.map(\.element)
        let matrix = try DamageMatrix(member, cases, checks: checks)
        print("with the checks \(checks.rawValue): \(matrix.violationCounts) in \(cases.count) cases")
        #expect(matrix.violationCounts[.ended, default: 0] > 0)
        if checks.isEmpty { #expect(matrix.violationCounts[.wrongContent, default: 0] > 0) }
    }
}

/// The cases of a matrix, each tried on a copy of a member of its own, and what came of them.
struct DamageMatrix {
    enum Outcome: String, CaseIterable {
        /// Not opened; all files as they were.
        case refused
        /// Opened, but a read failed and says where.
        case stopped
        /// All that it had is served.
        case unchanged
        /// A torn last record was dropped, with a notice.
        case dropped
        case violation
    }

    enum Violation {
        case ended, unnamed, changed, wrongContent
    }

    private(set) var violationCounts: [Violation: Int] = [:]

    private var table: [String: [Outcome: Int]] = [:]
    private var rows: [String] = []
    private(set) var violations: [String] = []
    private(set) var count = 0
    let logFiles: Int
    let stateTables: Int

    init(_ member: StoredMember, _ cases: [Damage], checks: StorageChecks) throws {
        let paths = try walk(member.path(.rest)).map(\.path)
        logFiles = paths.filter { $0.hasPrefix("member/log/records") && $0.hasSuffix(".log") }.count
        stateTables = paths.filter { $0.hasPrefix("member/state/") && $0.hasSuffix(".sst") }.count
        let judge = try Judge(member, checks: checks)
        let next = Atomic(0)
        let outcomes = Mutex<[(place: Int, Judge.Finding)]>([])
        let failures = Mutex<[any Error]>([])
        DispatchQueue.concurrentPerform(iterations: 2) { _ in
            do {
                let reader = try StorageReader()
                while true {
                    let place = next.wrappingAdd(1, ordering: .relaxed).oldValue
                    guard place < cases.count else { return }
                    let finding = try judge.finding(on: cases[place], number: place, reader)
                    outcomes.withLock { $0.append((place, finding)) }
                }
            } catch {
                failures.withLock { $0.append(error) }
            }
        }
        if let failure = failures.withLock({ $0.first }) { throw failure }
        for (place, finding) in outcomes.withLock({ $0 }).sorted(by: { $0.place < $1.place }) {
            let row = cases[place].row
            if table[row] == nil { rows.append(row) }
            table[row, default: [:]][finding.outcome, default: 0] += 1
            count += 1
            guard let violation = finding.violation else { continue }
            violationCounts[violation, default: 0] += 1
            let text = finding.text.replacingOccurrences(of: "\(member.root.path)/case-\(place)", with: "DIR")
            violations.append("\(cases[place].name): \(violation): \(text)")
        }
    }

    var text: String {
        var lines = [
            "| damage | refused | stopped | unchanged | dropped, said | else |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in rows.sorted() {
            let counts = Outcome.allCases.map { outcome in table[row]?[outcome].map(String.init) ?? "" }
            lines.append("| " + ([row] + counts).joined(separator: " | ") + " |")
        }
        return lines.joined(separator: "\n") + "\n\(count) cases"
    }
}

/// What a case must come to.
private struct Judge: Sendable {
    private let checks: StorageChecks
    private let root: String
    private let sources: [StoredMember.Ending: String]
    private let originals: [StoredMember.Ending: [String: [UInt8]]]
    /// What the whole member serves.
    private let whole: [StoredMember.Ending: String]
    /// And what is left of it when its last record was dropped.
    private let without: [StoredMember.Ending: String]

    init(_ member: StoredMember, checks: StorageChecks) throws {
        self.checks = checks
        root = member.root.path
        let reader = try StorageReader()
        var whole: [StoredMember.Ending: String] = [:]
        var sources: [StoredMember.Ending: String] = [:]
        var originals: [StoredMember.Ending: [String: [UInt8]]] = [:]
        func digest(_ path: String) throws -> String {
            let copy = member.root.file("undamaged")
            try FileManager.default.copyItem(atPath: path, toPath: copy)
            defer { try? FileManager.default.removeItem(atPath: copy) }
            guard case .opened(let digest, let notices)? = try reader.read(copy, .all), notices.isEmpty else {
                throw StorageError(.system, path, "\(path) is not whole")
            }
            return digest
        }
        for ending in StoredMember.Ending.allCases {
            let path = member.path(ending)
            sources[ending] = path
            whole[ending] = try digest(path)
            var files: [String: [UInt8]] = [:]
            for (name, isDirectory) in try walk(path) where !isDirectory {
                files[name] = try Files.read(path + "/" + name)
            }
            originals[ending] = files
        }
        let before = try digest(member.beforeLastAppend)
        self.whole = whole
        self.sources = sources
        self.originals = originals
        without = [.rest: whole[.proven] ?? "", .unproven: before]
    }

    struct Finding {
        var outcome: DamageMatrix.Outcome
        var violation: DamageMatrix.Violation?
        var text: String

        init(_ outcome: DamageMatrix.Outcome, _ text: String) { (self.outcome, self.text) = (outcome, text) }
        init(_ violation: DamageMatrix.Violation, _ text: String) {
            (outcome, self.violation, self.text) = (.violation, violation, text)
        }
    }

    func finding(on damage: Damage, number: Int, _ reader: StorageReader) throws -> Finding {
        let copy = "\(root)/case-\(number)"
        try damage.makeCopy(of: sources[damage.ending] ?? "", at: copy)
        defer { try? Files.remove(copy) }
        let before = try listing(copy)
        guard let answer = try reader.read(copy, checks) else { return Finding(.ended, "the process ended") }
        switch answer {
        case .stopped(let message):
            guard names(message, damage.file, in: copy) else { return Finding(.unnamed, message) }
            // It is there still, for whoever wants to look into it.
            let isKept = try listing(copy)[damage.file] == before[damage.file]
            return isKept ? Finding(.stopped, message) : Finding(.changed, damage.file)
        case .refused(let message):
            guard names(message, damage.file, in: copy) else { return Finding(.unnamed, message) }
            let after = try listing(copy)
            let changed = Set(before.keys).union(after.keys).filter { before[$0] != after[$0] }
            return changed.isEmpty ? Finding(.refused, message) : Finding(.changed, "\(changed.sorted())")
        case .opened(let digest, let notices):
            if digest == whole[damage.ending] { return Finding(.unchanged, notices) }
            guard digest == without[damage.ending] else { return Finding(.wrongContent, notices) }
            if !notices.isEmpty { return Finding(.dropped, notices) }
            // Nothing of the last append was on the disk: nothing is lost, and there is nothing to be said of.
            return damage.isBeforeLastAppend ? Finding(.unchanged, "") : Finding(.wrongContent, "silently less")
        }
    }

    /// The file itself; for entries that are gone, the database that lacks them.
    private func names(_ message: String, _ file: String, in copy: String) -> Bool {
        if message.contains("\(copy)/\(file)") { return true }
        let parent = file.split(separator: "/").dropLast().joined(separator: "/")
        return ["missing", "too old"].contains { message.contains($0) } && message.contains("\(copy)/\(parent)")
    }

    /// The files with what is in them; our lock says who held it last.
    private func listing(_ copy: String) throws -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for (path, isDirectory) in try walk(copy) where !isDirectory && path != "member/lock" {
            files[path] = try Files.read(copy + "/" + path)
        }
        return files
    }
}

/// A child that opens directories and says what it found; started anew when one made it end.
final class StorageReader {
    enum Answer {
        case opened(digest: String, notices: String)
        case refused(String)
        case stopped(String)
    }

    private let program: String
    private var process: Process?
    private var input = Pipe()
    private var output = Pipe()
    private var buffer = Data()

    init() throws {
        // A child that has ended is found by its silence.
        signal(SIGPIPE, SIG_IGN)
        let directory = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            .split(separator: "/").dropLast().map { "/" + $0 }.joined()
        program = directory + "/storage-reader"
        guard FileManager.default.isExecutableFile(atPath: program) else {
            throw StorageError(.system, program, "\(program) is missing: swift build --product storage-reader")
        }
    }

    deinit { stop() }

    private func start() throws {
        stop()
        let process = Process()
        input = Pipe()
        output = Pipe()
        buffer = Data()
        process.executableURL = URL(fileURLWithPath: program)
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process = process
    }

    private func stop() {
        try? input.fileHandleForWriting.close()
        process?.waitUntilExit()
        process = nil
    }

    /// Nil when the process ended instead of answering.
    func read(_ directory: String, _ checks: StorageChecks) throws -> Answer? {
        if process == nil { try start() }
        try input.fileHandleForWriting.write(contentsOf: Data("\(checks.rawValue) \(directory)\n".utf8))
        while buffer.firstIndex(of: 10) == nil {
            let more = output.fileHandleForReading.availableData
            if more.isEmpty {
                stop()
                return nil
            }
            buffer += more
        }
        let end = buffer.firstIndex(of: 10) ?? buffer.endIndex
        let fields = String(decoding: buffer[buffer.startIndex..<end], as: UTF8.self)
            .split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        buffer = Data(buffer[buffer.index(after: end)...])
        switch fields[0] {
        case "opened": return .opened(digest: fields[1], notices: fields[3])
        case "stopped": return .stopped(fields[1])
        default: return .refused(fields[1])
        }
    }
}
