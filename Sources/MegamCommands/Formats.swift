import Foundation
import LaunchModel
import Yams

extension Session {
    /// Prints a result: the document, or the table for people.
    func print(_ document: some Encodable, table: () -> String) throws {
        switch format {
        case .table: try console.write(table())
        case .json: try console.write(Self.json(document, isPretty: true))
        case .yaml: try console.write(try Self.yaml(document))
        }
    }

    /// Prints one of many results that come one after the other: a JSON line, or a YAML document of its own.
    func printNext(_ document: some Encodable, line: () -> String) throws {
        switch format {
        case .table: try console.write(line() + "\n")
        case .json: try console.write(Self.json(document, isPretty: false))
        case .yaml: try console.write("---\n" + (try Self.yaml(document)))
        }
    }

    private static func json(_ document: some Encodable, isPretty: Bool) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if isPretty { encoder.outputFormatting.insert(.prettyPrinted) }
        return String(decoding: try encoder.encode(document), as: UTF8.self) + "\n"
    }

    private static func yaml(_ document: some Encodable) throws -> String {
        let encoder = YAMLEncoder()
        encoder.options.sortKeys = true
        encoder.options.allowUnicode = true
        encoder.options.width = -1
        return try encoder.encode(document)
    }
}

/// Lines of columns, each as wide as its widest cell.
struct Table {
    private var rows: [[String]]
    /// Lines that follow a row and belong to it.
    private var notes: [Int: [String]] = [:]

    init(_ titles: String...) { rows = [titles] }

    mutating func add(_ cells: String..., notes: [String] = []) {
        // A cell must not break the table or the terminal.
        rows.append(cells.map(printable))
        if !notes.isEmpty { self.notes[rows.count - 1] = notes.map(printable) }
    }

    var text: String {
        let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.enumerated().map { index, row in
            let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
            let line = cells.joined(separator: "  ")
            let trimmed = line.dropLast(line.reversed().prefix { $0 == " " }.count)
            return ([String(trimmed)] + (notes[index] ?? []).map { "    \($0)" }).map { $0 + "\n" }.joined()
        }.joined()
    }
}

/// The text in one line, without control characters.
func printable(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
}

/// Texts for people.
enum Words {
    /// `5s`, `3m`, `2h`, `4d`; what lies in the future, by another host's clock, is now.
    static func age(since moment: Timestamp, now: Timestamp = .now) -> String {
        let seconds = max(0, (now.milliseconds - moment.milliseconds) / 1_000)
        return switch seconds {
        case ..<120: "\(seconds)s"
        case ..<7_200: "\(seconds / 60)m"
        case ..<172_800: "\(seconds / 3_600)h"
        default: "\(seconds / 86_400)d"
        }
    }

    /// `90s`, `500ms`
    static func duration(_ duration: Duration) -> String {
        let milliseconds = Int64(duration / .milliseconds(1))
        return milliseconds % 1_000 == 0 ? "\(milliseconds / 1_000)s" : "\(milliseconds)ms"
    }

    /// `2026-11-25T01:02:03Z`
    static func time(_ moment: Timestamp) -> String { "\(moment.description.prefix { $0 != "." })Z" }

    /// `1.5`
    static func cores(_ millicores: Int64) -> String {
        let (whole, rest) = millicores.quotientAndRemainder(dividingBy: 1_000)
        guard rest > 0 else { return "\(whole)" }
        let digits = "\(1_000 + rest)".dropFirst()
        return "\(whole)." + digits.dropLast(digits.reversed().prefix { $0 == "0" }.count)
    }

    /// `128MiB`, `1.5GiB`
    static func bytes(_ bytes: Int64) -> String {
        var (unit, size) = ("B", Double(bytes))
        for larger in ["KiB", "MiB", "GiB", "TiB"] where size >= 1_024 {
            (unit, size) = (larger, size / 1_024)
        }
        let tenths = (size * 10).rounded()
        return tenths >= 100 || tenths.truncatingRemainder(dividingBy: 10) == 0
            ? "\(Int64(size.rounded()))\(unit)" : "\(tenths / 10)\(unit)"
    }

    /// The beginning of a text that is too long for its column.
    static func shortened(_ text: String, to length: Int) -> String {
        text.count <= length ? text : text.prefix(length - 1) + "…"
    }
}
