/// What somebody likely meant.
public enum Spelling {
    /// The one of `known` that `text` is most likely a misspelling of; nil when none is near.
    public static func nearest(to text: String, among known: some Sequence<String>) -> String? {
        // Longer than any name; comparing costs the product of the lengths.
        guard text.utf8.count <= 100 else { return nil }
        let plain = text.lowercased()
        var best: (name: String, distance: Int)?
        for name in known where name.utf8.count <= 100 {
            let isBeginning = min(plain.count, name.count) >= 3 && (plain.hasPrefix(name) || name.hasPrefix(plain))
            let distance = isBeginning ? 1 : distance(plain, name.lowercased())
            guard distance <= max(1, min(3, name.count / 3)), distance < best?.distance ?? .max else { continue }
            best = (name, distance)
        }
        return best?.name
    }

    /// How many letters must be added, removed, replaced, or swapped with their neighbour.
    private static func distance(_ a: String, _ b: String) -> Int {
        let (a, b) = (Array(a.unicodeScalars), Array(b.unicodeScalars))
        var beforeLast: [Int] = []
        var last = Array(0...b.count)
        for i in a.indices {
            var row = [i + 1]
            for j in b.indices {
                var cost = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
                row.append(cost)
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
