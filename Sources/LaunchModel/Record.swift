import Foundation

/// A value in the store: JSON with sorted keys.
public protocol Record: Codable, Sendable, Hashable {}

/// A value in the store that is not what its key promises.
public struct RecordError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong, with the field.
    public var description: String

    public init(_ description: String) { self.description = description }
}

extension Record {
    /// Reads a value.
    ///
    /// - Throws: ``RecordError``, which names the field that is missing or wrong. Unknown fields are ignored: a newer
    ///   program may have written them.
    public init(json: [UInt8]) throws(RecordError) {
        do {
            self = try JSONDecoder().decode(Self.self, from: Data(json))
        } catch DecodingError.keyNotFound(let key, let context) {
            throw RecordError("\(Self.self): \(path(context, key)) is missing")
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
            DecodingError.dataCorrupted(let context)
        {
            throw RecordError("\(Self.self): \(path(context, nil)): \(context.debugDescription)")
        } catch {
            throw RecordError("\(Self.self): \(error)")
        }
    }

    /// The value as it is stored.
    public var json: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do { return Array(try encoder.encode(self)) } catch {
            // Strings, integers, booleans and dictionaries of them always have a JSON form.
            preconditionFailure("\(Self.self) has no JSON form: \(error)")
        }
    }
}

private func path(_ context: DecodingError.Context, _ key: (any CodingKey)?) -> String {
    let keys = context.codingPath + (key.map { [$0] } ?? [])
    return keys.isEmpty
        ? "the value" : keys.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
}

/// A moment in UTC, to the millisecond: `2026-11-25T01:02:03.456Z` in JSON (RFC 3339).
public struct Timestamp: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// Since 1970.
    public var milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public static var now: Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000)) }

    public static func < (a: Self, b: Self) -> Bool { a.milliseconds < b.milliseconds }

    public var description: String {
        let (seconds, rest) = milliseconds.quotientAndRemainder(dividingBy: 1_000)
        let fraction = rest < 0 ? rest + 1_000 : rest
        let whole = Date(timeIntervalSince1970: Double(rest < 0 ? seconds - 1 : seconds)).formatted(.iso8601)
        let digits = String(fraction)
        return whole.dropLast() + "." + String(repeating: "0", count: 3 - digits.count) + digits + "Z"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let date = try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true)) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "\"\(text)\" is no time such as 2026-11-25T01:02:03.456Z")
        }
        milliseconds = Int64((date.timeIntervalSince1970 * 1_000).rounded())
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
