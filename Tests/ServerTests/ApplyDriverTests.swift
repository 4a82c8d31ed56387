import Discovery
import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOPosix
import Replica
import Storage
import Testing
import Transport

@testable import Server

/// The apply thread on its own, with a state on disk and mailboxes for neighbours.
@Suite struct ApplyDriverTests {
    /// Keeps what would go to the clients.
    private final class Outlet: LoopOutlet {
        let loopCount = 1
        let answers = NIOLockedValueBox<[LoopAnswer]>([])
        func deliver(_ batch: LoopBatch, toLoop loop: Int) { answers.withLockedValue { $0 += batch.answers } }
    }

    private let id = MemberID(1)

    /// Runs the thread over these events and answers what it told the clients and consensus.
    private func run(_ events: [ApplyEvent]) async throws -> (answers: [LoopAnswer], consensus: [ConsensusEvent]) {
        let directory = FileManager.default.temporaryDirectory.path + "/gulp-apply-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let logger = TestCluster.silence
        let (storage, _) = try MemberStorage.open(
            dataDirectory: directory, newIdentity: MemberIdentity(clusterID: 1, memberID: id),
            initialConfiguration: ConfState(voters: [id]))
        let mailboxes = Mailboxes()
        let outlet = Outlet()
        let metrics = Metrics()
        let delegate = PeerDelegate(
            consensus: mailboxes.consensus, stateDirectory: storage.states, clusterID: ClusterID(1), members: [],
            logger: logger)
        let transport = PeerTransport(
            identity: PeerTransport.Identity(clusterID: 1, memberID: id), group: MultiThreadedEventLoopGroup.singleton,
            logger: logger, delegate: delegate)
        let driver = ApplyDriver(
            machine: try ApplyMachine(
                id: id, history: try StateDatabase(storage.states.files), applied: .zero, term: .zero,
                configuration: ConfState(voters: [id])),
            id: id, firstInternalCount: 0, flushPolicy: FlushPolicy(), electionTimeoutMilliseconds: 1000,
            onPublished: { _ in }, onMembers: { _ in }, mailboxes: mailboxes, transport: transport, outlet: outlet,
            flushThread: FlushThread(consensusMailbox: mailboxes.consensus, metrics: metrics, fail: { _ in }),
            board: StatusBoard(MemberStatus(leadership: Leadership(term: Term(1), leader: id, isLeader: true))),
            metrics: metrics, logger: logger, fail: { Issue.record("\($0)") })
        for event in events + [.stop] { mailboxes.apply.post(event) }
        driver.run()
        await transport.shutdown()
        var told: [ConsensusEvent] = []
        mailboxes.consensus.take(into: &told, deadline: 0)
        return (outlet.answers.withLockedValue { $0 }, told)
    }

    private func leads(_ isLeader: Bool) -> ApplyEvent {
        .leadership(Leadership(term: Term(1), leader: isLeader ? id : .none, isLeader: isLeader))
    }

    private var granted: ApplyEvent {
        let proposal = Proposal(
            origin: MemberID(2), requestID: RequestID(1),
            command: .store(.leaseGrant(LeaseGrantCommand(id: 7, ttl: 60))))
        return .committed([Entry(term: Term(1), index: LogIndex(1), kind: .normal, payload: proposal.encoded())])
    }

    private func renewal(after index: LogIndex) -> ApplyEvent {
        let item = ReadItem(call: CallID(loop: 0, count: 1), operation: .leaseKeepAlive(7))
        return .reads(after: index, [ReadBatch(origin: .loop(0), items: [item])])
    }

    @Test func theLeaderRenewsALease() async throws {
        let (answers, _) = try await run([leads(true), granted, renewal(after: LogIndex(1))])
        #expect(answers.count == 1)
        guard case .keepAlive(60)? = answers.first?.body else {
            Issue.record("renewed as \(answers)")
            return
        }
    }

    @Test func aRenewalThatComesUpAfterTheLeadWasLostIsAskedOfTheNextLeader() async throws {
        let (answers, consensus) = try await run([leads(true), granted, leads(false), renewal(after: LogIndex(1))])
        // Never "no such lease": the client would take it for expired.
        #expect(answers.isEmpty)
        let handedBack = consensus.filter { if case .leaderRead = $0 { true } else { false } }
        #expect(handedBack.count == 1)
    }
}
