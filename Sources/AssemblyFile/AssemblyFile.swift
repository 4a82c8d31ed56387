import LaunchModel
import Yams

/// # AssemblyFile: from the file that a user writes to the specification that is launched
///
/// ```
///   bytes ──YAMLDocument──▶ nodes with their lines ──FileReader──▶ AssemblySpecification ──complaint──▶ sound
///                                                     ▲
///                                       inputs: defaults, --input
/// ```
///
/// A file is read whole or refused whole, by an error that names line and field and says what to do
/// (``AssemblyFileError``). Nothing is guessed: unknown fields are refused, with the known one that was likely meant.
///
/// **Texts are taken as they are written.** YAML would make a truth value of `on` and a number of `8080`; here the field
/// decides what it wants, so that `env: {PORT: 8080, ANSWER: on}` is what it looks like.
///
/// **Inputs** stand in the components' values as `${name}`; `$${` stands for `${`. They are put into each word of a
/// command after it has been split, so that an input with spaces stays one argument.
///
/// **Bounds.** A file comes from somebody else's hands as often as not: it has at most 1 MiB, it cannot nest deeply,
/// anchors and aliases (which can grow a small file without limit) are refused, and so is what inputs blow up.
///
/// The module is pure. `megam` reads the file and stores the result.
public enum AssemblyFile {
    /// The largest file that is read, and the most that inputs may make of one.
    public static let maximumBytes = 1 << 20

    /// Reads an assembly's file.
    ///
    /// - Parameters:
    ///   - bytes: what the file holds.
    ///   - file: what errors call it.
    ///   - name: the assembly's name, in place of the file's.
    ///   - inputs: in place of the file's defaults.
    /// - Returns: a specification without complaint.
    public static func read(
        _ bytes: [UInt8], file: String, name: String? = nil, inputs: [String: String] = [:]
    ) throws(AssemblyFileError) -> AssemblySpecification {
        let root = try YAMLDocument.compose(bytes, file: file)
        let reader = FileReader(file: file)
        let fields = try reader.fields(of: root, path: "", known: ["name", "inputs", "components"])
        try reader.takeInputs(fields["inputs"], given: inputs, whole: root)
        let written = try fields["name"].flatMap { field throws(AssemblyFileError) in
            field.isNull ? nil : try reader.literalText(field)
        }
        guard let name = name ?? written else {
            throw reader.complaint(
                at: root.mark, "name", "is missing; write `name: hello` at the top, or give --name NAME")
        }
        if let text = Names.complaint(about: name) {
            throw reader.complaint(at: name == written ? fields["name"]?.mark : nil, "name", text)
        }
        guard let components = fields["components"], !components.isNull else {
            throw reader.complaint(at: root.mark, "components", "is missing; an assembly needs at least one component")
        }
        let specification = AssemblySpecification(
            name: name, inputs: reader.inputs, components: try reader.components(components))
        if let complaint = specification.complaint(named: name) { throw reader.located(complaint) }
        return specification
    }
}
