import Dispatch
import Foundation
import Glibc
import Guard
import LaunchModel
import Logging
import Synchronization

/// Does the plan's steps on the disk and with guards, and tells what comes of them.
///
/// What is short is done on one queue, in order. What can take long (to kill what hangs, to delete much) is done beside
/// it, and so is the moving of deadlines, which must wait for nothing.
final class RunStore: Sendable {
    private let data: DataDirectory
    private let configuration: AgentConfiguration
    private let watch: GuardWatch
    private let emit: @Sendable (Event) -> Void
    private let logger: Logger
    private let queue = DispatchQueue(label: "agent.runs")
    private let renewalQueue = DispatchQueue(label: "agent.runs.deadlines")
    private let slowQueue = DispatchQueue(label: "agent.runs.slow", attributes: .concurrent)
    private let runs = Mutex<[RunKey: RunDirectory]>([:])
    private let outputStamps = Mutex<[RunKey: Outputs.Stamp]>([:])
    /// Runs of which nothing lives, as was told, whatever their directories say.
    private let over = Mutex<Set<RunKey>>([])
    private let isClosed = Mutex(false)

    /// How many runs of an instance are kept for their logs, the present one included.
    static let runsKept = 3
    /// After a look at a run's files that failed.
    private static let lookAgainAfter: DispatchTimeInterval = .seconds(5)

    /// - Parameter emit: called on threads of the store's and the watch's; must return soon.
    init(
        _ data: DataDirectory, _ configuration: AgentConfiguration, logger: Logger,
        emit: @escaping @Sendable (Event) -> Void
    ) throws(GuardError) {
        self.data = data
        self.configuration = configuration
        self.logger = logger
        self.emit = emit
        watch = try GuardWatch()
    }

    /// Ends the watching, and returns when all steps that were begun are done. What runs runs on.
    func close() async {
        watch.close()
        isClosed.withLock { $0 = true }
        await withCheckedContinuation { continuation in queue.async { continuation.resume() } }
        await withCheckedContinuation { continuation in
            slowQueue.async(flags: .barrier) { continuation.resume() }
        }
    }

    /// Does the steps, in order (but deadlines at once), and returns before.
    func perform(_ effects: [Effect]) {
        var renewals: [(RunKey, BootTime)] = []
        var others: [Effect] = []
        for effect in effects {
            if case .renew(let key, let moment) = effect {
                renewals.append((key, moment))
            } else {
                others.append(effect)
            }
        }
        if !renewals.isEmpty {
            renewalQueue.async { [self, renewals] in for (key, moment) in renewals { renew(key, moment) } }
        }
        if !others.isEmpty {
            queue.async { [self, others] in
                var unsaved: [InstanceID: String] = [:]
                for effect in others { perform(effect, &unsaved) }
            }
        }
    }

    private func renew(_ key: RunKey, _ moment: BootTime) {
        // One that is only being made is moved on next time.
        guard let run = runs.withLock({ $0[key] }) else { return }
        do throws(GuardError) { try run.renew(until: moment) } catch {
            logger.error("cannot move a deadline on", metadata: metadata(key).with("error", error))
        }
    }

    private func perform(_ effect: Effect, _ unsaved: inout [InstanceID: String]) {
        switch effect {
        case .save(let instance, let record):
            do throws(AgentError) {
                try makeDirectory(data.folder(of: instance), mode: 0o711)
                try replaceFile(data.state(of: instance), record.json)
            } catch {
                unsaved[instance] = error.description
                logger.error(
                    "cannot note the state of an instance", metadata: ["instance": "\(instance)", "error": "\(error)"])
            }
        case .start(let key, let component, let deadline):
            if let reason = unsaved[key.instance] { return emit(.startFailed(key, reason)) }
            start(key, component, deadline)
        case .watch(let key): takeUp(key)
        case .requestStop(let key):
            logger.info("stopping", metadata: metadata(key))
            with(key) { run throws(GuardError) in try run.requestStop() }
        case .renew(let key, let moment): renew(key, moment)
        case .kill(let key):
            logger.warning("the guard does not end its run; killing both", metadata: metadata(key))
            slowQueue.async { [self] in kill(key) }
        case .clear(let instance): slowQueue.async { [self] in clear(instance) }
        }
    }

    /// Looks at the outputs of runs; tells those that changed.
    func lookAtOutputs(_ keys: [RunKey]) {
        guard !keys.isEmpty else { return }
        queue.async { [self] in
            for key in keys {
                let known = outputStamps.withLock { $0[key] }
                guard let (outputs, stamp) = Outputs.read(data.outputs(of: key), unless: known) else { continue }
                outputStamps.withLock { $0[key] = stamp }
                emit(.outputs(key, outputs))
            }
        }
    }

