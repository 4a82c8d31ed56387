import Discovery
import Logging
import NIOConcurrencyHelpers
import Replica
import Storage
import Transport

/// What the transport brings, handed to the threads. Called on the event loops.
final class PeerDelegate: PeerTransportDelegate {
    private let consensus: Mailbox<ConsensusEvent>
    private let stateDirectory: StateDirectory
    private let clusterID: ClusterID
    private let members: NIOLockedValueBox<[MemberAttributes]>
    private let logger: Logger

    init(
        consensus: Mailbox<ConsensusEvent>, stateDirectory: StateDirectory, clusterID: ClusterID,
        members: [MemberAttributes], logger: Logger
    ) {
        self.consensus = consensus
        self.stateDirectory = stateDirectory
        self.clusterID = clusterID
        self.members = NIOLockedValueBox(members)
        self.logger = logger
    }

    /// The list of members as last applied.
    func update(_ members: [MemberAttributes]) { self.members.withLockedValue { $0 = members } }

    func received(_ messages: [PeerMessage], from member: MemberID) {
        var steps: [Message] = []
        for message in messages {
            switch message {
            case .raft(let step):
                // Who sent it is what the connection says, not what the message claims; only what a follower passes on
                // to its leader may be another's. A snapshot's message comes with its data (`beginSnapshot`).
                let isPassedOn = step.kind == .propose || step.kind == .readIndex
                if step.kind != .snapshot, step.from == member || isPassedOn { steps.append(step) }
            case .request(let id, let body):
                guard let question = LeaderQuestion(decoding: body) else { continue }
                let item = ReadItem(call: CallID(loop: CallID.internalLoop, count: 0), operation: question.operation)
                consensus.post(.leaderRead(ReadBatch(origin: .peer(member, request: id), items: [item])))
            case .response(let id, let body):
                consensus.post(.peerResponse(request: id, body: body))
            }
        }
        if !steps.isEmpty { consensus.post(.messages(steps)) }
    }

    func peerConnected(_ member: MemberID) {}

    func peerUnreachable(_ member: MemberID) { consensus.post(.unreachable(member)) }

    func answer(query: ClusterQuery) -> ClusterReport? {
        ClusterReport(
            clusterID: clusterID.rawValue,
            members: members.withLockedValue { $0 }.map { member in
                ClusterReport.Member(
                    id: member.id, name: member.name, peerURLs: member.peerURLs, clientURLs: member.clientURLs,
                    isLearner: member.isLearner,
                    // A member makes its client URLs known through the log once it takes part.
                    hasStarted: !member.clientURLs.isEmpty)
            })
    }

    func beginSnapshot(_ message: Message, from member: MemberID) -> (any SnapshotSink)? {
        guard let metadata = message.snapshot else { return nil }
        do {
            logger.info(
                "receiving a snapshot", metadata: ["from": "\(member.hexText)", "index": "\(metadata.index.rawValue)"])
            return StagedSnapshot(try stateDirectory.makeReceiver(), message: message, consensus: consensus)
        } catch {
            logger.error("cannot receive a snapshot", metadata: ["error": "\(error)"])
            return nil
        }
    }
}

/// A snapshot on its way in: once whole and checked, its message is stepped.
private final class StagedSnapshot: SnapshotSink {
    private let receiver: SnapshotReceiver
    private let message: Message
    private let consensus: Mailbox<ConsensusEvent>
    private let isComplete = NIOLockedValueBox(false)

    init(_ receiver: SnapshotReceiver, message: Message, consensus: Mailbox<ConsensusEvent>) {
        self.receiver = receiver
        self.message = message
        self.consensus = consensus
    }

    func write(_ chunk: [UInt8]) throws {
        if try receiver.receive(chunk) { isComplete.withLockedValue { $0 = true } }
    }

    func finish() throws {
        guard isComplete.withLockedValue({ $0 }), let mark = receiver.mark, let metadata = message.snapshot,
            mark.index == metadata.index, mark.term == metadata.term, mark.configuration == metadata.configuration
        else { throw ServerError.incompleteSnapshot }
        consensus.post(.snapshotReceived(message, receiver))
    }

    func abort() {}
}
