/// What a run runs, and how it is ended and logged. It does not change during the run.
public struct RunSpecification: Hashable, Sendable {
    /// Names the run on its machine, for instance `hello.web.0/123/2`. It is in the environment of guard and child as
    /// GULP_RUN, which is the marker by which processes that escaped are found: two runs must never share one.
    public var runID: String

    /// A path (a relative one counts from the working directory), or a name that is looked up in the PATH of
    /// `environment`.
    public var command: String

    /// What follows the command.
    public var arguments: [String]

    /// The child's whole environment; GULP_RUN is added.
    public var environment: [String: String]

    /// Where the child starts; nil for `/`.
    public var workingDirectory: String?

    /// The name or number of the user whose uid, gid and groups the child gets, which takes a guard that runs as
    /// root; nil for the guard's own.
    public var user: String?

    /// How long after SIGTERM to the child's process group a stop becomes SIGKILL.
    public var stopGrace: Duration

    /// The size past which a log file is closed and the next begun. One older is kept, so the log takes at most twice
    /// this and some 200 KiB.
    public var logLimitBytes: Int

    /// A run of `command` that is stopped within ten seconds and keeps 10 to 20 MiB of log, unless said otherwise.
    public init(
        runID: String, command: String, arguments: [String] = [], environment: [String: String] = [:],
        workingDirectory: String? = nil, user: String? = nil, stopGrace: Duration = .seconds(10),
        logLimitBytes: Int = 10 << 20
    ) {
        self.runID = runID
        self.command = command
        self.arguments = arguments
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.user = user
        self.stopGrace = stopGrace
        self.logLimitBytes = logLimitBytes
    }
}

extension RunSpecification {
    /// The variable that marks every process of a run.
    static let marker = "GULP_RUN"

    /// Throws a `GuardError` for what no process could be started with.
    func validate() throws(GuardError) {
        func fail(_ problem: String) throws(GuardError) -> Never {
            throw GuardError("the run \(runID.isEmpty ? "without an id" : runID) cannot be prepared: \(problem)")
        }
        if runID.isEmpty { try fail("give it an id") }
        if command.isEmpty { try fail("give it a command") }
        if stopGrace < .zero { try fail("its stop grace is negative") }
        if logLimitBytes < 1 { try fail("its log limit is not positive") }
        let texts = [runID, command, workingDirectory ?? "", user ?? ""] + arguments
        if (texts + environment.keys + environment.values).contains(where: { $0.utf8.contains(0) }) {
            try fail("a zero byte can be in no argument, variable, path or name")
        }
        if let name = environment.keys.first(where: { $0.isEmpty || $0.utf8.contains(UInt8(ascii: "=")) }) {
            try fail("\"\(name)\" is no name of an environment variable")
        }
    }

    var record: RunRecord {
        var record = RunRecord(kind: "specification")
        record.add("run", runID)
        record.add("command", command)
        for argument in arguments { record.add("argument", argument) }
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) { record.add("variable", "\(name)=\(value)") }
        if let workingDirectory { record.add("directory", workingDirectory) }
        if let user { record.add("user", user) }
        record.add("grace", String(stopGrace.clampedNanoseconds))
        record.add("log-limit", String(logLimitBytes))
        return record
    }

    init(_ record: RunRecord) throws(GuardError) {
        var environment: [String: String] = [:]
        for variable in record.all("variable") {
            guard let equals = variable.utf8.firstIndex(of: UInt8(ascii: "=")) else { throw record.damaged("variable") }
            environment[String(variable[..<equals])] = String(variable[variable.utf8.index(after: equals)...])
        }
        self.init(
            runID: try record.text("run"), command: try record.text("command"), arguments: record.all("argument"),
            environment: environment, workingDirectory: record.first("directory"), user: record.first("user"),
            stopGrace: .nanoseconds(try record.number("grace") as Int64),
            logLimitBytes: try record.number("log-limit"))
    }
}