    // MARK: One run

    private func directory(_ key: RunKey) throws(GuardError) -> RunDirectory {
        if let known = runs.withLock({ $0[key] }) { return known }
        let run = try RunDirectory(adopting: data.run(key))
        runs.withLock { $0[key] = run }
        return run
    }

    private func with(_ key: RunKey, _ body: (RunDirectory) throws(GuardError) -> Void) {
        do throws(GuardError) { try body(directory(key)) } catch {
            logger.error("cannot reach a run", metadata: metadata(key).with("error", error))
        }
    }

    private func metadata(_ key: RunKey) -> Logger.Metadata {
        ["instance": "\(key.instance)", "run": "\(key.directoryName)"]
    }

    private func beginWatch(_ run: RunDirectory, _ key: RunKey) {
        watch.watch(run) { [self] pid, startedAt in
            logger.info("a component runs", metadata: metadata(key).with("pid", pid))
            emit(.started(key, pid: pid, at: startedAt))
        } onEnd: { [self] outcome in
            // What it said last, while the plan still takes it for the present run.
            if let (outputs, _) = Outputs.read(data.outputs(of: key), unless: nil) { emit(.outputs(key, outputs)) }
            outputStamps.withLock { $0[key] = nil }
            if outcome.ending == .lost, let complaint = try? run.guardComplaint() {
                logger.error("a guard could not guard", metadata: metadata(key).with("complaint", complaint))
            }
            logger.info("a run is over", metadata: metadata(key).with("outcome", outcome.words))
            tellEnd(key, outcome)
        }
    }

    private func tellEnd(_ key: RunKey, _ outcome: RunOutcome) {
        over.withLock { _ = $0.insert(key) }
        emit(.ended(key, outcome))
    }

    /// Whether nothing of a run lives for certain.
    private func isOver(_ key: RunKey) -> Bool {
        // Its outcome is recorded when nothing of it lives, and not before.
        over.withLock { $0.contains(key) } || access("\(data.run(key))/exit", F_OK) == 0
    }

    /// Blocks for as long as its processes take to die.
    private func kill(_ key: RunKey) {
        do throws(GuardError) {
            do throws(GuardError) { try directory(key).killNow() } catch {
                // What has no directory that can be used is found by its marker, and nobody else tells its end.
                guard isUseless(data.run(key)) else { throw error }
                let killed = try RunDirectory.sweep(runID: data.runID(key))
                runs.withLock { $0[key] = nil }
                if access("\(data.run(key))/specification", F_OK) == 0 {
                    setAside(
                        data.run(key), as: "\(key.instance).\(key.directoryName)", because: "\(error)", killed: killed)
                } else {
                    // Never finished, or deleted: nothing that a person could look at.
                    try? FileManager.default.removeItem(atPath: data.run(key))
                }
                tellEnd(
                    key, RunOutcome(ending: .lost, cause: .stopRequested, endedAt: Timestamp.now.milliseconds))
            }
        } catch {
            logger.error("cannot kill a run", metadata: metadata(key).with("error", error))
            emit(.killFailed(key))
        }
    }

    private func start(_ key: RunKey, _ component: ComponentSpecification, _ deadline: BootTime?) {
        do throws(AgentError) {
            try checkOthers(key)
            prune(key.instance, keeping: Self.runsKept - 1)
            let specification = try prepare(key, component)
            let run: RunDirectory
            do { run = try RunDirectory.create(at: data.run(key), specification, deadline: deadline) } catch {
                // What was begun of it is no run, and nothing was launched.
                try? FileManager.default.removeItem(atPath: data.run(key))
                throw AgentError(error.description)
            }
            do { try run.launch(guard: configuration.guardExecutable) } catch {
                // Nothing of it may live when another attempt is made.
                try? run.killNow(cause: .byItself)
                throw AgentError(error.description)
            }
            runs.withLock { $0[key] = run }
            beginWatch(run, key)
        } catch {
            logger.error("cannot start a run", metadata: metadata(key).with("error", error))
            emit(.startFailed(key, error.description))
        }
    }

    /// Throws while another run of the instance may live, and has it ended.
    private func checkOthers(_ key: RunKey) throws(AgentError) {
        let left = try data.allRuns(of: key.instance).filter { $0 != key && !isOver($0) }
        guard !left.isEmpty else { return }
        for one in left { slowQueue.async { [self] in kill(one) } }
        throw AgentError(
            "processes of an earlier run (\(left.map(\.directoryName).joined(separator: ", "))) may live; "
                + "they are being killed (if that does not help: see the processes in state D)")
    }

