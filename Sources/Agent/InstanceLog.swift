import AgentAPI
import Foundation
import Glibc
import Guard
import LaunchModel

/// What an instance's runs on this node wrote, one after the other, as far as it is kept.
struct InstanceLog: Sendable {
    let data: DataDirectory
    let instance: InstanceID

    /// A place between two lines.
    struct Cursor: Hashable, Sendable {
        var token: Int64
        var attempt: Int
        var position: LogPosition
        /// The end of the run was told too.
        var isOver: Bool

        init(_ run: RunKey, _ position: LogPosition = .start) {
            token = run.token
            attempt = run.attempt
            self.position = position
            isOver = false
        }

        /// nil for what is no cursor.
        init?(bytes: [UInt8]) {
            guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 4, let token = Int64(parts[0]), let attempt = Int(parts[1]),
                let offset = Int64(parts[2]), offset >= 0, let over = Int(parts[3]), (0...1).contains(over)
            else { return nil }
            self.token = token
            self.attempt = attempt
            position = LogPosition(byteOffset: offset)
            isOver = over == 1
        }

        var bytes: [UInt8] { Array("\(token).\(attempt).\(position.byteOffset).\(isOver ? 1 : 0)".utf8) }
    }

    struct Step: Sendable {
        var lines: [Megam_LogLine] = []
        var cursor: Cursor
        /// There was no more when it was read.
        var isAtEnd = false
    }

    /// Where the last `count` lines begin; 0: all. nil if the instance has no run here.
    func start(tail count: Int64) throws(GuardError) -> Cursor? {
        let keys = data.runs(of: instance)
        guard count > 0 else { return keys.first.map { Cursor($0) } }
        var left = Int(clamping: count)
        var cursor: Cursor?
        for key in keys.reversed() {
            // One that is only being made has no lines.
            guard let run = try? RunDirectory(adopting: data.run(key)) else { continue }
            let reader = LogReader(run)
            let start = try reader.position(ofLast: left)
            cursor = Cursor(key, start)
            var chunk = try reader.read(from: start)
            left -= chunk.lines.count
            while !chunk.isAtEnd, left > 0 {
                chunk = try reader.read(from: chunk.next)
                left -= chunk.lines.count
            }
            if left <= 0 { break }
        }
        return cursor ?? keys.last.map { Cursor($0) }
    }

    /// The next lines, of one run at most; nil if the instance has no run here any more.
    func read(from cursor: Cursor, limitBytes: Int = 256 << 10) throws(GuardError) -> Step? {
        let keys = data.runs(of: instance)
        let place = RunKey(instance, token: cursor.token, attempt: cursor.attempt)
        guard let key = keys.first(where: { place <= $0 }) else {
            // Of runs that are gone, none of which is followed by another.
            return keys.isEmpty ? nil : Step(cursor: cursor, isAtEnd: true)
        }
        let next = keys.first { key < $0 }
        let start = key == place ? cursor : Cursor(key)
        do throws(GuardError) { return try read(key, from: start, next, limitBytes) } catch {
            // It is only being made, or has just been deleted.
            if let next { return Step(cursor: Cursor(next)) }
            if access("\(data.run(key))/specification", F_OK) != 0 { return Step(cursor: start, isAtEnd: true) }
            throw error
        }
    }

    private func read(
        _ key: RunKey, from start: Cursor, _ next: RunKey?, _ limitBytes: Int
    ) throws(GuardError) -> Step {
        var step = Step(cursor: start)
        let run = try RunDirectory(adopting: data.run(key))
        // In this order: what is read after a run has ended is all of it.
        let status = try run.status()
        let chunk = try LogReader(run).read(from: step.cursor.position, limitBytes: limitBytes)
        if chunk.lostBytes > 0, let first = chunk.lines.first {
            step.lines.append(.said("\(chunk.lostBytes) bytes of older lines are kept no more", first.nanoseconds))
        }
        step.lines += Self.joined(chunk.lines)
        step.cursor.position = chunk.next
        guard chunk.isAtEnd else { return step }
        guard case .ended(let outcome) = status else {
            step.isAtEnd = true
            return step
        }
        if !step.cursor.isOver {
            step.lines.append(.said("attempt \(key.attempt) \(outcome.words)", outcome.endedAt * 1_000_000))
            step.cursor.isOver = true
        }
        if let next { step.cursor = Cursor(next) } else { step.isAtEnd = true }
        return step
    }

    /// Lines that come in pieces put together, as far as all of them are there.
    private static func joined(_ pieces: [LogLine]) -> [Megam_LogLine] {
        var lines: [Megam_LogLine] = []
        var unfinished: [LogLine.Stream: Int] = [:]
        for piece in pieces {
            let index = unfinished[piece.stream] ?? lines.endIndex
            if index == lines.endIndex { lines.append(Megam_LogLine(piece)) } else { lines[index].text += piece.bytes }
            unfinished[piece.stream] = piece.endsLine ? nil : index
        }
        return lines
    }
}

extension Megam_LogLine {
    init(_ line: LogLine) {
        self.init()
        timeUnixNano = line.nanoseconds
        stream = line.stream == .stdout ? .stdout : .stderr
        text = Data(line.bytes)
    }

    static func said(_ text: String, _ nanoseconds: Int64) -> Megam_LogLine {
        var line = Megam_LogLine()
        line.timeUnixNano = nanoseconds
        line.stream = .agent
        line.text = Data(text.utf8)
        return line
    }
}

extension LogLine {
    /// ``time`` since 1970; 0 for what is no time.
    var nanoseconds: Int64 {
        // 2026-11-25T01:02:03.123456789Z
        let bytes = Array(time.utf8)
        guard bytes.count == 30 else { return 0 }
        func number(_ range: Range<Int>) -> Int64 { Int64(String(decoding: bytes[range], as: UTF8.self)) ?? 0 }
        let (year, month, day) = (number(0..<4), number(5..<7), number(8..<10))
        // Days since 1970 in the Gregorian calendar, with years that begin in March, so that leap days come last.
        let shifted = month <= 2 ? year - 1 : year
        let (era, ofEra) = (shifted / 400, shifted % 400)
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let days = era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + dayOfYear - 719_468
        let seconds = days * 86_400 + number(11..<13) * 3_600 + number(14..<16) * 60 + number(17..<19)
        return seconds * 1_000_000_000 + number(20..<29)
    }
}
