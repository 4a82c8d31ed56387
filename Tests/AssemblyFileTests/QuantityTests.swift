import Testing

@testable import AssemblyFile

@Test(
    arguments: [
        ("0", 0), ("500ms", 500), ("10s", 10_000), ("1m30s", 90_000), ("2h", 7_200_000), ("1.5s", 1_500),
        ("0.25m", 15_000),
        ("1d", 86_400_000), ("1s5ms", 1_005),
    ] as [(String, Int64)])
func durationsAreReadAsPeopleWriteThem(_ text: String, _ milliseconds: Int64) throws {
    #expect(try Quantity.duration(text) == milliseconds)
}

@Test(
    arguments: [
        ("0", 0), ("1024", 1_024), ("1kB", 1_000), ("128MiB", 128 << 20), ("1.5GiB", 3 << 29), ("500MB", 500_000_000),
        ("2 TiB", 2 << 40), ("0.1KiB", 102),
    ] as [(String, Int64)])
func sizesAreReadAsPeopleWriteThem(_ text: String, _ bytes: Int64) throws {
    #expect(try Quantity.bytes(text) == bytes)
}

@Test(arguments: [
    "", " ", "s", "10", "1", "-1s", "+1s", "1.s", ".5s", "1..5s", "1s1s", "1s1m", "1 s", "0.0001s", "1e3s", "1µs",
    "99999999999999999999s", "9223372036854775807s", "1h9223372036854775807ms", "٣s",
])
func whatIsNoDurationIsRefused(_ text: String) {
    #expect(throws: QuantityError.self) { try Quantity.duration(text) }
}

@Test(arguments: [
    "", "MiB", "1M", "1Mi", "1mib", "-1", "1.MiB", "0x10", "1e6", "9223372036854775807KiB", "1.0000001GiB",
])
func whatIsNoSizeIsRefused(_ text: String) {
    #expect(throws: QuantityError.self) { try Quantity.bytes(text) }
}

@Test func commandsAreSplitAsAShellSplitsThem() throws {
    #expect(try CommandText.split("  a  b\tc\nd ") == ["a", "b", "c", "d"])
    #expect(try CommandText.split(#"a 'b c' "d e"f'g' '' "" h"#) == ["a", "b c", "d efg", "", "", "h"])
    #expect(try CommandText.split(#"a\ b \\ "\"\\\n\$" 'c\'"#) == ["a b", "\\", #""\\n$"#, "c\\"])
    #expect(try CommandText.split("") == [])
    // Nothing is expanded.
    #expect(
        try CommandText.split("echo $HOME *.txt ~ a>b 'a' '|' \\;") == [
            "echo", "$HOME", "*.txt", "~", "a>b", "a", "|", ";",
        ])
}

@Test func theNearestNameIsTheOneThatWasLikelyMeant() {
    let names = ["command", "count", "env", "depends-on"]
    #expect(Spelling.nearest(to: "conut", among: names) == "count")
    #expect(Spelling.nearest(to: "Count", among: names) == "count")
    #expect(Spelling.nearest(to: "dependson", among: names) == "depends-on")
    #expect(Spelling.nearest(to: "environment", among: names) == "env")
    #expect(Spelling.nearest(to: "port", among: names) == nil)
    #expect(Spelling.nearest(to: "", among: names) == nil)
    #expect(Spelling.nearest(to: String(repeating: "x", count: 1_000_000), among: names) == nil)
}
