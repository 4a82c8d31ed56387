import CNghttp2
import NIOCore

/// One nghttp2 session: the only file that speaks to the C library.
///
/// The session reports to its `HTTP2Connection`, which owns it and must not free it from within a
/// callback. nghttp2 keeps two kinds of pointers of ours: the connection as the session's user data
/// (valid because the connection outlives its session) and each stream's object as the stream's user
/// data and data source (valid because the connection keeps a stream until `streamClosed` or the end
/// of the session, and nghttp2 uses neither later).
///
/// A plain value of pointers, so that the hottest calls count no references; `free` ends it.
struct HTTP2Session {
    enum Role { case client, server }

    /// HTTP/2's limits on what the peer may do.
    struct Limits: Sendable {
        var maxConcurrentStreams: UInt32 = 65_536
        /// The receive window of each stream, in bytes.
        var streamWindowBytes: Int32 = 1 << 20
        /// The receive window of the connection, in bytes.
        var connectionWindowBytes: Int32 = 4 << 20
        /// Name and value of each field and 32 bytes more, summed (RFC 9113, 6.5.2).
        var maxHeaderListBytes: Int = 64 << 10
        /// Whether stream windows open as data arrives, or only by `consume`.
        var opensStreamWindows = true
    }

    enum Failure: Error {
        case outOfMemory
        case library(Int32)
    }

    private let pointer: OpaquePointer
    private let constants: Unmanaged<ConstantHeaders>
    private let responseHead: (fields: UnsafeMutablePointer<nghttp2_nv>, count: Int)
    private let okTrailers: (fields: UnsafeMutablePointer<nghttp2_nv>, count: Int)

    init(role: Role, limits: Limits, connection: HTTP2Connection) throws {
        var callbacks: OpaquePointer?
        guard nghttp2_session_callbacks_new(&callbacks) == 0, let callbacks else { throw Failure.outOfMemory }
        defer { nghttp2_session_callbacks_del(callbacks) }
        Self.install(in: callbacks)

        var option: OpaquePointer?
        guard nghttp2_option_new(&option) == 0, let option else { throw Failure.outOfMemory }
        defer { nghttp2_option_del(option) }
        // Closed streams are only remembered for RFC 7540's priorities, which are not used here.
        nghttp2_option_set_no_closed_streams(option, 1)
        // Floods that make us queue answers (CVE-2019-9512, 9515): PING and SETTINGS acknowledgements
        // waiting to be sent, entries of one SETTINGS frame, CONTINUATION frames of one header block.
        nghttp2_option_set_max_outbound_ack(option, 1000)
        nghttp2_option_set_max_settings(option, 32)
        nghttp2_option_set_max_continuations(option, 16)
        // Resets are bounded by the connection, which counts those it causes too.
        nghttp2_option_set_stream_reset_rate_limit(option, 1 << 32, 1 << 32)
        // What a gRPC request's head must hold, `RequestHead` checks. nghttp2's own rules are stricter than gRPC's servers
        // are: etcd's client of 3.4 sends a URL as its authority, which they would answer with PROTOCOL_ERROR.
        if role == .server { nghttp2_option_set_no_http_messaging(option, 1) }
        if !limits.opensStreamWindows { nghttp2_option_set_no_auto_window_update(option, 1) }

        var session: OpaquePointer?
        let userData = Unmanaged.passUnretained(connection).toOpaque()
        let made =
            switch role {
            case .server: nghttp2_session_server_new2(&session, callbacks, userData, option)
            case .client: nghttp2_session_client_new2(&session, callbacks, userData, option)
            }
        guard made == 0, let session else { throw Failure.library(made) }
        let constants = ConstantHeaders()
        self.constants = .passRetained(constants)
        responseHead = (constants.responseHead.fields, constants.responseHead.count)
        okTrailers = (constants.okTrailers.fields, constants.okTrailers.count)
        pointer = session
        do {
            try submitSettings(role: role, limits: limits)
        } catch {
            free()
            throw error
        }
    }

    /// Frees the session. It must not be used afterwards.
    func free() {
        nghttp2_session_del(pointer)
        constants.release()
    }

