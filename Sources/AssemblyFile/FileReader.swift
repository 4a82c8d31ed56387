import LaunchModel
import Yams

/// A value of the file, and where it is.
struct Field {
    /// With the fields that it is in: `components.web.count`.
    var path: String
    /// Of its key; of an element of a list, its own.
    var mark: Mark?
    var node: Node

    /// As good as not there: `user:` and `user: null`.
    var isNull: Bool {
        guard case .scalar(let scalar) = node, scalar.style == .plain || scalar.style == .any else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }
}

/// Reads fields, remembers where they are, and puts the inputs into their texts.
final class FileReader {
    private let file: String
    private(set) var inputs: [String: String] = [:]
    private var marks: [String: Mark] = [:]
    private var bytesLeft = AssemblyFile.maximumBytes

    init(file: String) { self.file = file }

    // MARK: Complaints

    /// - Parameter mark: nil when it is about something that is not in the file.
    func complaint(at mark: Mark?, _ field: String, _ text: String) -> AssemblyFileError {
        AssemblyFileError(file: file, line: mark?.line, column: mark?.column, field: field, text: text)
    }

    func complaint(about field: Field, _ text: String) -> AssemblyFileError {
        complaint(at: field.node.mark ?? field.mark, field.path, text)
    }

    /// The complaint with the line of its field, or of the field that it should be in.
    func located(_ complaint: SpecificationComplaint) -> AssemblyFileError {
        let path = (complaint.component.map { "components.\($0)." } ?? "") + complaint.field
        var known = path[...]
        while marks[String(known)] == nil, let dot = known.lastIndex(of: ".") { known = known[..<dot] }
        return self.complaint(at: marks[String(known)], path, complaint.text)
    }

    // MARK: Structure

    /// A mapping's fields by their keys, all of which must be known.
    func fields(of node: Node, path: String, known: [String]) throws(AssemblyFileError) -> [String: Field] {
        var fields: [String: Field] = [:]
        for (key, field) in try entries(of: Field(path: path, mark: node.mark, node: node)) {
            guard known.contains(key) else {
                let likely = Spelling.nearest(to: key, among: known).map { "did you mean \($0)?" }
                throw complaint(
                    at: field.mark, field.path,
                    "there is no such field; \(likely ?? "the fields here are \(known.joined(separator: ", "))")")
            }
            fields[key] = field
        }
        return fields
    }

    /// A mapping's entries in the order of the file.
    func entries(of field: Field) throws(AssemblyFileError) -> [(key: String, field: Field)] {
        guard case .mapping(let mapping) = field.node else {
            let path = field.path.isEmpty ? "YAML" : field.path
            throw complaint(
                at: field.node.mark ?? field.mark, path, "must be a mapping, lines of the form `key: value`")
        }
        var entries: [(key: String, field: Field)] = []
        for (key, value) in mapping {
            guard case .scalar(let scalar) = key else {
                throw complaint(
                    at: key.mark, field.path.isEmpty ? "YAML" : field.path, "a key must be a plain word")
            }
            let path = field.path.isEmpty ? scalar.string : "\(field.path).\(scalar.string)"
            marks[path] = key.mark
            entries.append((scalar.string, Field(path: path, mark: key.mark, node: value)))
        }
        return entries
    }

    /// A list's elements.
    func elements(of field: Field) throws(AssemblyFileError) -> [Field] {
        if field.isNull { return [] }
        guard case .sequence(let sequence) = field.node else {
            throw complaint(about: field, "must be a list, such as [a, b]")
        }
        return sequence.enumerated().map { index, node in
            Field(path: "\(field.path)[\(index)]", mark: node.mark, node: node)
        }
    }

    // MARK: Values

    /// A text as it is written.
    func literalText(_ field: Field) throws(AssemblyFileError) -> String {
        guard case .scalar(let scalar) = field.node else {
            throw complaint(about: field, "must be a single value, not a list or a mapping")
        }
        return scalar.string
    }

    /// A text, with the inputs put in.
    func text(_ field: Field) throws(AssemblyFileError) -> String {
        try substitute(try literalText(field), for: field)
    }

    /// What a text means to a reader of quantities; nil when the field is not there.
    func quantity<Value>(
        _ field: Field?, _ read: (String) throws(QuantityError) -> Value
    ) throws(AssemblyFileError) -> Value? {
        guard let field, !field.isNull else { return nil }
        let text = try text(field)
        do { return try read(text) } catch { throw complaint(about: field, error.description) }
    }

