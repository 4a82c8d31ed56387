/// Where in a specification something is wrong, in the words of the file's fields.
public struct SpecificationComplaint: Error, Hashable, Sendable, CustomStringConvertible {
    /// The component, if it is about one.
    public var component: String?
    /// The field of the assembly or the component: `count`, `depends-on`, `requirements.cores`.
    public var field: String
    /// What is wrong and what to do.
    public var text: String

    public init(component: String? = nil, field: String, _ text: String) {
        self.component = component
        self.field = field
        self.text = text
    }

    public var description: String {
        (component.map { "components.\($0)." } ?? "") + field + ": " + text
    }
}

extension AssemblySpecification {
    /// The first thing that is wrong with it; nil when it is sound.
    ///
    /// - Parameter name: what the key says its name is; nil when there is no key yet.
    public func complaint(named key: String? = nil) -> SpecificationComplaint? {
        if let text = Names.complaint(about: name) { return SpecificationComplaint(field: "name", text) }
        if let key, key != name {
            return SpecificationComplaint(field: "name", "\"\(name)\" stands under the key of \"\(key)\"")
        }
        if components.isEmpty {
            return SpecificationComplaint(field: "components", "an assembly needs at least one component")
        }
        var seen: Set<String> = []
        for component in components {
            if let text = Names.complaint(about: component.name) {
                return SpecificationComplaint(field: "components", text)
            }
            guard seen.insert(component.name).inserted else {
                return SpecificationComplaint(field: "components", "there are two components \"\(component.name)\"")
            }
        }
        for component in components {
            if let complaint = component.complaint { return complaint }
            for dependency in component.dependsOn where !seen.contains(dependency) {
                return SpecificationComplaint(
                    component: component.name, field: "depends-on",
                    "there is no component \"\(dependency)\"; the components are \(seen.sorted().joined(separator: ", "))"
                )
            }
        }
        let total = components.reduce(0) { $0 + $1.count }
        if total > Self.maximumInstances {
            return SpecificationComplaint(
                field: "components",
                "\(total) instances are more than \(Self.maximumInstances); divide them among several assemblies")
        }
        if let cycle = dependencyCycle {
            return SpecificationComplaint(
                component: cycle[0], field: "depends-on",
                "the components wait for each other: \((cycle + [cycle[0]]).joined(separator: " → ")); remove one of these"
            )
        }
        return nil
    }

    /// Components that wait for each other in a ring, if some do.
    private var dependencyCycle: [String]? {
        let dependencies = Dictionary(components.map { ($0.name, $0.dependsOn) }) { first, _ in first }
        var done: Set<String> = []
        for component in components where !done.contains(component.name) {
            // Depth first, with a stack of our own: the file decides how deep it goes.
            var path: [(name: String, next: Int)] = [(component.name, 0)]
            var onPath: Set<String> = [component.name]
            while let top = path.last {
                let following = dependencies[top.name] ?? []
                guard top.next < following.count else {
                    done.insert(top.name)
                    onPath.remove(top.name)
                    path.removeLast()
                    continue
                }
                path[path.count - 1].next += 1
                let next = following[top.next]
                if onPath.contains(next), let start = path.firstIndex(where: { $0.name == next }) {
                    return path[start...].map(\.name)
                }
                if !done.contains(next) {
                    path.append((next, 0))
                    onPath.insert(next)
                }
            }
        }
        return nil
    }
}

extension ComponentSpecification {
    /// The first thing that is wrong with it by itself.
    var complaint: SpecificationComplaint? {
        func of(_ field: String, _ text: String) -> SpecificationComplaint {
            SpecificationComplaint(component: name, field: field, text)
        }
        func hasNul(_ text: String) -> Bool { text.utf8.contains(0) }
        if command.isEmpty { return of("command", "a process needs a command to run") }
        if hasNul(command) || arguments.contains(where: hasNul) {
            return of("command", "a command and its arguments cannot contain the character NUL")
        }
        for (variable, value) in environment.sorted(by: { $0.key < $1.key }) {
            if variable.isEmpty || variable.contains("=") || hasNul(variable) || hasNul(value) {
                return of("env", "\"\(variable)\" cannot be the name of a variable, or its value contains NUL")
            }
            if variable.hasPrefix("MEGAM_") || variable == "GULP_RUN" {
                return of("env", "\(variable) is set by the agent; choose a name that does not begin with MEGAM_")
            }
        }
        if let workingDirectory, !workingDirectory.hasPrefix("/") || hasNul(workingDirectory) {
            return of("working-directory", "\"\(workingDirectory)\" must be an absolute path")
        }
        if let user, user.isEmpty || hasNul(user) { return of("user", "must be the name or number of a user") }
        if !(1...AssemblySpecification.maximumInstances).contains(count) {
            return of("count", "\(count) is not between 1 and \(AssemblySpecification.maximumInstances)")
        }
        if !(0...1_000_000).contains(restart.attempts) {
            return of("restart.attempts", "\(restart.attempts) is not between 0 and 1000000")
        }
        if !(1...Self.longestMilliseconds).contains(restart.backoffMilliseconds) {
            return of("restart.backoff", "must be more than nothing and at most a day")
        }
        if !(0...Self.longestMilliseconds).contains(readyAfterMilliseconds) {
            return of("ready-after", "must be at most a day")
        }
        if !(0...Self.longestMilliseconds).contains(stopGraceMilliseconds) {
            return of("stop-grace", "must be at most a day")
        }
        if !(0...1_000_000_000).contains(requirements.resources.millicores) {
            return of("requirements.cores", "must not be negative, nor more than a million")
        }
        if !(0...(1 << 60)).contains(requirements.resources.memoryBytes) {
            return of("requirements.memory", "must not be negative, nor more than an exbibyte")
        }
        return nil
    }

    private static let longestMilliseconds: Int64 = 86_400_000
}
