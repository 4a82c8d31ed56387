/// What a step printed against what its file expects.

/// Where a scenario's output first differs from its file.
public struct ScenarioMismatch: Error, Sendable, Equatable, CustomStringConvertible {
    /// The line of the file, counted from 1: of the expectation that is not met, or of the command that printed more.
    public var line: Int
    /// The command whose output differs.
    public var command: String
    /// What the file has there, and what came instead; empty for nothing.
    public var expected: String
    public var actual: String
    /// The whole lines in which the two stand.
    public var expectedLine: String
    public var actualLine: String

    /// One line: what differs; then the two lines that it stands in.
    public var description: String {
        func quote(_ text: String) -> String { text.isEmpty ? "nothing" : "'\(text)'" }
        return """
            \(command): expected \(quote(expected)), got \(quote(actual))
                  expected: \(expectedLine.isEmpty ? "(nothing)" : expectedLine)
                  got:      \(actualLine.isEmpty ? "(nothing)" : actualLine)
            """
    }
}

/// How outputs are compared.
package enum ScenarioComparison: Sendable {
    /// Character by character but for spaces at the ends of lines.
    case exact
    /// Word by word: log lines and `ok` say nothing, and neither does whether a list stands in one line or in several.
    case meaning

    /// What a step printed, taken apart.
    package struct Output: Sendable {
        fileprivate var pieces: [Piece]
    }

    package func output(_ printed: [String]) -> Output {
        Output(pieces: pieces(printed.map { ScenarioStep.Line(number: 0, text: $0) }))
    }

    /// The first difference; nil if there is none.
    package func mismatch(_ step: ScenarioStep, _ output: Output) -> ScenarioMismatch? {
        let expected = pieces(step.expected)
        let actual = output.pieces
        let count = max(expected.count, actual.count)
        for position in 0..<count {
            let wanted = position < expected.count ? expected[position] : nil
            let got = position < actual.count ? actual[position] : nil
            if wanted?.text == got?.text { continue }
            return ScenarioMismatch(
                line: wanted?.line.number ?? expected.last?.line.number
                    ?? step.expected.first?.number ?? step.line, command: step.command,
                expected: wanted?.text ?? "", actual: got?.text ?? "", expectedLine: wanted?.line.text.trimmed ?? "",
                actualLine: got?.line.text.trimmed ?? "")
        }
        return nil
    }

    fileprivate struct Piece {
        var text: String
        var line: ScenarioStep.Line
    }

    private func pieces(_ lines: [ScenarioStep.Line]) -> [Piece] {
        switch self {
        case .exact: lines.map { Piece(text: $0.text.withoutTrailingSpace, line: $0) }
        case .meaning:
            lines.filter { isMeaningful($0.text.trimmed) }.flatMap { line in
                words(line.text).map { Piece(text: $0, line: line) }
            }
        }
    }

    private func isMeaningful(_ line: String) -> Bool {
        line != "ok" && line != "ok (quiet)"
            && !["DEBUG ", "INFO ", "WARN ", "WARNING ", "ERROR ", "FATAL ", "PANIC "].contains(where: line.hasPrefix)
    }

    /// Words, brackets and whole payloads in quotes. Commas only separate.
    private func words(_ line: String) -> [String] {
        var words: [String] = []
        var word: [UInt8] = []
        var isQuoted = false
        var isEscaped = false
        func close() {
            if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
            word.removeAll(keepingCapacity: true)
        }
        for byte in line.utf8 {
            if isQuoted {
                word.append(byte)
                if byte == UInt8(ascii: "\""), !isEscaped { isQuoted = false }
                isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
                continue
            }
            switch byte {
            case UInt8(ascii: "\""):
                word.append(byte)
                isQuoted = true
            case UInt8(ascii: "["), UInt8(ascii: "]"):
                close()
                word.append(byte)
                close()
            case UInt8(ascii: ","), UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): close()
            default: word.append(byte)
            }
        }
        close()
        return words
    }
}
