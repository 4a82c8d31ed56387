import Storage

/// `gulpctl check …`: looks at something as it is and says whether it is sound.
enum CheckCommands {
    static let command = Command.group("check", "Find out whether something is sound", [data])

    private static let data = Command(
        name: "check data", summary: "Check a stopped member's data directory and print what it holds", arguments: "",
        details: """
            Makes every check that the member would make when it starts, reads all that is stored, and changes nothing.
            The status is 1, and the error names the file and says what to do, if the member would refuse to start or
            would stop on what it reads. A directory that a running member uses is refused.
            """,
        flags: [
            .string("data-dir", "", "the member's data directory"),
            .string("wal-dir", "", "where its log is, if it was given a --wal-dir"),
        ]
    ) { invocation in
        guard invocation.flags.arguments.isEmpty else {
            throw CommandFailure("check data command accepts no arguments", .badArguments)
        }
        let directory = invocation.flags.string("data-dir")
        guard !directory.isEmpty else { throw CommandFailure("check data command needs --data-dir", .badArguments) }
        let format = try invocation.options.outputFormat()
        let logDirectory = invocation.flags.string("wal-dir")
        let member = try OfflineMember(
            dataDirectory: directory, walDirectory: logDirectory.isEmpty ? nil : logDirectory)
        for notice in member.notices { invocation.console.writeError("\(notice)\n") }
        invocation.console.write(try format.bytes(MemberDataReport(member)))
    }
}
