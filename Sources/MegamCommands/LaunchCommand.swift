import ArgumentParser
import AssemblyFile
import Foundation
import LaunchModel

struct LaunchCommand: StoreCommand {
    static let configuration = CommandConfiguration(
        commandName: "launch", abstract: "Launch an assembly from its file.",
        discussion: """
            The file is checked whole before anything is stored. \
            --wait ends with 0 when every instance runs, with 3 and the reason when the assembly ends in an error \
            state, and with 4 when it takes too long; the assembly stays in either case.

            \(CommandStatus.help)
            """)

    @Argument(help: "The assembly's file; - reads standard input.")
    var file: String

    @Option(help: "The assembly's name, in place of the file's.")
    var name: String?

    @Option(
        name: .customLong("input"),
        help: ArgumentHelp("A value for one of the file's inputs; may be given several times.", valueName: "name=value")
    )
    var inputs: [String] = []

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var global: GlobalOptions

    func validate() throws { _ = try givenInputs() }

    func run(in session: Session) async throws {
        let specification: AssemblySpecification
        do {
            specification = try AssemblyFile.read(
                try Self.contents(of: file), file: file == "-" ? "standard input" : file, name: name,
                inputs: try givenInputs())
        } catch let error as AssemblyFileError { throw CommandFailure(.usage, error.description) }

        switch try await session.store.launch(specification) {
        case .exists(let inventory):
            let name = specification.name
            let state = inventory.states[name].map { "in state \($0.value.state)" } ?? "not looked at by an engine yet"
            throw CommandFailure(
                .failed,
                "assembly \(name) exists already, \(state); destroy it (megam destroy \(name) --wait) or launch under "
                    + "another name (--name)")
        case .created(let revision):
            if session.format == .table {
                let count = specification.instances.count
                try session.console.write(
                    "launched \(specification.name) (\(count) instance\(count == 1 ? "" : "s"))\n")
            }
            try await session.store.warnWithoutEngine()
            if waiting.wait {
                try await AssemblyWait(
                    session: session, name: specification.name, launch: revision, goal: .running(generation: 1)
                ).run(after: revision, limit: waiting.waitTimeout)
            }
            if session.format != .table {
                try session.print(
                    Document(name: specification.name, launch: revision, instances: specification.instances)
                ) { "" }
            }
        }
    }

    /// What a launch answers to programs.
    struct Document: Encodable {
        var name: String
        /// The revision that stored it, which tells this launch of the name from others.
        var launch: Int64
        var instances: [InstanceID]
    }

    private func givenInputs() throws -> [String: String] {
        var given: [String: String] = [:]
        for input in inputs {
            guard let equals = input.firstIndex(of: "="), equals != input.startIndex else {
                throw ValidationError("--input \(input): write it as NAME=VALUE")
            }
            guard
                given.updateValue(String(input[input.index(after: equals)...]), forKey: String(input[..<equals])) == nil
            else { throw ValidationError("--input \(input[..<equals]) is given twice") }
        }
        return given
    }

    /// The file's bytes, one more than is allowed at most: the file may be a device without an end.
    private static func contents(of file: String) throws -> [UInt8] {
        let descriptor = file == "-" ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC)
        defer { if descriptor > STDIN_FILENO { close(descriptor) } }
        var contents: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while descriptor >= 0, contents.count <= AssemblyFile.maximumBytes {
            let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count == 0 { return contents }
            if count > 0 { contents += chunk[..<count] } else if errno != EINTR { break }
        }
        if contents.count > AssemblyFile.maximumBytes { return contents }
        throw CommandFailure(.usage, "\(file) cannot be read: \(String(cString: strerror(errno)))")
    }
}
