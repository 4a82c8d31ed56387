import Testing

@testable import GulpctlCommands

func words(_ text: String...) -> [[UInt8]] { text.map { Array($0.utf8) } }

struct FlagTests {
    private func parse(_ arguments: [[UInt8]]) throws -> ParsedFlags {
        try FlagTable(GetCommand.command.flags + GlobalOptions.flags).parse(arguments)
    }

    @Test func flagsAndArgumentsMayBeMixedInAnyOrder() throws {
        let flags = try parse(words("a", "--prefix", "--limit", "3", "z", "-w", "json"))
        #expect(flags.arguments == words("a", "z"))
        #expect(flags.bool("prefix") && flags.int("limit") == 3 && flags.string("write-out") == "json")
    }

    @Test(arguments: [["-w", "json"], ["-wjson"], ["-w=json"], ["--write-out", "json"], ["--write-out=json"]])
    func aValueMayStandInAnyOfPflagsPlaces(arguments: [String]) throws {
        #expect(try parse(arguments.map { Array($0.utf8) }).string("write-out") == "json")
    }

    @Test func everythingAfterTwoDashesIsAnArgument() throws {
        let flags = try parse(words("a", "--", "--prefix", "--", "-x"))
        #expect(flags.arguments == words("a", "--prefix", "--", "-x"))
        #expect(flags.separator == 1 && !flags.bool("prefix"))
    }

    @Test func endpointsGivenAgainAreAdded() throws {
        let flags = try parse(words("--endpoints", "a:1,b:2", "--endpoints=c:3"))
        #expect(flags["endpoints"] == .list(["a:1", "b:2", "c:3"]))
    }

    @Test func aKeyNeedNotBeUTF8() throws {
        #expect(try parse([[0xff, 0x2d]]).arguments == [[0xff, 0x2d]])
    }