    private func submitSettings(role: Role, limits: Limits) throws {
        var settings = [
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, UInt32(limits.streamWindowBytes)),
            (NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, UInt32(clamping: limits.maxHeaderListBytes)),
        ]
        switch role {
        case .server:
            settings.append((NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.maxConcurrentStreams))
            settings.append((NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1))
        case .client:
            settings.append((NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
        }
        let entries = settings.map { nghttp2_settings_entry(settings_id: Int32($0.0.rawValue), value: $0.1) }
        let submitted = nghttp2_submit_settings(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), entries, entries.count)
        guard submitted == 0 else { throw Failure.library(submitted) }
        let widened = nghttp2_session_set_local_window_size(pointer, 0, 0, limits.connectionWindowBytes)
        guard widened == 0 else { throw Failure.library(widened) }
    }

    // MARK: Bytes

    /// Feeds what the socket brought. A thrown failure ends the connection.
    func receive(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        let taken = nghttp2_session_mem_recv(
            pointer, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
        guard taken >= 0 else { throw .library(Int32(taken)) }
    }

    /// The next bytes for the socket, valid until the next call into the session; nil when there are none.
    func nextOutput() throws(Failure) -> UnsafeRawBufferPointer? {
        var data: UnsafePointer<UInt8>?
        let count = nghttp2_session_mem_send(pointer, &data)
        guard count >= 0 else { throw .library(Int32(count)) }
        return count == 0 ? nil : UnsafeRawBufferPointer(start: data, count: count)
    }

    var wantsWrite: Bool { nghttp2_session_want_write(pointer) != 0 }

    /// Whether the session is over: a GOAWAY was exchanged, no stream is left, nothing is to be sent.
    var isFinished: Bool { nghttp2_session_want_read(pointer) == 0 && nghttp2_session_want_write(pointer) == 0 }

    // MARK: Streams

    func attach(_ stream: HTTP2Stream) {
        nghttp2_session_set_stream_user_data(pointer, stream.id, Unmanaged.passUnretained(stream).toOpaque())
    }

    func stream(_ id: Int32) -> HTTP2Stream? {
        nghttp2_session_get_stream_user_data(pointer, id).map {
            Unmanaged<HTTP2Stream>.fromOpaque($0).takeUnretainedValue()
        }
    }

    /// Sends the head of an answer; its body is pulled from `stream.outgoing`.
    func submitResponse(_ stream: HTTP2Stream) {
        var source = dataSource(of: stream)
        nghttp2_submit_response(pointer, stream.id, responseHead.fields, responseHead.count, &source)
    }

    /// Sends an answer that has no body.
    func submitResponse(_ id: Int32, headersOnly headers: [(String, [UInt8])]) {
        let list = HeaderList(headers)
        withExtendedLifetime(list) {
            _ = nghttp2_submit_response(pointer, id, list.fields, list.count, nil)
        }
    }

    /// Opens a stream whose object `make` gives, with a body pulled from its `outgoing`; nil when the
    /// peer does not allow another or ids have run out.
    func submitRequest<Stream: HTTP2Stream>(
        _ headers: [(String, [UInt8])], make: (Int32) -> Stream
    ) -> Stream? {
        let id = Int32(bitPattern: nghttp2_session_get_next_stream_id(pointer))
        guard id > 0, nghttp2_session_check_request_allowed(pointer) != 0 else { return nil }
        let stream = make(id)
        let list = HeaderList(headers)
        return withExtendedLifetime(list) {
            var source = dataSource(of: stream)
            let submitted = nghttp2_submit_request(
                pointer, nil, list.fields, list.count, &source, Unmanaged.passUnretained(stream).toOpaque())
            return submitted == id ? stream : nil
        }
    }

    /// Says that `stream.outgoing` has something again after it had nothing.
    func resumeOutput(of stream: HTTP2Stream) { nghttp2_session_resume_data(pointer, stream.id) }

    func reset(_ id: Int32, code: UInt32) {
        nghttp2_submit_rst_stream(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, code)
    }

    /// Opens the stream's window again by `bytes` that were taken from it.
    func consumeStream(_ id: Int32, bytes: Int) { nghttp2_session_consume_stream(pointer, id, bytes) }

    /// Opens the connection's window again by `bytes` that were taken from it.
    func consumeConnection(bytes: Int) { nghttp2_session_consume_connection(pointer, bytes) }

    // MARK: The connection's end

    /// Announces that the connection will end, while streams already on their way are still accepted.
    func submitShutdownNotice() { nghttp2_submit_shutdown_notice(pointer) }

    func submitPing() { nghttp2_submit_ping(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil) }

    /// Refuses new streams; those begun run on.
    func submitGoAway() {
        let last = nghttp2_session_get_last_proc_stream_id(pointer)
        nghttp2_submit_goaway(
            pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, NGHTTP2_NO_ERROR.rawValue, nil, 0)
    }

    /// Sends GOAWAY with an error and nothing after it.
    func terminate(code: UInt32) { nghttp2_session_terminate_session(pointer, code) }

    static let noError = NGHTTP2_NO_ERROR.rawValue
    static let internalError = NGHTTP2_INTERNAL_ERROR.rawValue
    static let refusedStream = NGHTTP2_REFUSED_STREAM.rawValue
    static let cancel = NGHTTP2_CANCEL.rawValue
    static let enhanceYourCalm = NGHTTP2_ENHANCE_YOUR_CALM.rawValue
    static let inadequateSecurity = NGHTTP2_INADEQUATE_SECURITY.rawValue

    static func describe(code: UInt32) -> String { String(cString: nghttp2_http2_strerror(code)) }

    // MARK: Callbacks

    private func dataSource(of stream: HTTP2Stream) -> nghttp2_data_provider {
        var provider = nghttp2_data_provider()
        provider.source.ptr = Unmanaged.passUnretained(stream).toOpaque()
        provider.read_callback = { _, id, destination, capacity, flags, source, userData in
            guard let destination, let flags, let owner = source?.pointee.ptr else {
                return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
            }
            let room = UnsafeMutableRawBufferPointer(start: destination, count: capacity)
            let pulled = Unmanaged<HTTP2Stream>.fromOpaque(owner)._withUnsafeGuaranteedRef { $0.pullOutput(into: room) }
            var count = 0
            switch pulled {
            case .bytes(let bytes):
                count = bytes
            case .nothing:
                return Int(NGHTTP2_ERR_DEFERRED.rawValue)
            case .lastBytes(let bytes, .halfClose):
                count = bytes
                flags.pointee = NGHTTP2_DATA_FLAG_EOF.rawValue
            case .lastBytes(let bytes, .trailers(let status)):
                count = bytes
                flags.pointee = NGHTTP2_DATA_FLAG_EOF.rawValue | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                _ = report(to: userData) { connection in
                    connection.session?.submitTrailers(id, status)
                    return 0
                }
            }
            _ = report(to: userData) { connection in
                connection.unsentBytes -= count
                return 0
            }
            return count
        }
        return provider
    }

    fileprivate func submitTrailers(_ id: Int32, _ status: GRPCStatus) {
        if status.code == .ok && status.message.isEmpty {
            nghttp2_submit_trailer(pointer, id, okTrailers.fields, okTrailers.count)
        } else {
            let list = HeaderList(status.headers)
            withExtendedLifetime(list) { _ = nghttp2_submit_trailer(pointer, id, list.fields, list.count) }
        }
    }

    private static func install(in callbacks: OpaquePointer) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, userData in
            report(to: userData) { connection in
                guard let frame else { return callbackFailure }
                let opensStream = frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST
                let accepted = connection.headersBegan(frame.pointee.hd.stream_id, opensStream: opensStream)
                return accepted ? 0 : streamFailure
            }
        }
        nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, frame, name, nameCount, value, valueCount, _, userData in
            report(to: userData) { connection in
                guard let frame else { return callbackFailure }
                connection.headerReceived(
                    frame.pointee.hd.stream_id,
                    name: UnsafeRawBufferPointer(start: name, count: nameCount),
                    value: UnsafeRawBufferPointer(start: value, count: valueCount))
                return 0
            }
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, userData in
            report(to: userData) { connection in
                guard let frame else { return callbackFailure }
                frameReceived(frame, connection)
                return 0
            }
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, id, data, count, userData in
            report(to: userData) { connection in
                connection.dataReceived(id, UnsafeRawBufferPointer(start: data, count: count))
                return 0
            }
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, id, code, userData in
            report(to: userData) { connection in
                connection.streamClosed(id, code: code)
                return 0
            }
        }
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, userData in
            report(to: userData) { connection in
                guard let frame else { return callbackFailure }
                let head = frame.pointee.hd
                if head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
                    && UInt32(head.type) == NGHTTP2_HEADERS.rawValue
                {
                    connection.trailersSent(head.stream_id)
                }
                return 0
            }
        }
    }
}

