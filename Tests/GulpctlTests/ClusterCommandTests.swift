import EtcdAPI
import Foundation
import GRPC
import Testing

@testable import GulpctlCommands

/// Expected texts are what etcdctl 3.5.1 printed for the same answers.
struct ClusterCommandTests {
    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private let members = Etcdserverpb_MemberListResponse.with {
        $0.header.clusterID = 0x482_76a8_f75b_6a87
        $0.header.memberID = 0x2e12_59d4_15f2_a040
        $0.header.raftTerm = 12
        $0.members = [
            .with {
                $0.id = 0x2e12_59d4_15f2_a040
                $0.name = "m1"
                $0.peerUrls = ["http://127.0.0.1:23800"]
                $0.clientUrls = ["http://127.0.0.1:23790"]
            }
        ]
    }

    @Test func aTableHasItsTitlesInTheMiddleAndItsCellsAtTheRight() {
        #expect(
            text(TableFormat().bytes(members)) == """
                +------------------+---------+------+------------------------+------------------------+------------+
                |        ID        | STATUS  | NAME |       PEER ADDRS       |      CLIENT ADDRS      | IS LEARNER |
                +------------------+---------+------+------------------------+------------------------+------------+
                | 2e1259d415f2a040 | started |   m1 | http://127.0.0.1:23800 | http://127.0.0.1:23790 |      false |
                +------------------+---------+------+------------------------+------------------------+------------+

                """)
        #expect(
            text(TableFormat().bytes([EndpointHash]())) == """
                +----------+------+
                | ENDPOINT | HASH |
                +----------+------+
                +----------+------+

                """)
    }

    @Test func hexadecimalJSONOfTheMembersIsEtcdctlsOwn() {
        #expect(
            text(JSONFormat(isHex: true).bytes(members))
                == #"{"header":{"cluster_id":"48276a8f75b6a87","member_id":"2e1259d415f2a040","raft_term":c},"members":[{"ID":"2e1259d415f2a040","name":"m1","peerURLs":["http://127.0.0.1:23800"],"clientURLS":["http://127.0.0.1:23790"]}]}"#
                + "\n")
    }

    @Test(
        arguments: [
            (0, "0 B"), (9, "9 B"), (10, "10 B"), (999, "999 B"), (1000, "1.0 kB"), (9_949, "9.9 kB"), (9_950, "10 kB"),
            (20_480, "20 kB"), (999_500, "1000 kB"), (1_234_567, "1.2 MB"), (Int64.max, "9.2 EB"),
        ] as [(Int64, String)])
    func sizesAreShownInPowersOfAThousand(bytes: Int64, shown: String) {
        let status = EndpointStatus(endpoint: "e", response: .with { $0.dbSize = bytes })
        #expect(text(SimpleFormat().bytes([status])) == "e, 0, , \(shown), true, false, 0, 0, 0, \n")
    }

    @Test(
        arguments: [(0x7b, "000000000000007b"), (-0x7b, "-00000000000007b"), (Int64.max, "7fffffffffffffff")]
            as [(Int64, String)])
    func aLeasesIdHasSixteenPlaces(lease: Int64, shown: String) {
        #expect(LeaseFormats.id(lease) == shown)
    }

    @Test func aLeasesKeysAreShownAsTheyAre() {
        let response = Etcdserverpb_LeaseTimeToLiveResponse.with {
            $0.id = 0x7b
            $0.ttl = 9
            $0.grantedTtl = 10
            $0.keys = [Data("a".utf8), Data([0xff])]
        }
        let line = Array("lease 000000000000007b granted with TTL(10s), remaining(9s)".utf8)
        #expect(SimpleFormat().bytes(response, showsKeys: false) == line + Array("\n".utf8))
        #expect(
            SimpleFormat().bytes(response, showsKeys: true)
                == line + Array(", attached keys([a ".utf8) + [0xff] + Array("])\n".utf8))
        #expect(
            text(JSONFormat().bytes(response, showsKeys: true))
                == #"{"id":123,"ttl":9,"granted-ttl":10,"keys":["YQ==","/w=="]}"# + "\n")
    }

    @Test func textInJSONIsEscapedAsGoDoesIt() {
        #expect(JSONObject.quote("a\"\\\n\u{1}<&>é\u{2028}") == #""a\"\\\n\u0001\u003c\u0026\u003eé\u2028""#)
    }

    @Test func aLeaseThatIsGoneEndsTheRenewing() async {
        let connection = PreparedConnection()
        let gone = await gulpctl("lease", "keep-alive", "7b", connection: connection)
        #expect(gone.status == 0 && gone.output == "lease 000000000000007b expired or revoked.\n")
        let once = await gulpctl("lease", "keep-alive", "--once", "7b", connection: connection)
        #expect(once.status == 2 && once.errors == "Error: etcdserver: requested lease not found\n")
    }

    @Test func oneUnhealthyEndpointMakesTheStatusOne() async {
        let down = PreparedConnection(error: RPCError(.deadlineExceeded, ""))
        let result = await gulpctl("endpoint", "health", "--endpoints", "a:1", connection: down)
        #expect(result.status == 1 && result.output == "")
        #expect(
            result.errors == """
                a:1 is unhealthy: failed to commit proposal: context deadline exceeded
                Error: unhealthy cluster

                """)
        var alarmed = PreparedConnection()
        alarmed.answers = [Etcdserverpb_AlarmResponse.with { $0.alarms = [.with { $0.alarm = .nospace }] }]
        let alarm = await gulpctl("endpoint", "health", "--endpoints", "a:1", connection: alarmed)
        #expect(alarm.errors.hasPrefix("a:1 is unhealthy: failed to commit proposal: Active Alarm(s): NOSPACE \n"))
    }

    @Test func aGroupsFlagsMayStandBeforeItsCommand() async {
        var connection = PreparedConnection()
        connection.answers = [members]
        let result = await gulpctl("endpoint", "--cluster", "hashkv", connection: connection)
        #expect(result.output == "http://127.0.0.1:23790, 0\n")
    }

    @Test(arguments: [
        ["lease"], ["lease", "foo"], ["help", "lease"], ["--hex", "help", "lease"], ["lease", "--help"],
    ])
    func aGroupWithoutACommandListsThem(arguments: [String]) async {
        let console = RecordingConsole()
        let bytes = arguments.map { Array($0.utf8) }
        #expect(await Gulpctl.run(bytes, [:], console) { _, _ in PreparedConnection() } == 0)
        #expect(console.output.contains("Usage: gulpctl lease COMMAND") && console.output.contains("lease timetolive"))
    }
}
