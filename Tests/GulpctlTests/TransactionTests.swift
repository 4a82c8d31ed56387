import EtcdAPI
import Foundation
import Testing

@testable import GulpctlCommands

struct TransactionTests {
    @Test(
        arguments: [
            (#"val("k") = "v""#, .value, .equal, .value(Data("v".utf8))),
            (#"value(`a"b`)  !=  "\x76\u00e9\101\n" and more"#, .value, .notEqual, .value(Data("v\u{e9}A\n".utf8))),
            (#"ver("k") < "-3""#, .version, .less, .version(-3)),
            (#"c("k") > "4""#, .create, .greater, .createRevision(4)),
            (#"mod("k") = "0""#, .mod, .equal, .modRevision(0)),
            (#"lease("k") = "7f""#, .lease, .equal, .lease(0x7f)),
        ]
            as [(
                String, Etcdserverpb_Compare.CompareTarget, Etcdserverpb_Compare.CompareResult,
                Etcdserverpb_Compare.OneOf_TargetUnion
            )])
    func aComparisonIsRead(
        line: String, target: Etcdserverpb_Compare.CompareTarget, result: Etcdserverpb_Compare.CompareResult,
        operand: Etcdserverpb_Compare.OneOf_TargetUnion
    ) throws {
        let compare = try TransactionComparison.read(line)
        #expect(compare.target == target && compare.result == result && compare.targetUnion == operand)
        #expect(compare.key == Data((line.contains("`") ? "a\"b" : "k").utf8))
    }

    @Test(
        arguments: [
            ("bogus", "malformed comparison: bogus"),
            (#"val("k") ="#, #"malformed comparison: val("k") =; got val("k") = """#),
            (#"val("k")="v""#, #"malformed comparison: val("k")="v"; got val("k")  """#),
            (#"val("k\q") = "v""#, #"malformed comparison: val("k\q") = "v"; got val("")  """#),
            (#"val("\xf") = "v""#, #"malformed comparison: val("\xf") = "v"; got val("")  """#),
            (#"val("\400") = "v""#, #"malformed comparison: val("\400") = "v"; got val("")  """#),
            (#"x("k") = "v""#, #"malformed comparison: x("k") = "v" (unknown target x)"#),
            (#"mod("k") = "v""#, #"invalid txn compare request: mod("k") = "v""#),
            (#"val("k") ~ "v""#, #"malformed comparison: val("k") ~ "v" (unknown operator ~)"#),
        ])
    func aComparisonThatCannotBeReadIsRepeated(line: String, text: String) {
        #expect(throws: CommandFailure(text, .invalidInput)) { try TransactionComparison.read(line) }
    }

    @Test func aRequestIsACommandWithItsFlags() throws {
        guard case .requestRange(let range) = try TransactionCommand.operation("ge a --prefix --limit=2").request else {
            Issue.record("no range")
            return
        }
        #expect(range.rangeEnd == Data("b".utf8) && range.limit == 2)
        #expect(throws: CommandFailure("invalid txn request: get a -w json", .invalidInput)) {
            try TransactionCommand.operation("get a -w json")
        }
        #expect(throws: CommandFailure("invalid txn compare request: get", .invalidInput)) {
            try TransactionCommand.operation("get")
        }
    }

    @Test func theThreeListsMakeOneRequest() async throws {
        let connection = PreparedConnection()
        let console = RecordingConsole(input: "val(\"k\") = \"v\"\n\nput a 1\nget b\n\ndel c\n\n")
        let result = await gulpctl("txn", "-i", console: console, connection: connection)
        #expect(
            result.output
                == "compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\nFAILURE\n")
        let request = connection.requests.read { $0.first } as? Etcdserverpb_TxnRequest
        #expect(request?.compare.count == 1 && request?.success.count == 2 && request?.failure.count == 1)
    }

    @Test func aListThatDoesNotEndSendsNothing() async {
        let connection = PreparedConnection()
        let result = await gulpctl("txn", console: RecordingConsole(input: "\nput a 1\n"), connection: connection)
        #expect(result.status == 3 && result.errors == "Error: EOF\n")
        #expect(connection.requests.read { $0.isEmpty })
    }
}
