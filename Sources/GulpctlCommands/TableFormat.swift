import EtcdAPI

/// A bordered table. Only members and endpoints have one; the rest is refused once the answer is there, as etcdctl
/// does.
struct TableFormat: OutputFormat {
    func bytes(_ response: Etcdserverpb_RangeResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ response: Etcdserverpb_PutResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ response: Etcdserverpb_DeleteRangeResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ response: Etcdserverpb_TxnResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ response: Etcdserverpb_WatchResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }

    static let refusal = CommandFailure("table not supported as output format", .badFeature)

    /// Titles in the middle of their columns, cells at the right.
    func table(_ titles: [String], _ rows: [[String]]) -> [UInt8] {
        let widths = titles.indices.map { column in
            ([titles] + rows).map { $0[column].count }.max() ?? 0
        }
        func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }
        func spaces(_ count: Int) -> String { String(repeating: " ", count: count) }
        let border = "+" + widths.map { String(repeating: "-", count: $0 + 2) + "+" }.joined() + "\n"
        let head = zip(titles, widths).map { title, width in
            let before = (width - title.count) / 2
            return spaces(before) + title + spaces(width - title.count - before)
        }
        let body = rows.map { row in
            line(zip(row, widths).map { cell, width in spaces(width - cell.count) + cell })
        }
        return Array((border + line(head) + border + body.joined() + border).utf8)
    }
}