    /// Makes what the run finds, and says what it is.
    private func prepare(_ key: RunKey, _ component: ComponentSpecification) throws(AgentError) -> RunSpecification {
        let folder = data.folder(of: key.instance)
        let user = component.user.flatMap(ComponentUser.init)
        for name in ["work", "outputs"] {
            try makeDirectory("\(folder)/\(name)", mode: 0o755)
            // Not as root: the guard will say that it cannot run a component as another user.
            if let user, geteuid() == 0, lchown("\(folder)/\(name)", user.uid, user.gid) != 0 {
                throw AgentError(cannot: "give \(user.name) the directory", "\(folder)/\(name)")
            }
        }
        return RunSpecification(
            runID: data.runID(key), command: component.command, arguments: component.arguments,
            environment: environment(key, component, user),
            workingDirectory: component.workingDirectory ?? "\(folder)/work", user: component.user,
            stopGrace: .milliseconds(component.stopGraceMilliseconds), logLimitBytes: configuration.logLimitBytes)
    }

    private func environment(
        _ key: RunKey, _ component: ComponentSpecification, _ user: ComponentUser?
    ) -> [String: String] {
        var environment = [
            "PATH": ProcessInfo.processInfo.environment["PATH"]
                ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ]
        if let user {
            environment["HOME"] = user.home
            environment["USER"] = user.name
        }
        environment.merge(component.environment) { _, own in own }
        let ours = [
            "MEGAM_ASSEMBLY": key.instance.assembly, "MEGAM_COMPONENT": key.instance.component,
            "MEGAM_INSTANCE": "\(key.instance)", "MEGAM_INDEX": "\(key.instance.index)",
            "MEGAM_NODE": configuration.nodeName, "MEGAM_NODE_ADDRESS": configuration.advertiseHost,
            "MEGAM_FENCING_TOKEN": "\(key.token)", "MEGAM_OUTPUTS": data.outputs(of: key),
        ]
        return environment.merging(ours) { _, ours in ours }
    }

    // MARK: Deleting

    /// Deletes all but the newest runs of an instance, which are over.
    private func prune(_ instance: InstanceID, keeping count: Int) {
        let keys = data.runs(of: instance)
        for key in keys.dropLast(count) {
            do { try remove(key) } catch {
                logger.error("cannot remove an old run", metadata: metadata(key).with("error", "\(error)"))
            }
            unlink(data.outputs(of: key))
        }
    }

    /// Deletes one run, of which nothing lives afterwards.
    private func remove(_ key: RunKey) throws {
        do { try directory(key).remove() } catch {
            // Damaged: what matters is that nothing of it lives.
            try RunDirectory.sweep(runID: data.runID(key))
            if access(data.run(key), F_OK) == 0 { try FileManager.default.removeItem(atPath: data.run(key)) }
        }
        runs.withLock { $0[key] = nil }
        over.withLock { _ = $0.remove(key) }
    }

    private func clear(_ instance: InstanceID) {
        let folder = data.folder(of: instance)
        do {
            // First: without it nothing is started from what is left if this is broken off.
            if unlink(data.state(of: instance)) != 0, errno != ENOENT {
                throw AgentError(cannot: "remove", data.state(of: instance))
            }
            for key in try data.allRuns(of: instance) { try remove(key) }
            if access(folder, F_OK) == 0 { try FileManager.default.removeItem(atPath: folder) }
            logger.info("cleaned up", metadata: ["instance": "\(instance)"])
            emit(.cleared(instance, true))
        } catch {
            logger.error("cannot clean up", metadata: ["instance": "\(instance)", "error": "\(error)"])
            emit(.cleared(instance, false))
        }
    }
}

// MARK: Adoption

extension RunStore {
    /// All that lies in the data directory. What cannot be gone on with is ended afterwards: a process that does not
    /// die holds up no other instance.
    func adopt() async throws -> [FoundInstance] {
        try await withCheckedThrowingContinuation { continuation in
            slowQueue.async { [self] in continuation.resume(with: Result { try found() }) }
        }
    }

    private func found() throws -> [FoundInstance] {
        try FileManager.default.contentsOfDirectory(atPath: data.runs).sorted().compactMap { name in
            guard let instance = InstanceID(name) else {
                setAside("\(data.runs)/\(name)", as: name, because: "its name is no instance's")
                return nil
            }
            return found(instance)
        }
    }

