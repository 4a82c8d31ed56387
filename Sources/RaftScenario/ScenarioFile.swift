/// The scenario files' form: commands with arguments and input, each followed by what it must print.
///
/// ```
/// # a comment
/// command word key=value key=(a, b)
/// lines of input
/// ----
/// expected output, up to an empty line
/// ```
/// Output that itself has empty lines is put between two pairs of `----` lines.
struct ScenarioStep {
    struct Argument {
        var key: String
        var values: [String]
    }
    var line: Int
    var command: String
    var arguments: [Argument]
    var input: [String]
    var expected: [String]

    /// The words without values.
    var words: [String] { arguments.filter { $0.values.isEmpty }.map(\.key) }

    func values(_ key: String) -> [String]? { arguments.first { $0.key == key }?.values }
    func value(_ key: String) -> String? { values(key)?.first }
}

/// A scenario that cannot be run as it stands.
public struct ScenarioError: Error, CustomStringConvertible {
    public var line: Int
    public var reason: String
    public var description: String { "line \(line): \(reason)" }
}

func parseScenario(_ text: String) throws -> [ScenarioStep] {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    var steps: [ScenarioStep] = []
    var at = 0
    func isBlank(_ line: String) -> Bool { line.allSatisfy(\.isWhitespace) }
    while at < lines.count {
        if isBlank(lines[at]) || lines[at].hasPrefix("#") {
            at += 1
            continue
        }
        let start = at
        var directive = lines[at]
        while directive.hasSuffix("\\"), at + 1 < lines.count {
            at += 1
            directive = String(directive.dropLast()) + " " + lines[at]
        }
        at += 1
        var input: [String] = []
        while at < lines.count, lines[at] != "----" {
            if isBlank(lines[at]) && input.isEmpty {
                throw ScenarioError(line: start + 1, reason: "no ---- after the command")
            }
            input.append(lines[at])
            at += 1
        }
        at += 1
        var expected: [String] = []
        if at < lines.count, lines[at] == "----" {
            at += 1
            while at + 1 < lines.count, !(lines[at] == "----" && lines[at + 1] == "----") {
                expected.append(lines[at])
                at += 1
            }
            at += 2
        } else {
            while at < lines.count, !isBlank(lines[at]) {
                expected.append(lines[at])
                at += 1
            }
        }
        var (command, arguments) = try parseDirective(directive, line: start + 1)
        command = command.trimmed
        arguments.removeAll { $0.key.isEmpty }
        steps.append(
            ScenarioStep(line: start + 1, command: command, arguments: arguments, input: input, expected: expected))
    }
    return steps
}

private func parseDirective(_ text: String, line: Int) throws -> (String, [ScenarioStep.Argument]) {
    var rest = text[...]
    func skipSpaces() { rest = rest.drop(while: \.isWhitespace) }
    skipSpaces()
    let command = rest.prefix { !$0.isWhitespace }
    rest = rest.dropFirst(command.count)
    var arguments: [ScenarioStep.Argument] = []
    skipSpaces()
    while !rest.isEmpty {
        let key = rest.prefix { !$0.isWhitespace && $0 != "=" }
        rest = rest.dropFirst(key.count)
        var values: [String] = []
        if rest.first == "=" {
            rest = rest.dropFirst()
            if rest.first == "(" {
                guard let close = rest.firstIndex(of: ")") else {
                    throw ScenarioError(line: line, reason: "unclosed ( in \(text)")
                }
                values = rest[rest.index(after: rest.startIndex)..<close].split(separator: ",").map {
                    String($0).trimmed
                }
                rest = rest[rest.index(after: close)...]
            } else {
                let value = rest.prefix { !$0.isWhitespace }
                values = [String(value)]
                rest = rest.dropFirst(value.count)
            }
        }
        arguments.append(ScenarioStep.Argument(key: String(key), values: values))
        skipSpaces()
    }
    return (String(command), arguments)
}

extension String {
    var trimmed: String {
        let front = drop(while: \.isWhitespace)
        guard let last = front.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(front[...last])
    }

    var withoutTrailingSpace: String {
        guard let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(self[...last])
    }
}