    /// One of an enumeration's values; nil when the field is not there.
    func choice<Value: RawRepresentable<String> & CaseIterable>(
        _ field: Field?, _: Value.Type = Value.self
    ) throws(AssemblyFileError) -> Value? {
        guard let field, !field.isNull else { return nil }
        let text = try text(field)
        guard let value = Value(rawValue: text) else {
            let choices = Value.allCases.map(\.rawValue)
            let list = choices.count == 1 ? choices[0] : "one of \(choices.joined(separator: ", "))"
            throw complaint(about: field, "\"\(text)\" is not known here; it must be \(list)")
        }
        return value
    }

    /// A text; nil when the field is not there.
    func optionalText(_ field: Field?) throws(AssemblyFileError) -> String? {
        guard let field, !field.isNull else { return nil }
        return try text(field)
    }

    /// Names and texts. A name without a value has the empty text.
    func texts(_ field: Field?) throws(AssemblyFileError) -> [String: String] {
        guard let field, !field.isNull else { return [:] }
        var texts: [String: String] = [:]
        for (key, value) in try entries(of: field) {
            if key.contains("${") {
                throw complaint(at: value.mark, field.path, "inputs are put into values only, not into the name \(key)")
            }
            texts[key] = try text(value)
        }
        return texts
    }

    // MARK: Inputs

    /// Takes the defaults of the file and what was given in their place.
    func takeInputs(_ field: Field?, given: [String: String], whole root: Node) throws(AssemblyFileError) {
        let entries =
            try field.map { field throws(AssemblyFileError) in
                field.isNull ? [] : try self.entries(of: field)
            } ?? []
        let names = entries.map(\.key)
        for name in given.keys.sorted() where !names.contains(name) {
            let known =
                names.isEmpty
                ? "the file has no inputs"
                : Spelling.nearest(to: name, among: names).map { "did you mean \($0)?" }
                    ?? "the inputs are \(names.joined(separator: ", "))"
            throw complaint(at: field?.mark, "inputs", "there is no input \"\(name)\", which --input gives; \(known)")
        }
        for (name, value) in entries {
            guard isInputName(name) else {
                throw complaint(
                    at: value.mark, value.path, "an input's name is made of letters, digits, hyphens and underscores")
            }
            if let text = given[name] {
                inputs[name] = text
            } else if value.isNull {
                throw complaint(
                    at: value.mark, value.path, "has no default; give it at the launch: --input \(name)=VALUE")
            } else {
                inputs[name] = try literalText(value)
            }
        }
    }

    private func isInputName(_ name: some StringProtocol) -> Bool {
        !name.isEmpty
            && name.unicodeScalars.allSatisfy {
                $0.isASCII && ($0.properties.isAlphabetic || "0123456789-_".unicodeScalars.contains($0))
            }
    }

    /// Puts the inputs into a text that stands in `field`.
    func substitute(_ text: String, for field: Field) throws(AssemblyFileError) -> String {
        var result = ""
        var rest = text[...]
        while let opening = rest.firstRange(of: "${") {
            let before = rest[..<opening.lowerBound]
            rest = rest[opening.upperBound...]
            if before.hasSuffix("$") {
                result += before.dropLast() + "${"
                continue
            }
            result += before
            guard let closing = rest.firstIndex(of: "}"), isInputName(rest[..<closing]) else {
                throw complaint(
                    about: field, "${ begins an input such as ${name} here; write $${ for the characters ${")
            }
            let name = String(rest[..<closing])
            guard let value = inputs[name] else {
                let known =
                    inputs.isEmpty
                    ? "declare it under inputs"
                    : Spelling.nearest(to: name, among: inputs.keys.sorted()).map { "did you mean \($0)?" }
                        ?? "the inputs are \(inputs.keys.sorted().joined(separator: ", "))"
                throw complaint(
                    about: field, "there is no input \"\(name)\"; \(known) (write $${ for the characters ${)")
            }
            bytesLeft -= value.utf8.count
            guard bytesLeft >= 0 else {
                throw complaint(about: field, "the inputs make more than 1 MiB of the file; use shorter ones")
            }
            result += value
            rest = rest[rest.index(after: closing)...]
        }
        return result + rest
    }
}
