import Foundation
import Logging

/// The log of a program: one JSON object a line on standard error, with etcd's field names, so that what reads
/// etcd's log reads ours.
public enum StandardLog {
    /// - Parameter label: the program's name; it is not written.
    public static func logger(label: String, level: Logger.Level) -> Logger {
        var logger = Logger(label: label) { _ in JSONLineHandler() }
        logger.logLevel = level
        return logger
    }
}

private struct JSONLineHandler: LogHandler {
    var logLevel: Logger.Level = .info
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line =
            #"{"level":"\#(name(event.level))","ts":"\#(timestamp())","msg":\#(quoted(event.message.description))"#
        let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            line += ",\(quoted(key)):\(quoted("\(value)"))"
        }
        line += "}\n"
        // One write: lines of several threads do not mix.
        FileHandle.standardError.write(Data(line.utf8))
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

    private func timestamp() -> String {
        Date.now.formatted(
            .iso8601.year().month().day().time(includingFractionalSeconds: true).timeZone(separator: .omitted))
    }

    private func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
