/// Why a file is no assembly, in one line: `hello.yaml:7:12: components.web.count: "two" is not a whole number …`.
public struct AssemblyFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What the reader was told that the file is called.
    public var file: String
    /// Counted from 1; nil when it is about something that was given beside the file.
    public var line: Int?
    /// Counted from 1, in Unicode scalars.
    public var column: Int?
    /// The field with the fields that it is in: `components.web.count`; `YAML` when there is none yet.
    public var field: String
    /// What is wrong and what to do.
    public var text: String

    public var description: String {
        let place = [line, column].compactMap { $0.map { ":\($0)" } }.joined()
        // A quoted key or value may hold line feeds and worse.
        let line = "\(file)\(place): \(field): \(text)".unicodeScalars.map { scalar in
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator: " " as Unicode.Scalar
            default: scalar
            }
        }
        return String(String.UnicodeScalarView(line))
    }
}