    @Test(
        arguments: [
            (["--bogus"], "unknown flag: --bogus"),
            (["--limit"], "flag needs an argument: --limit"),
            (["-w"], "flag needs an argument: 'w' in -w"),
            (["-z"], "unknown shorthand flag: 'z' in -z"),
            (["-help"], "unknown shorthand flag: 'e' in -elp"),
            (["--=x"], "bad flag syntax: --=x"),
            (
                ["--limit", "x"],
                #"invalid argument "x" for "--limit" flag: strconv.ParseInt: parsing "x": invalid syntax"#
            ),
            (["--prefix="], #"invalid argument "" for "--prefix" flag: strconv.ParseBool: parsing "": invalid syntax"#),
            (
                ["--command-timeout", "5"],
                #"invalid argument "5" for "--command-timeout" flag: time: missing unit in duration "5""#
            ),
        ] as [([String], String)])
    func whatCannotBeReadIsNamedAsPflagNamesIt(arguments: [String], text: String) {
        #expect(throws: FlagFailure(text: text)) { try parse(arguments.map { Array($0.utf8) }) }
    }

    @Test(
        arguments: [
            ("0x10", 16), ("1_0", 10), ("010", 8), ("0b11", 3), ("-0x1", -1), ("+7", 7), ("0", 0),
            ("-9223372036854775808", Int64.min),
        ] as [(String, Int64)])
    func integersAreReadInGoSyntax(text: String, value: Int64) throws {
        #expect(try GoSyntax.int64(text, base: 0) == value)
    }

    @Test(arguments: ["", "0x", "1__0", "_1", "1_", "x", "9223372036854775808", "-"])
    func whatIsNoGoIntegerIsRefused(text: String) {
        #expect(throws: GoSyntaxError.self) { try GoSyntax.int64(text, base: 0) }
    }

    @Test(arguments: [
        ("1h5m", Duration.seconds(3900)), ("1.5s", .milliseconds(1500)), (".5s", .milliseconds(500)),
        ("1s500ms", .milliseconds(1500)), ("-1s", .seconds(-1)), ("3µs", .microseconds(3)), ("0", .zero),
    ])
    func durationsAreReadInGoSyntax(text: String, value: Duration) throws {
        #expect(try GoSyntax.duration(text) == value)
    }

    @Test(arguments: [
        ("x", #"time: invalid duration "x""#), ("", #"time: invalid duration """#),
        (".", #"time: invalid duration ".""#),
        ("1d", #"time: unknown unit "d" in duration "1d""#), ("5 s", #"time: unknown unit " s" in duration "5 s""#),
        ("1.", #"time: missing unit in duration "1.""#), ("99999999h", #"time: invalid duration "99999999h""#),
    ])
    func whatIsNoGoDurationIsRefusedInGoWords(text: String, message: String) {
        #expect(throws: GoSyntaxError(text: message)) { try GoSyntax.duration(text) }
    }

    @Test(arguments: [
        (Duration.seconds(5), "5s"), (.milliseconds(1500), "1.5s"), (.seconds(90), "1m30s"), (.zero, "0s"),
        (.seconds(3600), "1h0m0s"), (.milliseconds(250), "250ms"), (.microseconds(3), "3µs"),
        (.nanoseconds(1_000_452_264), "1.000452264s"), (.nanoseconds(2_181_098), "2.181098ms"),
        (.nanoseconds(-1500), "-1.5µs"), (.nanoseconds(7), "7ns"),
    ])
    func durationsArePrintedAsGoPrintsThem(duration: Duration, text: String) {
        #expect(GoSyntax.text(of: duration) == text)
    }

    private func options(_ arguments: [[UInt8]], _ environment: [String: String]) throws -> GlobalOptions {
        try GlobalOptions(FlagTable(GlobalOptions.flags).parse(arguments), environment)
    }

    @Test func theEnvironmentStandsInForFlagsAndGulpctlsOwnWins() throws {
        let environment = ["ETCDCTL_ENDPOINTS": "a:1,b:2", "ETCDCTL_HEX": "true", "ETCDCTL_WRITE_OUT": "json"]
        let plain = try options([], environment)
        #expect(plain.endpoints == ["a:1", "b:2"] && plain.isHex && plain.writeOut == "json")
        let both = try options([], environment.merging(["GULPCTL_ENDPOINTS": "c:3"]) { $1 })
        #expect(both.endpoints == ["c:3"])
        #expect(try options(words("--endpoints", "d:4"), ["GULPCTL_ENDPOINTS": "c:3"]).endpoints == ["d:4"])
    }

    @Test func aFlagAndEtcdctlsVariableTogetherAreRefused() {
        #expect(throws: CommandFailure.self) {
            try options(words("--endpoints", "d:4"), ["ETCDCTL_ENDPOINTS": "a:1"])
        }
    }

    @Test func whatIsNotServedYetIsRefusedByName() throws {
        #expect(throws: CommandFailure("--cacert is not served by this version of gulpctl", .badFeature)) {
            try options(words("--cacert", "ca.pem"), [:]).checkServed()
        }
        try options(words("--insecure-transport=true"), [:]).checkServed()
    }

    @Test(arguments: [
        ("127.0.0.1:2379", "127.0.0.1:2379"), ("http://h:1", "h:1"), ("http://h:1/path", "h:1"), (" h:1", "h:1"),
        ("\"h:1\"", "h:1"), ("[::1]:2379", "[::1]:2379"), (":2379", "127.0.0.1:2379"),
    ])
    func endpointsAreReadWithAndWithoutAScheme(text: String, shown: String) throws {
        #expect(try Endpoint(text).description == shown)
    }

    @Test(arguments: ["h", "h:", "h:0", "h:65536", "https://h:1", "unix:///tmp/x", "::1:2379"])
    func anEndpointThatCannotBeReachedIsRefused(text: String) {
        #expect(throws: CommandFailure.self) { try Endpoint(text) }
    }

    @Test func withoutEndpointsThereIsNoConnection() throws {
        #expect(throws: CommandFailure("etcdclient: no available endpoints", .badConnection)) {
            try Endpoint.list([""])
        }
        #expect(try Endpoint.list(["a:1", ""]).count == 1)
    }
}
