import EtcdAPI
import Foundation
import GRPC
import NIOCore
import Replica

/// A `LeaseKeepAlive` stream: requests are answered one after the other, in order, as etcd does.
struct KeepAliveStream {
    /// Waiting behind the one that is being answered.
    var queue: [Int64] = []
    var isAsking = false
    /// The client will send no more; the stream ends after the last answer.
    var requestsEnded = false
}

/// `etcdserverpb.Lease`.
extension ClientService {
    func leaseGrant(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_LeaseGrantRequest.self, message)
        guard request.ttl <= LeaseTable.maximumTTL else { throw .leaseTTLTooLarge }
        // The id is chosen and the TTL is raised to the least one here, before the proposal: every member
        // must grant the same, whatever its own election timeout.
        let id = request.id != 0 ? request.id : Int64.random(in: 1...Int64.max)
        let command = LeaseGrantCommand(id: id, ttl: max(request.ttl, context.minimumLeaseTTL))
        try propose(.leaseGrant(command), for: call, as: .leaseGrant, requestBytes: message.readableBytes)
    }

    func leaseRevoke(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_LeaseRevokeRequest.self, message)
        try propose(
            .leaseRevoke(LeaseRevokeCommand(id: request.id)), for: call, as: .leaseRevoke,
            requestBytes: message.readableBytes)
    }

    func leaseTimeToLive(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_LeaseTimeToLiveRequest.self, message)
        let lease = request.id
        readOnLeader(.leaseTimeToLive(lease, withKeys: request.keys), lease: lease, for: call, as: .leaseTimeToLive)
    }

    func leaseLeases(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        _ = try decode(Etcdserverpb_LeaseLeasesRequest.self, message)
        read(.leases, for: call, as: .leaseLeases)
    }

    func answerLeases(_ call: RPCCall, _ leases: [Int64], _ header: ResponseHeader) {
        var response = Etcdserverpb_LeaseLeasesResponse()
        response.header = header.message
        response.leases = leases.map { lease in
            var status = Etcdserverpb_LeaseStatus()
            status.id = lease
            return status
        }
        call.respond(response)
    }

    func answerTimeToLive(_ waiting: Pending, _ lease: LeaseTimeToLive?, _ header: ResponseHeader) {
        var response = Etcdserverpb_LeaseTimeToLiveResponse()
        response.header = header.message
        response.id = waiting.lease
        // A lease that is gone is no error: its TTL is -1.
        response.ttl = lease?.ttl ?? -1
        response.grantedTtl = lease?.grantedTTL ?? 0
        response.keys = lease?.keys.map { Data($0) } ?? []
        waiting.call.respond(response)
    }

    // MARK: Keep-alive

    func leaseKeepAlive(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_LeaseKeepAliveRequest.self, message)
        // What still arrives of a stream that was ended here begins no new one.
        guard call.isOpen else { return }
        keepAliveStreams[call, default: KeepAliveStream()].queue.append(request.id)
        askNextKeepAlive(call)
    }

    func endKeepAliveRequests(_ call: RPCCall) {
        keepAliveStreams[call, default: KeepAliveStream()].requestsEnded = true
        askNextKeepAlive(call)
    }

    private func askNextKeepAlive(_ call: RPCCall) {
        guard var stream = keepAliveStreams[call], !stream.isAsking else { return }
        if stream.queue.isEmpty {
            if stream.requestsEnded { finishKeepAliveStream(call, .ok) }
            return
        }
        let lease = stream.queue.removeFirst()
        stream.isAsking = true
        keepAliveStreams[call] = stream
        readOnLeader(.leaseKeepAlive(lease), lease: lease, for: call, as: .leaseKeepAlive)
    }

    func answerKeepAlive(_ waiting: Pending, _ answer: LoopAnswer) {
        guard keepAliveStreams[waiting.call] != nil else { return }
        switch answer.body {
        case .keepAlive(let ttl):
            var response = Etcdserverpb_LeaseKeepAliveResponse()
            response.header = self.header(revision: answer.revision).message
            response.id = waiting.lease
            // A lease that is gone is no error: its TTL is 0.
            response.ttl = ttl ?? 0
            guard let bytes: [UInt8] = try? response.serializedBytes() else { return }
            waiting.call.send { $0.writeBytes(bytes) }
            keepAliveStreams[waiting.call]?.isAsking = false
            askNextKeepAlive(waiting.call)
            handOn()
        case .failed(let status): finishKeepAliveStream(waiting.call, status)
        default: finishKeepAliveStream(waiting.call, .timedOut)
        }
    }

    func finishKeepAliveStream(_ call: RPCCall, _ status: GRPCStatus) {
        if keepAliveStreams.removeValue(forKey: call) != nil { call.finish(status) }
    }
}
