import NIOCore
import Raft

/// What a member knows of its cluster, told to one that does not know it yet.
public struct ClusterReport: Sendable, Equatable {
    public struct Member: Sendable, Equatable {
        public var id: MemberID
        /// Empty until the member has started for the first time.
        public var name: String
        public var peerURLs: [String]
        public var clientURLs: [String]
        public var isLearner: Bool
        /// Whether the member has ever made itself known to the cluster. One that has must not found it again.
        public var hasStarted: Bool

        public init(
            id: MemberID, name: String, peerURLs: [String], clientURLs: [String], isLearner: Bool = false,
            hasStarted: Bool
        ) {
            self.id = id
            self.name = name
            self.peerURLs = peerURLs
            self.clientURLs = clientURLs
            self.isLearner = isLearner
            self.hasStarted = hasStarted
        }
    }

    public var clusterID: UInt64
    public var members: [Member]

    public init(clusterID: UInt64, members: [Member]) {
        self.clusterID = clusterID
        self.members = members
    }

    private static let format: UInt8 = 1

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(Self.format)
        buffer.writeInteger(clusterID)
        buffer.writeInteger(UInt32(members.count))
        for member in members {
            buffer.writeInteger(member.id.rawValue)
            buffer.writeCounted(member.name)
            for urls in [member.peerURLs, member.clientURLs] {
                buffer.writeInteger(UInt32(urls.count))
                for url in urls { buffer.writeCounted(url) }
            }
            buffer.writeMultipleIntegers(UInt8(member.isLearner ? 1 : 0), UInt8(member.hasStarted ? 1 : 0))
        }
    }

    init(decoding bytes: ByteBuffer) throws(WireError) {
        var reader = WireReader(bytes)
        func urls(_ field: StaticString) throws(WireError) -> [String] {
            var urls: [String] = []
            for _ in 0..<(try reader.count(field, minimumBytes: 4)) { urls.append(try reader.text(field)) }
            return urls
        }
        let format: UInt8 = try reader.integer("report format")
        guard format == Self.format else { throw WireError("a report of unknown format \(format)") }
        self.init(clusterID: try reader.integer("cluster id"), members: [])
        for _ in 0..<(try reader.count("members", minimumBytes: 22)) {
            members.append(
                Member(
                    id: MemberID(try reader.integer("member id")), name: try reader.text("member name"),
                    peerURLs: try urls("peer URLs"), clientURLs: try urls("client URLs"),
                    isLearner: try reader.boolean("learner"), hasStarted: try reader.boolean("started")))
        }
        try reader.expectEnd()
    }
}