private func frameReceived(_ frame: UnsafePointer<nghttp2_frame>, _ connection: HTTP2Connection) {
    let head = frame.pointee.hd
    let endsStream = head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    let isAcknowledgement = head.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
    switch UInt32(head.type) {
    case NGHTTP2_DATA.rawValue:
        if endsStream { connection.bodyEnded(head.stream_id) }
    case NGHTTP2_HEADERS.rawValue:
        connection.headersEnded(head.stream_id, endsStream: endsStream)
    case NGHTTP2_SETTINGS.rawValue:
        if !isAcknowledgement { connection.settingsReceived() }
    case NGHTTP2_GOAWAY.rawValue:
        connection.goAwayReceived(code: frame.pointee.goaway.error_code)
    case NGHTTP2_PING.rawValue:
        if isAcknowledgement { connection.pingAnswered() }
    default: break
    }
}

/// A callback's answers that end the session and the stream.
private let callbackFailure = NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
private let streamFailure = NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue

/// The connection lives as long as its session and is not retained for each report.
@inline(__always)
private func report(
    to userData: UnsafeMutableRawPointer?, _ body: (HTTP2Connection) -> CInt
) -> CInt {
    guard let userData else { return callbackFailure }
    return Unmanaged<HTTP2Connection>.fromOpaque(userData)._withUnsafeGuaranteedRef(body)
}

