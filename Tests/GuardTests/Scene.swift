import Glibc
import Testing

@testable import Guard

/// A folder for the runs of one test. What the test leaves is killed and removed with it.
final class Scene {
    let folder: String
    /// The program under test: beside the test bundle, or where GULP_GUARD says.
    let guardProgram: String
    private(set) var runs: [RunDirectory] = []

    init() throws {
        var template = Array("/tmp/gulp-guard-tests.XXXXXX".utf8CString)
        let made = try #require(mkdtemp(&template), "mkdtemp in /tmp")
        folder = String(cString: made)
        if let program = getenv("GULP_GUARD") {
            guardProgram = String(cString: program)
        } else {
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlink("/proc/self/exe", &buffer, buffer.count)
            let bundle = String(decoding: buffer[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guardProgram = bundle.split(separator: "/").dropLast().map { "/\($0)" }.joined() + "/gulp-guard"
        }
        try #require(access(guardProgram, X_OK) == 0, "\(guardProgram) is missing: swift build --product gulp-guard")
    }

    deinit {
        for run in runs { try? run.killNow() }
        shell("umount -l \(folder)/* 2>/dev/null; rm -rf \(folder)")
    }

    /// A prepared run of a shell script, in which `$F` is the scene's folder.
    func prepare(
        _ script: String, id: String? = nil, deadline: BootTime? = nil, at path: String? = nil,
        change: (inout RunSpecification) -> Void = { _ in }
    ) throws -> RunDirectory {
        var specification = RunSpecification(
            runID: id ?? "\(folder)/\(runs.count)", command: "/bin/sh", arguments: ["-c", script],
            environment: ["F": folder, "PATH": "/usr/bin:/bin"],
            // No test passes or fails by how long a child takes to clean up.
            stopGrace: .seconds(1000))
        change(&specification)
        let run = try RunDirectory.create(
            at: path ?? "\(folder)/run\(runs.count)", specification, deadline: deadline)
        runs.append(run)
        return run
    }

    /// The same, launched.
    func launch(
        _ script: String, id: String? = nil, deadline: BootTime? = nil, at path: String? = nil,
        change: (inout RunSpecification) -> Void = { _ in }
    ) throws -> RunDirectory {
        let run = try prepare(script, id: id, deadline: deadline, at: path, change: change)
        try run.launch(guard: guardProgram)
        return run
    }

    /// The content of a file that a script writes, once it is there with a line in it.
    func content(of name: String) async throws -> String {
        var text = ""
        try await eventually("\(name) is written") {
            text =
                (try? readFile("\(self.folder)/\(name)")).flatMap { $0 }.map { String(decoding: $0, as: UTF8.self) }
                ?? ""
            return text.hasSuffix("\n")
        }
        return String(text.dropLast())
    }

    /// The pid in such a file.
    func pid(in name: String) async throws -> pid_t {
        try #require(pid_t(try await content(of: name)))
    }
}

/// Waits until a condition holds. The bound is on what hangs: a machine that is merely slow must not reach it.
func eventually(_ what: String, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () throws -> Bool)
    async throws
{
    let giveUp = BootTime.now + .seconds(120)
    while try !condition() {
        try #require(BootTime.now < giveUp, "waited two minutes in vain: \(what)", sourceLocation: sourceLocation)
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Runs `body`, which has something to do before a deadline, with twice the time whenever the machine was too slow.
func withDeadline(_ body: (Scene, BootTime) async throws -> Void) async throws {
    var time = Duration.seconds(1)
    while true {
        do { return try await body(try Scene(), .now + time) } catch let late as TooLate {
            time = time * 2
            try #require(time < .seconds(120), "\(late)")
        }
    }
}

/// What a test had to do before a deadline was not done by then.
struct TooLate: Error, CustomStringConvertible {
    let description: String
}

extension BootTime {
    /// Throws ``TooLate`` if this deadline has passed, by which `what` was to have happened.
    func mustBeAhead(_ what: String) throws {
        if self <= .now { throw TooLate(description: "the deadline had passed before \(what)") }
    }
}

extension RunDirectory {
    /// The child's pid, once it runs. Throws ``TooLate`` if its deadline came first.
    func runningPid(sourceLocation: SourceLocation = #_sourceLocation) async throws -> pid_t {
        var found: pid_t?
        try await eventually("the child of \(path) runs", sourceLocation: sourceLocation) {
            switch try status() {
            case .running(let pid, _, _): found = pid
            case .ended(let outcome) where outcome.cause == .deadlinePassed:
                throw TooLate(description: "it ended before it was seen to run: \(outcome)")
            case .ended(let outcome): throw GuardError("it ended: \(outcome)")
            case .preparing: break
            }
            return found != nil
        }
        return try #require(found)
    }

    /// The outcome, once it is there.
    func end(sourceLocation: SourceLocation = #_sourceLocation) async throws -> RunOutcome {
        var found: RunOutcome?
        try await eventually("\(path) ends", sourceLocation: sourceLocation) {
            if case .ended(let outcome) = try status() { found = outcome }
            return found != nil
        }
        return try #require(found)
    }

    var guardPid: pid_t {
        get throws { try #require(try guardIdentity()).pid }
    }

    /// All lines of the log, as text.
    func texts(from position: LogPosition = .start) throws -> [String] { try lines(from: position).map(\.text) }

    /// All lines of the log from a place on.
    func lines(from position: LogPosition = .start) throws -> [LogLine] {
        var lines: [LogLine] = []
        var position = position
        while true {
            let chunk = try LogReader(self).read(from: position)
            lines += chunk.lines
            position = chunk.next
            if chunk.isAtEnd { return lines }
        }
    }
}

/// Whether a process is there and no zombie.
func isAlive(_ pid: pid_t) -> Bool {
    guard let status = try? readFile("/proc/\(pid)/stat"), let end = status.lastIndex(of: UInt8(ascii: ")")) else {
        return false
    }
    return status[end + 2] != UInt8(ascii: "Z")
}

/// Runs a shell command to its end; its exit code.
@discardableResult
func shell(_ command: String) -> CInt {
    system(command) >> 8
}
