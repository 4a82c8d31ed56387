import EtcdAPI
import GRPC
import NIOCore
import Replica

/// `etcdserverpb.Maintenance`, `etcdserverpb.Cluster` and `etcdserverpb.Auth`, as far as they are served.
extension ClientService {
    func memberList(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_MemberListRequest.self, message)
        read(.memberList, for: call, as: .memberList, serializable: !request.linearizable)
    }

    func answerMembers(_ call: RPCCall, _ members: [MemberAttributes], _ header: ResponseHeader) {
        var response = Etcdserverpb_MemberListResponse()
        // etcd leaves the revision out of this service's headers.
        response.header = header.message
        response.header.revision = 0
        response.members = members.map { member in
            var out = Etcdserverpb_Member()
            out.id = member.id.rawValue
            out.name = member.name
            out.peerUrls = member.peerURLs
            out.clientUrls = member.clientURLs
            out.isLearner = member.isLearner
            return out
        }
        call.respond(response)
    }

    func status(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        _ = try decode(Etcdserverpb_StatusRequest.self, message)
        let status = context.board.current
        var response = Etcdserverpb_StatusResponse()
        response.header = self.header(revision: status.revision).message
        response.version = VersionText.etcd
        response.dbSize = status.databaseBytes
        response.dbSizeInUse = status.databaseBytesInUse
        response.leader = status.leadership.leader.rawValue
        response.raftIndex = status.committed.rawValue
        response.raftTerm = status.leadership.term.rawValue
        response.raftAppliedIndex = status.applied.rawValue
        if status.leadership.leader == .none { response.errors = [GRPCStatus.noLeader.message] }
        call.respond(response)
    }

    func hashKV(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_HashKVRequest.self, message)
        read(.hashKV(revision: request.revision), for: call, as: .hashKV, serializable: true)
    }

    func answerHashKV(_ call: RPCCall, _ result: HashKVResult, _ header: ResponseHeader) {
        var response = Etcdserverpb_HashKVResponse()
        response.header = header.message
        response.hash = result.hash
        response.compactRevision = result.compactedRevision
        call.respond(response)
    }

    func alarm(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_AlarmRequest.self, message)
        let kind = Alarm.Kind(rawValue: UInt8(clamping: request.alarm.rawValue))
        let action: AlarmCommand.Action? =
            switch request.action {
            case .activate: .activate
            case .deactivate: .deactivate
            default: nil
            }
        // As in etcd, an alarm of no kind is all kinds to whoever lists them, and none to whoever changes them.
        guard let action else { return read(.alarms(kind), for: call, as: .alarm) }
        guard let kind else {
            return answerAlarms(call, [], header(revision: context.board.current.revision))
        }
        let command = AlarmCommand(action, Alarm(kind, member: request.memberID))
        try propose(.alarm(command), for: call, as: .alarm, requestBytes: message.readableBytes)
    }

    func answerAlarms(_ call: RPCCall, _ alarms: [Alarm], _ header: ResponseHeader) {
        var response = Etcdserverpb_AlarmResponse()
        response.header = header.message
        response.alarms = alarms.map { alarm in
            .with {
                $0.memberID = alarm.member
                $0.alarm = alarm.kind == .noSpace ? .nospace : .corrupt
            }
        }
        call.respond(response)
    }

    func authStatus(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        _ = try decode(Etcdserverpb_AuthStatusRequest.self, message)
        var response = Etcdserverpb_AuthStatusResponse()
        response.header = self.header(revision: context.board.current.revision).message
        response.enabled = false
        // etcd's auth store starts at revision 1.
        response.authRevision = 1
        call.respond(response)
    }
}
