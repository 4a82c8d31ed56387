import CGuard
import Glibc

/// Why a child cannot be started, in words that say what to do.
struct StartFailure: Error {
    let errno: CInt
    let message: String
}

/// The user that a child becomes.
struct ChildUser {
    let name: String
    let uid: uid_t
    let gid: gid_t
    let groups: [gid_t]

    /// Looks up a user's name or number.
    init(_ text: String) throws(StartFailure) {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 64 << 10)
        var error = getpwnam_r(text, &entry, &buffer, buffer.count, &found)
        if found == nil, let number = uid_t(text) {
            error = getpwuid_r(number, &entry, &buffer, buffer.count, &found)
        }
        guard found != nil, let name = entry.pw_name else {
            let problem = error == 0 ? "there is no such user" : systemMessage(error)
            throw StartFailure(
                errno: error == 0 ? ENOENT : error,
                message: "user \(text): \(problem) on this node; create it or name another in the component's user")
        }
        var count: CInt = 64
        var groups = [gid_t](repeating: 0, count: Int(count))
        if getgrouplist(name, entry.pw_gid, &groups, &count) < 0 {
            groups = [gid_t](repeating: 0, count: Int(count))
            getgrouplist(name, entry.pw_gid, &groups, &count)
        }
        self.name = text
        uid = entry.pw_uid
        gid = entry.pw_gid
        self.groups = Array(groups.prefix(max(0, Int(count))))
    }
}

/// The start of a run's child: everything is looked up first, then it is forked and becomes its command.
struct ChildStart {
    let specification: RunSpecification
    private let path: String
    private let user: ChildUser?

    /// Looks up command and user.
    init(_ specification: RunSpecification) throws(StartFailure) {
        self.specification = specification
        path = try Self.find(specification.command, in: specification.environment["PATH"])
        // Without a change there is nothing to be permitted.
        let user = try specification.user.map { name throws(StartFailure) in try ChildUser(name) }
        self.user = user?.uid == geteuid() ? nil : user
        if let user = self.user, geteuid() != 0 {
            throw StartFailure(
                errno: EPERM,
                message: "user \(user.name): only a gulpd that runs as root can start components as another user; "
                    + "start gulpd as root, or leave out the component's user")
        }
    }

    /// Forks. The command is executed when the start pipe ends; a record in it says why it could not be.
    func fork(startPipe: CInt, output: CInt, errors: CInt) throws(StartFailure) -> pid_t {
        if let user {
            // So that the child can open /dev/stdout and /dev/stderr, which the kernel checks like files.
            fchown(output, user.uid, user.gid)
            fchown(errors, user.uid, user.gid)
        }
        var environment = specification.environment
        environment[RunSpecification.marker] = specification.runID
        let directory = specification.workingDirectory ?? "/"
        let pid = withCStrings([specification.command] + specification.arguments) { arguments in
            withCStrings(environment.map { "\($0)=\($1)" }) { variables in
                path.withCString { path in
                    directory.withCString { directory in
                        (user?.groups ?? []).withUnsafeBufferPointer { groups in
                            var start = cguard_start(
                                path: path, argv: arguments, envp: variables, directory: directory,
                                standard_output: output, standard_error: errors, start_pipe: startPipe,
                                change_identity: user == nil ? 0 : 1, uid: user?.uid ?? 0, gid: user?.gid ?? 0,
                                groups: groups.baseAddress, group_count: groups.count)
                            return cguard_start_child(&start)
                        }
                    }
                }
            }
        }
        guard pid > 0 else {
            throw StartFailure(errno: errno, message: "no process can be started on this node: \(systemMessage(errno))")
        }
        return pid
    }

    /// The words for what the child reported through the start pipe.
    func failure(_ failure: cguard_start_failure) -> StartFailure {
        let cause = systemMessage(failure.error)
        let command = specification.command
        let message =
            switch (cguard_step(rawValue: UInt32(bitPattern: failure.step)), failure.error) {
            case (CGUARD_STEP_DIRECTORY, _):
                "working directory \(specification.workingDirectory ?? "/"): \(cause); create it on this node, "
                    + "or correct the component's directory"
            case (CGUARD_STEP_IDENTITY, _):
                "user \(specification.user ?? ""): \(cause); gulpd may not become this user"
            case (CGUARD_STEP_EXEC, ENOEXEC):
                "command \(command): neither a program for this machine nor a script that begins with #!"
            case (CGUARD_STEP_EXEC, ENOENT):
                "command \(command): there is no \(path), or not what it is run by (the program in its #! line or "
                    + "its loader); install it on this node or correct the command"
            case (CGUARD_STEP_EXEC, EACCES):
                "command \(command): \(path) may not be executed; check its mode and the component's user"
            case (CGUARD_STEP_EXEC, E2BIG):
                "command \(command): its arguments and environment are too large; pass a file instead"
            case (CGUARD_STEP_EXEC, _):
                "command \(command): \(path) cannot be executed: \(cause)"
            default:
                "command \(command): its process cannot be set up: \(cause)"
            }
        return StartFailure(errno: failure.error, message: message)
    }

    /// Where the command is: itself if it is a path, else its first place in `searchPath`.
    private static func find(_ command: String, in searchPath: String?) throws(StartFailure) -> String {
        if command.contains("/") { return command }
        let searchPath = searchPath ?? "/usr/local/bin:/usr/bin:/bin"
        // What is in the path but not executable is the better answer than none: its exec says why.
        var unusable: String?
        for folder in searchPath.split(separator: ":") where folder.hasPrefix("/") {
            let candidate = "\(folder)/\(command)"
            var status = stat()
            guard stat(candidate, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            if access(candidate, X_OK) == 0 { return candidate }
            unusable = unusable ?? candidate
        }
        if let unusable { return unusable }
        throw StartFailure(
            errno: ENOENT,
            message: "command \(command): not found in \(searchPath); install it on this node, correct the command, "
                + "or give its full path")
    }
}