/// The fields that nearly every answer has, prepared once and not copied by nghttp2.
private final class ConstantHeaders {
    let responseHead = HeaderList(
        [(":status", "200"), ("content-type", "application/grpc")], outlivesSession: true)
    let okTrailers = HeaderList([("grpc-status", "0")], outlivesSession: true)
}

/// Header fields in nghttp2's form, with the memory they point to.
private final class HeaderList {
    let fields: UnsafeMutablePointer<nghttp2_nv>
    let count: Int
    private let text: UnsafeMutablePointer<UInt8>

    /// A list that outlives the session is not copied by nghttp2.
    init(_ headers: [(String, [UInt8])], outlivesSession: Bool = false) {
        count = headers.count
        fields = .allocate(capacity: count)
        text = .allocate(capacity: max(1, headers.reduce(0) { $0 + $1.0.utf8.count + $1.1.count }))
        let flags =
            outlivesSession
            ? NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue : 0
        var next = text
        for (index, header) in headers.enumerated() {
            let name = next
            for byte in header.0.utf8 {
                next.initialize(to: byte)
                next += 1
            }
            let value = next
            for byte in header.1 {
                next.initialize(to: byte)
                next += 1
            }
            (fields + index).initialize(
                to: nghttp2_nv(
                    name: name, value: value, namelen: header.0.utf8.count, valuelen: header.1.count,
                    flags: UInt8(flags)))
        }
    }

    convenience init(_ headers: [(String, String)], outlivesSession: Bool) {
        self.init(headers.map { ($0.0, Array($0.1.utf8)) }, outlivesSession: outlivesSession)
    }

    deinit {
        fields.deallocate()
        text.deallocate()
    }
}

extension GRPCStatus {
    /// The status as trailer fields.
    var headers: [(String, [UInt8])] {
        var fields = [("grpc-status", Array(String(code.rawValue).utf8))]
        if !message.isEmpty { fields.append(("grpc-message", PercentEncoding.encode(message))) }
        return fields
    }
}
