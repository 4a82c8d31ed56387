import NIOCore

/// The answer to one call as its client sees it: head, messages, trailers, and how it ended.
struct ResponseReader {
    private enum Phase { case awaitingHead, body, trailers }

    private var phase = Phase.awaitingHead
    private var reader: MessageReader
    private var httpStatus = 0
    private var contentType = ""
    private var grpcStatus: Int?
    private var grpcMessage = ""

    init(maxMessageBytes: Int) { reader = MessageReader(maxMessageBytes: maxMessageBytes) }

    mutating func add(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        if name.equals(":status") {
            httpStatus = Int(String(decoding: value, as: UTF8.self)) ?? 0
        } else if name.equals("content-type") {
            contentType = String(decoding: value, as: UTF8.self)
        } else if name.equals("grpc-status") {
            // A status that is no number is still a status: not OK.
            grpcStatus = Int(String(decoding: value, as: UTF8.self)) ?? GRPCStatus.Code.unknown.rawValue
        } else if name.equals("grpc-message") {
            grpcMessage = PercentEncoding.decode(value)
        }
    }

    /// A header block is complete. Answers an error if the call cannot go on.
    mutating func headersEnded(endsStream: Bool) -> RPCError? {
        switch phase {
        case .awaitingHead:
            // 1xx: the real head follows.
            if (100..<200).contains(httpStatus) && !endsStream { return nil }
            phase = endsStream ? .trailers : .body
            if grpcStatus != nil { return nil }
            guard httpStatus == 200 else { return Self.error(httpStatus: httpStatus) }
            guard contentType.hasPrefix("application/grpc") else {
                return RPCError(.unknown, "unexpected content-type \"\(contentType)\"")
            }
            return nil
        case .body, .trailers:
            phase = .trailers
            return nil
        }
    }

    /// Takes the next message off `chunk`. Call until it answers `.needsMore` or `.failure`.
    mutating func next(from chunk: inout ByteBuffer) -> MessageReader.Element {
        guard phase == .body else { return .failure(GRPCStatus(.internal, "a body before its head")) }
        return reader.next(from: &chunk)
    }

    /// How the call ended when its stream closed with this HTTP/2 error code; nil is OK.
    func outcome(resetCode: UInt32) -> RPCError? {
        if let grpcStatus {
            guard grpcStatus == 0 else {
                return RPCError(GRPCStatus.Code(rawValue: grpcStatus) ?? .unknown, grpcMessage)
            }
            return reader.isWithinMessage ? RPCError(.internal, "the answer ended within a message") : nil
        }
        let reason = "stream terminated by RST_STREAM with error code: \(HTTP2Session.describe(code: resetCode))"
        // gRPC over HTTP/2, "Errors".
        switch resetCode {
        case HTTP2Session.noError:
            return RPCError(.internal, "server closed the stream without sending trailers")
        case HTTP2Session.refusedStream: return RPCError(.unavailable, reason)
        case HTTP2Session.cancel: return RPCError(.cancelled, reason)
        case HTTP2Session.enhanceYourCalm: return RPCError(.resourceExhausted, reason)
        case HTTP2Session.inadequateSecurity: return RPCError(.permissionDenied, reason)
        default: return RPCError(.internal, reason)
        }
    }

    /// For answers of something that is not a gRPC server (grpc's "HTTP to gRPC Status Code Mapping").
    private static func error(httpStatus: Int) -> RPCError {
        let code: GRPCStatus.Code =
            switch httpStatus {
            case 400: .internal
            case 401: .unauthenticated
            case 403: .permissionDenied
            case 404: .unimplemented
            case 429, 502, 503, 504: .unavailable
            default: .unknown
            }
        return RPCError(code, "unexpected HTTP status code received from server: \(httpStatus)")
    }
}
