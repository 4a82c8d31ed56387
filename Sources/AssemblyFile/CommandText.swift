/// A command that is written as one text.
enum CommandText {
    /// What is wrong and what to do.
    struct Complaint: Error { var text: String }

    /// Splits as a shell splits: at white space, unless it is quoted (`'…'`, `"…"`) or follows a backslash. Nothing is
    /// expanded, and what only a shell can do is refused rather than passed on as an argument.
    static func split(_ text: String) throws(Complaint) -> [String] {
        var words: [String] = []
        var word: String.UnicodeScalarView?
        var isQuoted = false
        var scalars = text.unicodeScalars.makeIterator()

        func endWord() throws(Complaint) {
            guard let ended = word.map(String.init) else { return }
            if !isQuoted, operators.contains(ended) {
                throw Complaint(
                    text: "\(ended) needs a shell, and there is none; write `[sh, -c, \"…\"]`, or quote it if it is an "
                        + "argument")
            }
            words.append(ended)
            word = nil
            isQuoted = false
        }
        func append(_ scalar: Unicode.Scalar) { word = (word ?? .init()) + CollectionOfOne(scalar) }

        while let scalar = scalars.next() {
            switch scalar {
            case " ", "\t", "\n", "\r": try endWord()
            case "\\":
                guard let next = scalars.next() else {
                    throw Complaint(text: "ends in a backslash; write two for one, or put it in single quotes")
                }
                isQuoted = true
                append(next)
            case "'", "\"":
                isQuoted = true
                word = word ?? .init()
                while true {
                    guard let next = scalars.next() else {
                        throw Complaint(text: "the quote \(scalar) is not closed; add one, or write \\\(scalar)")
                    }
                    if next == scalar { break }
                    guard scalar == "\"", next == "\\" else {
                        append(next)
                        continue
                    }
                    guard let escaped = scalars.next() else {
                        throw Complaint(text: "the quote \" is not closed; add one, or write \\\"")
                    }
                    // Within double quotes a backslash stands for itself before anything else (POSIX shell, 2.2.3).
                    if !["\"", "\\", "$", "`"].contains(escaped) { append("\\") }
                    append(escaped)
                }
            default: append(scalar)
            }
        }
        try endWord()
        return words
    }

    private static let operators: Set<String> = ["|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1", "(", ")"]
}
