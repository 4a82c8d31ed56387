import Yams

/// YAML into nodes that know their lines, within bounds.
enum YAMLDocument {
    /// The document's root, which is a mapping or some other value.
    static func compose(_ bytes: [UInt8], file: String) throws(AssemblyFileError) -> Node {
        func complaint(_ line: Int?, _ column: Int?, _ text: String) -> AssemblyFileError {
            AssemblyFileError(file: file, line: line, column: column, field: "YAML", text: text)
        }
        guard bytes.count <= AssemblyFile.maximumBytes else {
            throw complaint(nil, nil, "the file is larger than 1 MiB; keep large data out of it")
        }
        // Editors put a byte order mark first; the parser takes it for text when it is told the encoding.
        let bytes = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? Array(bytes.dropFirst(3)) : bytes
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw complaint(lineOfBadUTF8(bytes), nil, "the text is not UTF-8; save the file as UTF-8")
        }
        // The parser's library tells these without their line.
        if let index = bytes.firstIndex(where: isControl) {
            throw complaint(
                line(of: index, in: bytes), nil,
                "the character \(bytes[index]) cannot be in a file; write it as an escape within double quotes")
        }
        // An alias of an anchor is a copy of its value, so that a few lines can stand for more than any memory. The
        // parser compares the keys of each mapping, whole copies if need be, so it must not see an alias at
        // all: anchors are looked for in the text with every `*` made harmless. Without an anchor no alias is valid.
        if bytes.contains(UInt8(ascii: "&")) && bytes.contains(UInt8(ascii: "*")) {
            let harmless = text.split(separator: "*", omittingEmptySubsequences: false).joined(separator: "_")
            _ = try parse(harmless, complaint)
        }
        guard let root = try parse(text, complaint) else {
            throw complaint(1, nil, "the file is empty; an assembly has a name and components")
        }
        return root
    }

    private static func parse(
        _ text: String, _ complaint: (Int?, Int?, String) -> AssemblyFileError
    ) throws(AssemblyFileError) -> Node? {
        do {
            // Values are texts until a field says what it wants, so no tags are resolved.
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            guard let root = try parser.singleRoot() else { return nil }
            // Nodes refer to their anchors weakly; the parser holds them.
            try withExtendedLifetime(parser) { try refuseAnchorsAndTags(in: root, complaint) }
            return root
        } catch let error as AssemblyFileError {
            throw error
        } catch let error as YamlError {
            throw describe(error, text, complaint)
        } catch {
            throw complaint(nil, nil, "\(error)")
        }
    }

    private static func refuseAnchorsAndTags(
        in node: Node, _ complaint: (Int?, Int?, String) -> AssemblyFileError
    ) throws(AssemblyFileError) {
        if let anchor = node.anchor {
            throw complaint(
                node.mark?.line, node.mark?.column,
                "anchors (&\(anchor.rawValue)) and aliases (*\(anchor.rawValue)) are not supported; write the value out, "
                    + "or make it an input")
        }
        let usual: Set<Tag.Name> = [.implicit, .nonSpecific, .str, .seq, .map]
        let tag = Tag.Name(rawValue: node.tag.rawValue)
        if !usual.contains(tag) {
            throw complaint(
                node.mark?.line, node.mark?.column,
                "the tag \(tag.rawValue) is not supported; write the value alone, the field knows its type")
        }
        switch node {
        case .mapping(let mapping):
            for (key, value) in mapping {
                try refuseAnchorsAndTags(in: key, complaint)
                try refuseAnchorsAndTags(in: value, complaint)
            }
        case .sequence(let sequence):
            for value in sequence { try refuseAnchorsAndTags(in: value, complaint) }
        case .scalar, .alias: break
        }
    }

    private static func describe(
        _ error: YamlError, _ text: String, _ complaint: (Int?, Int?, String) -> AssemblyFileError
    ) -> AssemblyFileError {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            if problem.hasPrefix("Maximum nesting level") {
                return complaint(mark.line, mark.column, "values are nested too deeply")
            }
            // The context is where what is broken began: an open quote or bracket.
            let began = context.map { " (\($0.text), from line \($0.mark.line))" } ?? ""
            return complaint(mark.line, mark.column, "\(problem)\(began)\(advice(problem))")
        case .duplicatedKeysInMapping(let duplicates, let context):
            return AssemblyFileError(
                file: complaint(nil, nil, "").file, line: context.mark.line, column: context.mark.column,
                field: duplicates.first ?? "YAML",
                text: "is given more than once, here for the first time; leave one of them")
        case .reader(let problem, let offset, _, _):
            let before = offset.map { text.prefix($0) } ?? ""
            return complaint(1 + before.count { $0.isNewline }, nil, "\(problem); the file must be plain UTF-8 text")
        case .memory:
            // Also when a stack of the library is full.
            return complaint(nil, nil, "it takes too much memory, or values are nested too deeply")
        default:
            return complaint(nil, nil, "\(error)".split(separator: "\n").joined(separator: " "))
        }
    }

    private static func advice(_ problem: String) -> String {
        switch problem {
        case "found character that cannot start any token":
            "; indent with spaces, not tabs, and put values that begin with @, ` or % in quotes"
        case "mapping values are not allowed in this context":
            "; put values that contain \": \" in quotes, and check the indentation"
        case "did not find expected key", "did not find expected '-' indicator":
            "; check the indentation and the quotes above"
        case "found a tab character that violates indentation": "; indent with spaces, not tabs"
        case "found undefined alias": "; put values that begin with * in quotes"
        case "but found another document": "; a file holds one assembly"
        default: ""
        }
    }

    private static func isControl(_ byte: UInt8) -> Bool {
        (byte < 0x20 && byte != 0x09 && byte != 0x0a && byte != 0x0d) || byte == 0x7f
    }

    private static func line(of index: Int, in bytes: [UInt8]) -> Int {
        1 + bytes[..<index].count { $0 == UInt8(ascii: "\n") }
    }

    private static func lineOfBadUTF8(_ bytes: [UInt8]) -> Int? {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .firstIndex { String(validating: $0, as: UTF8.self) == nil }
            .map { $0 + 1 }
    }
}
