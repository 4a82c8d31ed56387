/// `gulpctl version`.
enum VersionCommand {
    static let command = Command(
        name: "version", summary: "Print the version of gulpctl and of the API it speaks", arguments: "", flags: []
    ) { invocation in
        invocation.console.write("gulpctl version: \(Gulpctl.version)\nAPI version: 3.5\n")
    }
}
