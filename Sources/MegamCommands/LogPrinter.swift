import AgentAPI
import LaunchModel

/// Writes lines of logs, with whose they are if they are of several.
struct LogPrinter: Sendable {
    let session: Session
    /// What stands before the lines of each place; nil: nothing, as there is one instance.
    let prefixWidth: Int?
    /// Instances that are on several nodes.
    let ambiguous: Set<InstanceID>

    /// - Parameters:
    ///   - instances: all whose lines are to be printed.
    ///   - slots: where they are now.
    init(_ session: Session, instances: [InstanceID], slots: [Slot]) {
        self.session = session
        let places = Dictionary(grouping: slots, by: \.instance)
        let ambiguous = Set(places.filter { $0.value.count > 1 }.keys)
        self.ambiguous = ambiguous
        let names = slots.map { Self.name(of: $0, ambiguous) } + instances.map { "\($0.component).\($0.index)" }
        prefixWidth = instances.count > 1 || slots.count > 1 ? names.map(\.count).max() : nil
    }

    func print(_ lines: [Megam_LogLine], of slot: Slot) throws {
        guard session.format == .table else {
            for line in lines { try session.printNext(Document(line, slot)) { "" } }
            return
        }
        let prefix = self.prefix(of: slot)
        var bytes: [UInt8] = []
        for line in lines {
            bytes += prefix
            // What is said about the component, and not by it.
            if line.stream == .agent { bytes += "-- ".utf8 }
            bytes += line.text
            bytes.append(UInt8(ascii: "\n"))
        }
        try session.console.write(bytes)
    }

    /// A line, for programs.
    struct Document: Encodable {
        var instance: InstanceID
        var node: String
        var time: Timestamp
        /// `stdout`, `stderr`, or `agent`: about the component.
        var stream: String
        /// What is no UTF-8 is replaced.
        var text: String

        init(_ line: Megam_LogLine, _ slot: Slot) {
            instance = slot.instance
            node = slot.node
            time = Timestamp(milliseconds: line.timeUnixNano / 1_000_000)
            stream = line.stream == .stdout ? "stdout" : line.stream == .stderr ? "stderr" : "agent"
            text = String(decoding: line.text, as: UTF8.self)
        }
    }

    private func prefix(of slot: Slot) -> [UInt8] {
        guard let prefixWidth else { return [] }
        let name = Self.name(of: slot, ambiguous)
        let text = name + String(repeating: " ", count: max(0, prefixWidth - name.count)) + " | "
        guard session.console.isTerminal else { return Array(text.utf8) }
        // The same colour for an instance wherever it is.
        let sum = slot.instance.component.utf8.reduce(slot.instance.index) { $0 &+ Int($1) }
        return Array("\u{1b}[\([36, 33, 32, 35, 34][abs(sum % 5)])m\(text)\u{1b}[0m".utf8)
    }

    private static func name(of slot: Slot, _ ambiguous: Set<InstanceID>) -> String {
        let name = "\(slot.instance.component).\(slot.instance.index)"
        return ambiguous.contains(slot.instance) ? "\(name)@\(slot.node)" : name
    }
}