    private func found(_ instance: InstanceID) -> FoundInstance {
        var record: InstanceRecord?
        do {
            if let bytes = try readSmallFile(data.state(of: instance)) {
                let read = try InstanceRecord(json: bytes)
                guard read.format <= InstanceRecord.currentFormat else {
                    throw AgentError("it was written by a newer gulpd, in format \(read.format)")
                }
                record = read
            }
        } catch {
            logger.error(
                "the noted state of an instance cannot be used",
                metadata: ["instance": "\(instance)", "error": "\(error)"])
        }
        var keys: [RunKey] = []
        do throws(AgentError) { keys = try data.allRuns(of: instance) } catch {
            logger.error("cannot find runs", metadata: ["instance": "\(instance)", "error": "\(error)"])
            // The last one that was begun may live.
            if let record, record.attempt > 0 {
                keys = [RunKey(instance, token: record.token, attempt: record.attempt)]
            }
        }
        // Of two that live, the older should not.
        for key in keys.dropLast() where !isOver(key) { slowQueue.async { [self] in kill(key) } }
        return FoundInstance(instance: instance, record: record, runs: keys.map(found))
    }

    private func found(_ key: RunKey) -> FoundInstance.Run {
        var found = FoundInstance.Run(key: key, deadline: nil, stopGrace: .seconds(10), mayLive: !isOver(key))
        do throws(GuardError) {
            let run = try directory(key)
            found.stopGrace = run.specification.stopGrace
            found.deadline = try run.deadline()
        } catch {
            if !found.mayLive, isUseless(data.run(key)) {
                setAside(data.run(key), as: "\(key.instance).\(key.directoryName)", because: "\(error)")
            } else {
                // One that may live is looked at again when it is taken up.
                logger.error("cannot read a run", metadata: metadata(key).with("error", error))
            }
        }
        return found
    }

    /// Watches a run that was found.
    private func takeUp(_ key: RunKey) {
        do throws(GuardError) {
            let run = try directory(key)
            beginWatch(run, key)
            // One that has not come as far as to have a guard is not begun now: its assignment may be gone. All else
            // (the guard lives, its child known or not; it is over; it is lost) is the watch's to tell.
            if case .preparing? = try? run.status(), access("\(run.path)/guard", F_OK) != 0 {
                slowQueue.async { [self] in kill(key) }
            } else {
                logger.info("adopting a run", metadata: metadata(key))
            }
        } catch {
            if isUseless(data.run(key)) { return slowQueue.async { [self] in kill(key) } }
            // Nothing is known of it but that it may live.
            logger.error("cannot take up a run; looking again", metadata: metadata(key).with("error", error))
            queue.asyncAfter(deadline: .now() + Self.lookAgainAfter) { [weak self] in
                guard let self, !isClosed.withLock({ $0 }) else { return }
                takeUp(key)
            }
        }
    }

    /// Whether a run's directory is gone or damaged for certain: its files can be read, are of no newer format, and
    /// are no run's all the same.
    private func isUseless(_ path: String) -> Bool {
        for name in ["specification", "deadline", "guard"] {
            do throws(AgentError) {
                guard let bytes = try readSmallFile("\(path)/\(name)") else { continue }
                let head = bytes.prefix { $0 != UInt8(ascii: "\n") }.split(separator: UInt8(ascii: " "))
                let words = head.map { String(decoding: $0, as: UTF8.self) }
                if words.count == 3, words[..<2] == ["gulp-run", name], let version = Int(words[2]),
                    version > GuardFormat.version
                {
                    return false
                }
            } catch { return false }
        }
        do throws(GuardError) { _ = try RunDirectory(adopting: path) } catch { return true }
        return false
    }

    private func setAside(_ path: String, as name: String, because reason: String, killed: Int = 0) {
        let metadata: Logger.Metadata = ["path": "\(path)", "reason": "\(reason)", "killed": "\(killed)"]
        do throws(AgentError) {
            try data.setAside(path, as: name)
            logger.error("a damaged directory is set aside", metadata: metadata)
        } catch {
            logger.error("a damaged directory cannot be set aside", metadata: metadata.with("error", error))
        }
    }
}

extension DataDirectory {
    /// The runs of an instance that have a directory, oldest first; none if they cannot be listed.
    func runs(of instance: InstanceID) -> [RunKey] { (try? allRuns(of: instance)) ?? [] }

    /// The same, for who must not miss one.
    func allRuns(of instance: InstanceID) throws(AgentError) -> [RunKey] {
        let folder = folder(of: instance)
        do {
            let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            return names.compactMap { RunKey(instance, directoryName: $0) }.sorted()
        } catch {
            if access(folder, F_OK) != 0, errno == ENOENT { return [] }
            throw AgentError("cannot list the runs in \(folder): \(error.localizedDescription)")
        }
    }
}

extension Logger.Metadata {
    func with(_ name: String, _ value: some Sendable & CustomStringConvertible) -> Self {
        merging([name: "\(value)"]) { _, new in new }
    }
}
