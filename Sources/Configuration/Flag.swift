import Discovery

/// One of etcd's flags: how its value reads, what it is when not given, and whether it is served.
struct Flag: Sendable {
    /// How a value is spelled.
    enum Kind: Sendable, Equatable {
        case boolean
        case unsigned
        case integer
        case duration
        case text
        case urls
        case choice([String])
        /// A flag of etcd's first versions that it still takes and ignores.
        case ignored
    }

    let name: String
    let kind: Kind
    let defaultText: String
    /// What the flag does, for `--help`; nil when it is not served.
    let help: String?
    /// Values that ask for what happens anyway, beside the default.
    var equivalents: [String] = []

    var isServed: Bool { help != nil }

    /// The name of its variable after `ETCD_` or `GULPD_`.
    var variableSuffix: String {
        name.uppercased().replacing("-", with: "_")
    }

    /// Why `value` cannot be one of this flag; nil when it can. In the words of Go's flag package and etcd.
    func complaint(about value: String) -> String? {
        switch kind {
        case .text, .ignored: return nil
        case .boolean: return GoSyntax.boolean(value) == nil ? "parse error" : nil
        case .duration: return GoSyntax.nanoseconds(value) == nil ? "parse error" : nil
        case .choice(let values):
            return values.contains(value) ? nil : "invalid value, expected one of \(values.joined(separator: ", "))"
        case .unsigned, .integer:
            let digits = kind == .integer && value.hasPrefix("-") ? String(value.dropFirst()) : value
            do throws(GoSyntax.IntegerError) {
                let magnitude = try GoSyntax.unsigned(digits)
                return kind == .integer && magnitude > UInt64(Int64.max) ? "value out of range" : nil
            } catch {
                return error == .syntax ? "parse error" : "value out of range"
            }
        case .urls:
            do throws(MemberURLError) {
                _ = try MemberURL.list(value)
                return nil
            } catch { return error.description }
        }
    }

    /// Whether `value`, which `complaint(about:)` found nothing wrong with, asks for what is done anyway.
    func isDefault(_ value: String) -> Bool {
        if value == defaultText || equivalents.contains(value) { return true }
        switch kind {
        case .ignored: return true
        case .boolean: return GoSyntax.boolean(value) == GoSyntax.boolean(defaultText)
        case .duration: return GoSyntax.nanoseconds(value) == GoSyntax.nanoseconds(defaultText)
        case .unsigned, .integer:
            guard let given = try? GoSyntax.unsigned(value), let usual = try? GoSyntax.unsigned(defaultText) else {
                return false
            }
            return given == usual
        case .text, .urls, .choice: return false
        }
    }

    static func named(_ name: String) -> Flag? { byName[name] }

    private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
}
