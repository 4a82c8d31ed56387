import Glibc
import NIOCore

/// A request's header fields, taken in one by one, and what they amount to. A connection has one for all
/// its requests, since header blocks never interleave (RFC 9113, 4.3).
final class RequestHead {
    enum Verdict: Equatable {
        case call(method: Int, timeout: TimeAmount?)
        /// The call is refused with this HTTP status and these trailers.
        case refused(httpStatus: Int, GRPCStatus)
    }

    private let methods: MethodTable
    private let maxListBytes: Int
    /// The fields that are the application's.
    @exclusivity(unchecked) private var metadata = Metadata()
    private var listBytes = 0
    private var method: Int?
    private var refusal: GRPCStatus?
    private var isPost = false
    private var contentType = ContentType.missing
    private var timeout: TimeAmount?

    private enum ContentType: Equatable {
        case missing, grpc
        case other(String)
    }

    init(methods: MethodTable, maxListBytes: Int) {
        self.methods = methods
        self.maxListBytes = maxListBytes
    }

    /// Forgets the request before.
    func begin() {
        metadata = Metadata()
        listBytes = 0
        method = nil
        refusal = nil
        isPost = false
        contentType = .missing
        timeout = nil
    }

    /// The metadata of the request, which is then over for this object.
    func takeMetadata() -> Metadata {
        defer { metadata = Metadata() }
        return metadata
    }

    func add(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        listBytes += name.count + value.count + 32
        guard listBytes <= maxListBytes else { return }
        guard let first = name.first else { return }
        switch (first, name.count) {
        case (UInt8(ascii: ":"), 5) where name.equals(":path"):
            method = methods.index(ofPath: value)
            if method == nil { refuse(methods.refusal(ofPath: String(decoding: value, as: UTF8.self))) }
        case (UInt8(ascii: ":"), 7) where name.equals(":method"):
            isPost = value.equals("POST")
        case (UInt8(ascii: ":"), _):
            break
        case (UInt8(ascii: "c"), 12) where name.equals("content-type"):
            contentType = Self.isGRPC(value) ? .grpc : .other(String(decoding: value, as: UTF8.self))
        case (UInt8(ascii: "t"), 2) where name.equals("te"),
            (UInt8(ascii: "u"), 10) where name.equals("user-agent"),
            (UInt8(ascii: "c"), 14) where name.equals("content-length"):
            break
        case (UInt8(ascii: "g"), 12) where name.equals("grpc-timeout"):
            timeout = RPCTimeout.decode(value)
            if timeout == nil { refuse(.internal, "malformed grpc-timeout") }
        case (UInt8(ascii: "g"), 13) where name.equals("grpc-encoding"):
            guard !value.equals("identity"), !value.isEmpty else { break }
            let encoding = String(decoding: value, as: UTF8.self)
            refuse(.unimplemented, "grpc: Decompressor is not installed for grpc-encoding \"\(encoding)\"")
        case (UInt8(ascii: "g"), 20) where name.equals("grpc-accept-encoding"):
            break
        default:
            metadata.append(name: name, value: value)
        }
    }

    /// What the complete head asks for. The order of the checks is grpc-go's.
    func verdict() -> Verdict {
        guard listBytes <= maxListBytes else {
            let status = GRPCStatus(.resourceExhausted, "header list size exceeds \(maxListBytes) bytes")
            return .refused(httpStatus: 200, status)
        }
        switch contentType {
        case .grpc: break
        case .missing: return .refused(httpStatus: 415, Self.badContentType(""))
        case .other(let type): return .refused(httpStatus: 415, Self.badContentType(type))
        }
        guard isPost else {
            return .refused(httpStatus: 405, GRPCStatus(.internal, "a gRPC request's method must be POST"))
        }
        if let refusal { return .refused(httpStatus: 200, refusal) }
        guard let method else {
            return .refused(httpStatus: 200, GRPCStatus(.unimplemented, "malformed method name: \"\""))
        }
        return .call(method: method, timeout: timeout)
    }

    private func refuse(_ code: GRPCStatus.Code, _ message: String) { refuse(GRPCStatus(code, message)) }

    private func refuse(_ status: GRPCStatus) {
        // The first complaint stands.
        if refusal == nil { refusal = status }
    }

    private static func badContentType(_ type: String) -> GRPCStatus {
        GRPCStatus(.invalidArgument, "invalid gRPC request content-type \"\(type)\"")
    }

    /// `application/grpc`, alone or followed by `+` or `;`.
    private static func isGRPC(_ value: UnsafeRawBufferPointer) -> Bool {
        let prefix: StaticString = "application/grpc"
        guard value.count >= prefix.utf8CodeUnitCount,
            UnsafeRawBufferPointer(rebasing: value[..<prefix.utf8CodeUnitCount]).equals(prefix)
        else { return false }
        guard value.count > prefix.utf8CodeUnitCount else { return true }
        let next = value[prefix.utf8CodeUnitCount]
        return next == UInt8(ascii: "+") || next == UInt8(ascii: ";")
    }
}

/// Name and value pairs in one block of memory, searched in order.
struct Metadata {
    private var bytes: [UInt8] = []

    mutating func append(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        append(length: name.count)
        append(length: value.count)
        bytes.append(contentsOf: name)
        bytes.append(contentsOf: value)
    }

    /// The value of the first field of this (lower-case) name.
    func first(_ name: String) -> String? {
        var index = 0
        while index + 8 <= bytes.count {
            let nameStart = index + 8
            let valueStart = nameStart + length(at: index)
            let end = valueStart + length(at: index + 4)
            if bytes[nameStart..<valueStart].elementsEqual(name.utf8) {
                return String(decoding: bytes[valueStart..<end], as: UTF8.self)
            }
            index = end
        }
        return nil
    }

    private mutating func append(length: Int) {
        for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: length >> shift)) }
    }

    private func length(at index: Int) -> Int { bytes[index..<index + 4].reduce(0) { $0 << 8 | Int($1) } }
}

extension UnsafeRawBufferPointer {
    func equals(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount, let baseAddress else { return false }
        return memcmp(baseAddress, text.utf8Start, count) == 0
    }
}
