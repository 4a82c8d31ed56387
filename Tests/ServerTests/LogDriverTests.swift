import Discovery
import Foundation
import NIOPosix
import Replica
import Testing
import Transport

@testable import Server
@testable import Storage

/// The log thread on its own, with a log on disk and a neighbour that installs snapshots, or fails to.
@Suite struct LogDriverTests {
    private let id = MemberID(1)

    /// Runs the thread over these jobs, and answers what the log then holds.
    private func run(_ jobs: [LogJob.Append], installing succeeds: Bool) async throws -> RecoveredLog {
        let directory = FileManager.default.temporaryDirectory.path + "/gulp-log-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try await run(jobs, installing: succeeds, in: directory)
        return try RaftLog.open(directory: directory + "/member/log").1
    }

    private func run(_ jobs: [LogJob.Append], installing succeeds: Bool, in directory: String) async throws {
        let (storage, recovery) = try MemberStorage.open(
            dataDirectory: directory, newIdentity: MemberIdentity(clusterID: 1, memberID: id))
        let mailboxes = Mailboxes()
        let delegate = PeerDelegate(
            consensus: mailboxes.consensus, stateDirectory: storage.states, clusterID: ClusterID(1), members: [],
            logger: TestCluster.silence)
        let transport = PeerTransport(
            identity: PeerTransport.Identity(clusterID: 1, memberID: id), group: MultiThreadedEventLoopGroup.singleton,
            logger: TestCluster.silence, delegate: delegate)
        let driver = LogDriver(
            log: storage.log, hardState: recovery.log.hardState, id: id, mailboxes: mailboxes, transport: transport,
            metrics: Metrics(), fail: { _ in })
        Thread.detachNewThread {
            var events: [ApplyEvent] = []
            mailboxes.apply.take(into: &events, deadline: nil)
            for case .install(_, _, let installed) in events { installed.finish(succeeds) }
        }
        for job in jobs { mailboxes.log.post(.append(job)) }
        mailboxes.log.post(.stop)
        driver.run()
        await transport.shutdown()
    }

    private func hardState(_ term: UInt64, commit: UInt64) -> HardState {
        HardState(term: Term(term), commit: LogIndex(commit))
    }

    /// Entries of which two are committed, and a snapshot that stands for others in the place of the rest.
    private var jobs: [LogJob.Append] {
        var entries = LogJob.Append()
        entries.hardState = hardState(1, commit: 2)
        entries.entries = (1...5).map { Entry(term: Term(1), index: LogIndex($0), payload: []) }
        entries.mustSync = true
        var snapshot = LogJob.Append()
        snapshot.hardState = hardState(3, commit: 4)
        snapshot.mustSync = true
        snapshot.snapshot = (SnapshotMetadata(index: LogIndex(4), term: Term(2), configuration: ConfState()), nil)
        return [entries, snapshot]
    }

    @Test func aSnapshotReplacesTheLog() async throws {
        let log = try await run(jobs, installing: true)
        #expect(log.base == (LogIndex(4), Term(2)) && log.entries.isEmpty)
        #expect(log.hardState == hardState(3, commit: 4))
    }

    /// The term must be there; the commit index would be taken for one of the entries, which never were committed.
    @Test func aSnapshotThatIsNotInstalledLeavesTheCommitIndexOfTheEntriesThatAreThere() async throws {
        let log = try await run(jobs, installing: false)
        #expect(log.entries.count == 5)
        #expect(log.hardState == hardState(3, commit: 2))
    }
}
