import Foundation
import Logging

/// The engine's log: one JSON object a line on standard error, with the field names of gulpd's.
enum StandardLog {
    static func logger(level: Logger.Level) -> Logger {
        var logger = Logger(label: "megamd") { _ in JSONLines() }
        logger.logLevel = level
        return logger
    }
}

private struct JSONLines: LogHandler {
    var logLevel: Logger.Level = .info
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let time = Date.now.formatted(
            .iso8601.year().month().day().time(includingFractionalSeconds: true).timeZone(separator: .omitted))
        let fields = metadata.merging(event.metadata ?? [:]) { _, new in new }
            .sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
        let first = [("level", name(event.level)), ("ts", time), ("msg", event.message.description)]
        let line = (first + fields).map { "\(quoted($0.0)):\(quoted($0.1))" }.joined(separator: ",")
        // One write: lines of several threads do not mix.
        FileHandle.standardError.write(Data("{\(line)}\n".utf8))
    }

    private func name(_ level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: "debug"
        case .info, .notice: "info"
        case .warning: "warn"
        case .error: "error"
        case .critical: "fatal"
        }
    }

    private func quoted(_ text: String) -> String {
        let escaped = text.unicodeScalars.map { scalar -> String in
            switch scalar {
            case "\"", "\\": return "\\\(scalar)"
            case "\n": return "\\n"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: return String(scalar)
            }
        }
        return "\"\(escaped.joined())\""
    }
}
