import EtcdAPI
import Foundation
import Testing

@testable import GulpctlCommands

/// Expected texts are what etcdctl 3.5.1 printed for the same answers.
struct FormatTests {
    static let header = Etcdserverpb_ResponseHeader.with {
        $0.clusterID = 10_144_879_847_569_953_045
        $0.memberID = 12_428_976_124_636_271_536
        $0.revision = 12
        $0.raftTerm = 2
    }
    static let headerJSON =
        #"{"cluster_id":10144879847569953045,"member_id":12428976124636271536,"revision":12,"raft_term":2}"#
    static let headerFields = """
        "ClusterID" : 10144879847569953045
        "MemberID" : 12428976124636271536
        "Revision" : 12
        "RaftTerm" : 2

        """

    static func kv(_ key: String, _ value: String, version: Int64 = 1, lease: Int64 = 0) -> Mvccpb_KeyValue {
        .with {
            $0.key = Data(key.utf8)
            $0.value = Data(value.utf8)
            $0.createRevision = 11
            $0.modRevision = 10 + version
            $0.version = version
            $0.lease = lease
        }
    }

    let found = Etcdserverpb_RangeResponse.with {
        $0.header = header
        $0.kvs = [kv("a", "v1\nv2", version: 2), kv("b", "")]
        $0.more = true
        $0.count = 5
    }
    let nothing = Etcdserverpb_RangeResponse.with { $0.header = header }
    let put = Etcdserverpb_PutResponse.with {
        $0.header = header
        $0.prevKv = kv("a", "1")
    }
    let deleted = Etcdserverpb_DeleteRangeResponse.with {
        $0.header = header
        $0.deleted = 1
        $0.prevKvs = [kv("a", "2", version: 2)]
    }
    let watched = Etcdserverpb_WatchResponse.with {
        $0.header = header
        $0.watchID = 7
        $0.events = [
            .with { $0.kv = kv("w2", "x y", lease: 1_418_812_070_812_045_397) },
            .with {
                $0.type = .delete
                $0.kv.key = Data("w".utf8)
                $0.kv.modRevision = 29
                $0.prevKv = kv("w", "2")
            },
        ]
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test func simpleShowsKeysAndValuesOnLinesOfTheirOwn() {
        #expect(text(SimpleFormat().bytes(found)) == "a\nv1\nv2\nb\n\n")
        #expect(text(SimpleFormat(showsValuesOnly: true).bytes(found)) == "v1\nv2\n\n")
        #expect(text(SimpleFormat().bytes(nothing)) == "")
        #expect(text(SimpleFormat().bytes(put)) == "OK\na\n1\n")
        #expect(text(SimpleFormat().bytes(Etcdserverpb_PutResponse())) == "OK\n")
        #expect(text(SimpleFormat().bytes(deleted)) == "1\na\n2\n")
        #expect(text(SimpleFormat().bytes(watched)) == "PUT\nw2\nx y\nDELETE\nw\n2\nw\n\n")
    }

    @Test func hexShowsEveryByteOfKeysAndValues() {
        #expect(text(SimpleFormat(isHex: true).bytes(put)) == "OK\n\\x61\n\\x31\n")
        let value = SimpleFormat(isHex: true, showsValuesOnly: true).bytes(found)
        #expect(text(value) == "\\x76\\x31\\x0a\\x76\\x32\n\n")
    }

    @Test func jsonIsGoJSONOfTheMessages() {
        let format = JSONFormat()
        let header = Self.headerJSON
        #expect(
            text(format.bytes(found))
                == #"{"header":\#(header),"kvs":[{"key":"YQ==","create_revision":11,"mod_revision":12,"version":2,"value":"djEKdjI="},{"key":"Yg==","create_revision":11,"mod_revision":11,"version":1}],"more":true,"count":5}"#
                + "\n")
        #expect(text(format.bytes(nothing)) == #"{"header":\#(header)}"# + "\n")
        #expect(
            text(format.bytes(put))
                == #"{"header":\#(header),"prev_kv":{"key":"YQ==","create_revision":11,"mod_revision":11,"version":1,"value":"MQ=="}}"#
                + "\n")
        #expect(
            text(format.bytes(deleted))
                == #"{"header":\#(header),"deleted":1,"prev_kvs":[{"key":"YQ==","create_revision":11,"mod_revision":12,"version":2,"value":"Mg=="}]}"#
                + "\n")
        #expect(
            text(format.bytes(watched))
                == #"{"Header":\#(header),"Events":[{"kv":{"key":"dzI=","create_revision":11,"mod_revision":11,"version":1,"value":"eCB5","lease":1418812070812045397}},{"type":1,"kv":{"key":"dw==","mod_revision":29},"prev_kv":{"key":"dw==","create_revision":11,"mod_revision":11,"version":1,"value":"Mg=="}}],"CompactRevision":0,"Canceled":false,"Created":false}"#
                + "\n")
    }

    @Test func jsonOfAWatchsEndTellsWhoEndedIt() {
        var compacted = Etcdserverpb_WatchResponse()
        compacted.header.clusterID = 5
        compacted.compactRevision = 3
        compacted.canceled = true
        #expect(
            text(JSONFormat().bytes(compacted))
                == #"{"Header":{"cluster_id":5},"Events":[],"CompactRevision":3,"Canceled":true,"Created":false}"#
                + "\n")
        #expect(
            text(JSONFormat().bytes(WatchNotice(closedBecause: "any").response))
                == #"{"Header":{},"Events":null,"CompactRevision":0,"Canceled":true,"Created":false}"# + "\n")
    }

    @Test func fieldsShowsEveryFieldWithItsName() {
        let header = Self.headerFields
        let prev = """
            "PrevKey" : "a"
            "PrevCreateRevision" : 11
            "PrevModRevision" : 11
            "PrevVersion" : 1
            "PrevValue" : "1"
            "PrevLease" : 0

            """
        #expect(text(FieldsFormat().bytes(nothing)) == header + "\"More\" : false\n\"Count\" : 0\n")
        #expect(text(FieldsFormat().bytes(put)) == header + prev)
        #expect(text(FieldsFormat().bytes(deleted)).hasPrefix(header + "\"Deleted\" : 1\n\"PrevKey\" : \"a\"\n"))
        let events = """
            "Type" : PUT
            "Key" : "w2"
            "CreateRevision" : 11
            "ModRevision" : 11
            "Version" : 1
            "Value" : "x y"
            "Lease" : 1418812070812045397
            "Type" : DELETE
            "PrevKey" : "w"
            """
        #expect(text(FieldsFormat().bytes(watched)).hasPrefix(header + events))
        #expect(
            text(FieldsFormat().bytes(found)).hasPrefix(
                header
                    + #"""
                    "Key" : "a"
                    "CreateRevision" : 11
                    "ModRevision" : 12
                    "Version" : 2
                    "Value" : "v1\nv2"
                    "Lease" : 0

                    """#))
    }

    @Test func protobufIsTheMessageAndOfAWatchOnlyWhatIsShown() throws {
        #expect(try ProtobufFormat().bytes(put) == put.serializedBytes())
        var shown = watched
        shown.watchID = 0
        #expect(try ProtobufFormat().bytes(watched) == shown.serializedBytes())
        // An ended watch's answer: an empty header, and canceled.
        #expect(try ProtobufFormat().bytes(WatchNotice(closedBecause: "any").response) == [0x0a, 0x00, 0x20, 0x01])
    }

    @Test func tableIsRefused() {
        #expect(throws: CommandFailure("table not supported as output format", .badFeature)) {
            try TableFormat().bytes(found)
        }
    }

    @Test(
        arguments: [
            (Array("\u{1}\u{2}\u{7}\u{8}\u{c}\u{b}\r\t\\\"'`".utf8), #""\x01\x02\a\b\f\v\r\t\\\"'`""#),
            ([0x7f], #""\u007f""#), ([0xff, 0xfe, 0x80, 0x61, 0xc3], #""\xff\xfe\x80a\xc3""#),
            (
                Array("é 日本 \u{a0}\u{200b}\u{2028}🎉\u{e0001}\u{e000}\u{378}\u{ad}".utf8),
                #""é 日本 \u00a0\u200b\u2028🎉\U000e0001\ue000\u0378\u00ad""#
            ),
            ([0xed, 0xa0, 0x80], #""\xed\xa0\x80""#), ([0xef, 0xbf, 0xbd], "\"\u{fffd}\""),
            ([0xf4, 0x90, 0x80, 0x80], #""\xf4\x90\x80\x80""#), ([0xe2, 0x82], #""\xe2\x82""#),
            ([0xc0, 0x80], #""\xc0\x80""#), ([], #""""#),
        ] as [([UInt8], String)])
    func bytesAreQuotedAsGoQuotesThem(bytes: [UInt8], quoted: String) {
        #expect(QuotedBytes.quote(bytes) == quoted)
    }
}
