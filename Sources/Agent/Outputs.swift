import Glibc

/// What a component says of itself: the lines NAME=VALUE of the file that MEGAM_OUTPUTS names.
///
/// The component writes what it likes, so what is no such line is ignored, as is all beyond the bounds. The file may
/// be anything too: it is only read if it is a plain file and no link, for the agent can read what the component cannot.
enum Outputs {
    static let mostBytes = 4 << 10
    static let mostNames = 32

    /// Tells one content of the file from another, by a cheap look.
    struct Stamp: Hashable, Sendable {
        var inode: UInt64
        var size: Int64
        var changedSeconds: Int
        var changedNanoseconds: Int
    }

    /// nil if there is no such plain file, or if it still has the stamp `known`.
    static func read(_ path: String, unless known: Stamp?) -> (outputs: [String: String], stamp: Stamp)? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_nlink == 1 else { return nil }
        let stamp = Stamp(
            inode: UInt64(status.st_ino), size: Int64(status.st_size), changedSeconds: status.st_mtim.tv_sec,
            changedNanoseconds: status.st_mtim.tv_nsec)
        guard stamp != known, let bytes = readAll(file, limitBytes: mostBytes + 1) else { return nil }
        return (parse(bytes), stamp)
    }

    static func parse(_ bytes: [UInt8]) -> [String: String] {
        var whole = bytes[...]
        if whole.count > mostBytes {
            // The line that the bound cuts is none.
            whole = whole.prefix(mostBytes)
            whole = whole[..<(whole.lastIndex(of: UInt8(ascii: "\n")) ?? whole.startIndex)]
        }
        var outputs: [String: String] = [:]
        for line in whole.split(separator: UInt8(ascii: "\n")) {
            guard let text = String(validating: line, as: UTF8.self), let equals = text.firstIndex(of: "=") else {
                continue
            }
            let name = String(text[..<equals])
            var value = text[text.index(after: equals)...]
            if value.hasSuffix("\r") { value.removeLast() }
            guard isName(name), !value.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }),
                outputs[name] != nil || outputs.count < mostNames
            else { continue }
            outputs[name] = String(value)
        }
        return outputs
    }

    private static func isName(_ name: String) -> Bool {
        guard let first = name.unicodeScalars.first, first.isASCII, first.properties.isAlphabetic || first == "_" else {
            return false
        }
        return name.unicodeScalars.allSatisfy {
            $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "._-".unicodeScalars.contains($0))
        }
    }
}
