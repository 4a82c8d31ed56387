/// The scenario files' form: commands with arguments and input, each followed by what it must print.
///
/// ```
/// # a comment
/// command word key=value key=(a, b)
/// lines of input
/// ----
/// expected output, up to an empty line
/// ```
/// Output that itself has empty lines is put between two pairs of `----` lines. A command may go on in the next line
/// after a `\`.
package struct ScenarioStep: Sendable {
    package struct Argument: Sendable, Equatable {
        package var key: String
        /// Empty for a word without `=`.
        package var values: [String]
    }
    /// A line of input, and where it stands.
    package struct Line: Sendable, Equatable {
        package var number: Int
        package var text: String
    }
    /// Where the command stands, counted from 1.
    package var line: Int
    package var command: String
    package var arguments: [Argument]
    package var input: [Line]
    package var expected: [Line]

    /// The words without values.
    var words: [String] { arguments.filter { $0.values.isEmpty }.map(\.key) }

    func values(_ key: String) -> [String]? {
        arguments.first { $0.key == key && !$0.values.isEmpty }?.values
    }
    func value(_ key: String) -> String? { values(key)?.first }
}

/// A scenario that cannot be run as it stands.
public struct ScenarioError: Error, Sendable, CustomStringConvertible {
    /// Where in the file, counted from 1.
    public var line: Int
    public var reason: String
    public var description: String { "line \(line): \(reason)" }
}

/// Splits a file into its steps.
/// - Throws: `ScenarioError` with the line that does not follow the form.
package func parseScenario(_ text: String) throws(ScenarioError) -> [ScenarioStep] {
    var reader = ScenarioReader(lines: scenarioLines(text))
    var steps: [ScenarioStep] = []
    while let step = try reader.next() { steps.append(step) }
    return steps
}

func scenarioLines(_ text: String) -> [String] {
    // Swift takes CR and LF together for one character, which is not the separator.
    text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }.map(String.init)
}

private struct ScenarioReader {
    let lines: [String]
    private var at = 0

    init(lines: [String]) { self.lines = lines }

    private func isBlank(_ line: String) -> Bool { line.allSatisfy(\.isWhitespace) }
    private func isSeparator(_ position: Int) -> Bool {
        position < lines.count && lines[position].withoutTrailingSpace == "----"
    }
    private func line(_ position: Int) -> ScenarioStep.Line {
        ScenarioStep.Line(number: position + 1, text: lines[position])
    }

    mutating func next() throws(ScenarioError) -> ScenarioStep? {
        while at < lines.count, isBlank(lines[at]) || lines[at].hasPrefix("#") { at += 1 }
        guard at < lines.count else { return nil }
        let start = at
        if isSeparator(start) { throw ScenarioError(line: start + 1, reason: "---- without a command before it") }
        var directive = lines[at]
        while directive.hasSuffix("\\"), at + 1 < lines.count {
            at += 1
            directive = String(directive.dropLast()) + " " + lines[at]
        }
        at += 1
        var input: [ScenarioStep.Line] = []
        while !isSeparator(at) {
            if at >= lines.count || (isBlank(lines[at]) && input.isEmpty) {
                throw ScenarioError(line: start + 1, reason: "no ---- after the command")
            }
            input.append(line(at))
            at += 1
        }
        at += 1
        let expected = try expectation(of: start)
        let (command, arguments) = try parseDirective(directive, line: start + 1)
        return ScenarioStep(
            line: start + 1, command: command, arguments: arguments, input: input, expected: expected)
    }

    private mutating func expectation(of start: Int) throws(ScenarioError) -> [ScenarioStep.Line] {
        var expected: [ScenarioStep.Line] = []
        guard isSeparator(at) else {
            while at < lines.count, !isBlank(lines[at]) {
                expected.append(line(at))
                at += 1
            }
            return expected
        }
        at += 1
        while !(isSeparator(at) && isSeparator(at + 1)) {
            guard at < lines.count else {
                throw ScenarioError(line: start + 1, reason: "its output does not end with two lines of ----")
            }
            expected.append(line(at))
            at += 1
        }
        at += 2
        return expected
    }
}

/// Splits a command into its name and arguments.
func parseDirective(
    _ text: String, line: Int
) throws(ScenarioError) -> (command: String, arguments: [ScenarioStep.Argument]) {
    var rest = text[...].drop(while: \.isWhitespace)
    let command = rest.prefix { !$0.isWhitespace }
    rest = rest.dropFirst(command.count).drop(while: \.isWhitespace)
    var arguments: [ScenarioStep.Argument] = []
    while !rest.isEmpty {
        let key = rest.prefix { !$0.isWhitespace && $0 != "=" }
        rest = rest.dropFirst(key.count)
        var values: [String] = []
        var isEmptyList = false
        if rest.first == "=" {
            if key.isEmpty { throw ScenarioError(line: line, reason: "a value without a name in '\(text)'") }
            rest = rest.dropFirst()
            if rest.first == "(" {
                guard let close = rest.firstIndex(of: ")") else {
                    throw ScenarioError(line: line, reason: "unclosed ( in '\(text)'")
                }
                values = rest[rest.index(after: rest.startIndex)..<close]
                    .split { $0 == "," || $0.isWhitespace }.map(String.init)
                rest = rest[rest.index(after: close)...]
                isEmptyList = values.isEmpty
            } else {
                let value = rest.prefix { !$0.isWhitespace }
                values = [String(value)]
                rest = rest.dropFirst(value.count)
            }
        }
        // An empty list says nothing, and must not be taken for a word.
        if !isEmptyList { arguments.append(ScenarioStep.Argument(key: String(key), values: values)) }
        rest = rest.drop(while: \.isWhitespace)
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
