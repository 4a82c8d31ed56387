import EtcdAPI

/// `gulpctl watch -i`: a line of standard input is a watch, or asks for progress.
struct InteractiveWatch {
    private let console: any Console
    private let format: any OutputFormat
    private let session: WatchSession
    private let key: String?
    private let rangeEnd: String?

    init(_ invocation: Invocation, key: String?, rangeEnd: String?) throws {
        let (format, connection) = try invocation.open()
        self.format = format
        self.key = key
        self.rangeEnd = rangeEnd
        console = invocation.console
        session = WatchSession(connection)
    }

    /// Ends with the end of standard input, which etcdctl calls an error.
    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await session.run(endsWithTheLastWatch: false) }
            group.addTask { try await readLines() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func readLines() async throws {
        for await line in console.lines() { try await take(line) }
        throw CommandFailure("error reading watch request line: EOF", .invalidInput)
    }

    private func take(_ line: [UInt8]) async throws {
        let words = LineWords.split(line)
        let text = String(decoding: line, as: UTF8.self)
        switch words.first.map({ String(decoding: $0, as: UTF8.self) }) {
        case nil: console.writeError("Invalid command: \(text) (watch and progress supported)\n")
        case "progress": try await session.requestProgress()
        case "watch" where words.count < 2 && key == nil:
            console.writeError("Invalid command \(text) (command type or key is not provided)\n")
        case "watch": try await watch(Array(words.dropFirst()), line: text)
        default: console.writeError("Invalid command \(text) (only support watch)\n")
        }
    }

    /// Flags count for their line only. A line that cannot be read ends the program, as with etcdctl;
    /// keys that contradict the flags do not.
    private func watch(_ arguments: [[UInt8]], line: String) async throws {
        let flags: ParsedFlags
        do {
            flags = try FlagTable(WatchCommand.command.flags).parse(arguments)
        } catch {
            throw CommandFailure(error.text, .badArguments)
        }
        if flags.bool("help") { throw CommandFailure("pflag: help requested", .badArguments) }
        let words = try WatchArguments.Words(flags, key: key, rangeEnd: rangeEnd)
        if words.keys.isEmpty, words.command.isEmpty { throw CommandFailure("bad number of arguments", .badArguments) }
        do {
            let watch = try WatchArguments(words, flags)
            let printer = WatchPrinter(format: format, console: console, command: watch.command)
            try await session.add(watch.create, printer: printer)
        } catch let failure as CommandFailure {
            console.writeError("Invalid command \(line) (\(failure.text))\n")
        }
    }
}

/// The words of a typed line.
enum LineWords {
    /// Words are apart by white space. One that begins with a quote goes to the next such quote; in double
    /// quotes `\n`, `\t`, `\r` and a backslash before anything else mean what they mean in C. Quotes inside
    /// a word are part of it; a quote that nothing closes is passed over.
    static func split(_ line: [UInt8]) -> [[UInt8]] {
        var words: [[UInt8]] = []
        var rest = line[...]
        while let first = rest.first {
            switch first {
            case _ where isSpace(first): rest.removeFirst()
            case UInt8(ascii: "'"), UInt8(ascii: "\""):
                rest.removeFirst()
                if let (word, tail) = quoted(rest, by: first) {
                    words.append(word)
                    rest = tail
                }
            default:
                let word = rest.prefix { !isSpace($0) }
                words.append(Array(word))
                rest = rest[word.endIndex...]
            }
        }
        return words
    }

    private static func quoted(_ text: ArraySlice<UInt8>, by quote: UInt8) -> ([UInt8], ArraySlice<UInt8>)? {
        var word: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            if byte == quote { return (word, rest) }
            guard byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") else {
                word.append(byte)
                continue
            }
            guard let escaped = rest.popFirst() else { return nil }
            switch escaped {
            case UInt8(ascii: "n"): word.append(UInt8(ascii: "\n"))
            case UInt8(ascii: "t"): word.append(UInt8(ascii: "\t"))
            case UInt8(ascii: "r"): word.append(UInt8(ascii: "\r"))
            default: word.append(escaped)
            }
        }
        return nil
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (byte >= 0x09 && byte <= 0x0d)
    }
}
