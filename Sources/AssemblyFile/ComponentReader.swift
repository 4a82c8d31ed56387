import LaunchModel
import Yams

extension FileReader {
    /// All components, in the order of the file.
    func components(_ field: Field) throws(AssemblyFileError) -> [ComponentSpecification] {
        var components: [ComponentSpecification] = []
        for (name, component) in try entries(of: field) {
            if let text = Names.complaint(about: name) { throw complaint(at: component.mark, "components", text) }
            components.append(try self.component(name, component))
        }
        return components
    }

    private func component(_ name: String, _ field: Field) throws(AssemblyFileError) -> ComponentSpecification {
        let fields =
            field.isNull
            ? [:]
            : try self.fields(
                of: field.node, path: field.path,
                known: [
                    "kind", "command", "arguments", "env", "working-directory", "user", "count", "restart",
                    "requirements", "depends-on", "on-disconnect", "ready-after", "stop-grace",
                ])
        guard let command = fields["command"], !command.isNull else {
            throw complaint(
                at: field.mark, "\(field.path).command",
                "is missing; write the program and its arguments, such as `command: [/usr/bin/env, date]`")
        }
        var words = try self.words(of: command)
        if let arguments = fields["arguments"] {
            for argument in try elements(of: arguments) { words.append(try text(argument)) }
        }
        let plain = ComponentSpecification(name: name, command: words[0])
        var dependsOn: [String] = []
        if let field = fields["depends-on"] {
            for dependency in try elements(of: field) { dependsOn.append(try text(dependency)) }
        }
        return ComponentSpecification(
            name: name, kind: try choice(fields["kind"]) ?? plain.kind, command: words[0],
            arguments: Array(words.dropFirst()), environment: try texts(fields["env"]),
            workingDirectory: try optionalText(fields["working-directory"]), user: try optionalText(fields["user"]),
            count: try quantity(fields["count"], Quantity.wholeNumber) ?? plain.count,
            restart: try restart(fields["restart"]), requirements: try requirements(fields["requirements"]),
            dependsOn: dependsOn, onDisconnect: try choice(fields["on-disconnect"]) ?? plain.onDisconnect,
            readyAfterMilliseconds: try quantity(fields["ready-after"], Quantity.duration)
                ?? plain.readyAfterMilliseconds,
            stopGraceMilliseconds: try quantity(fields["stop-grace"], Quantity.duration)
                ?? plain.stopGraceMilliseconds)
    }

    /// A command's program and arguments; at least one word.
    private func words(of field: Field) throws(AssemblyFileError) -> [String] {
        var words: [String] = []
        if case .sequence = field.node {
            for word in try elements(of: field) { words.append(try text(word)) }
        } else {
            let text = try literalText(field)
            let split: [String]
            do { split = try CommandText.split(text) } catch { throw complaint(about: field, error.text) }
            for word in split { words.append(try substitute(word, for: field)) }
        }
        guard !words.isEmpty else {
            throw complaint(about: field, "a process needs a command to run, such as [/usr/bin/env, date]")
        }
        return words
    }

    /// `restart: never`, or a mapping.
    private func restart(_ field: Field?) throws(AssemblyFileError) -> RestartPolicy {
        var policy = RestartPolicy()
        guard let field, !field.isNull else { return policy }
        guard case .mapping = field.node else {
            policy.when = try choice(field) ?? policy.when
            return policy
        }
        let fields = try self.fields(of: field.node, path: field.path, known: ["when", "attempts", "backoff"])
        policy.when = try choice(fields["when"]) ?? policy.when
        policy.attempts = try quantity(fields["attempts"], Quantity.wholeNumber) ?? policy.attempts
        policy.backoffMilliseconds = try quantity(fields["backoff"], Quantity.duration) ?? policy.backoffMilliseconds
        return policy
    }

    private func requirements(_ field: Field?) throws(AssemblyFileError) -> Requirements {
        guard let field, !field.isNull else { return Requirements() }
        let fields = try self.fields(of: field.node, path: field.path, known: ["cores", "memory", "zone", "labels"])
        return Requirements(
            resources: Resources(
                millicores: try quantity(fields["cores"], Quantity.cores) ?? 0,
                memoryBytes: try quantity(fields["memory"], Quantity.bytes) ?? 0),
            zone: try optionalText(fields["zone"]), labels: try texts(fields["labels"]))
    }
}
