import EtcdAPI

/// Shows what one watch receives, and runs its command for every event.
struct WatchPrinter: Sendable {
    let format: any OutputFormat
    let console: any Console
    /// The command to run for every event and its arguments; empty for none.
    var command: [[UInt8]] = []

    func print(_ notice: WatchNotice) async throws {
        if let reason = notice.cancellation { console.writeError("watch was canceled (\(reason))\n") }
        if notice.isProgress { console.write("progress notify: \(notice.response.header.revision)\n") }
        console.write(try format.bytes(notice.response))
        guard !command.isEmpty else { return }
        for event in notice.response.events {
            let variables = Self.variables(of: event, revision: notice.response.header.revision)
            if let trouble = await ChildProcess.run(command, adding: variables) {
                let shown = command.map { QuotedBytes.quote($0) }.joined(separator: " ")
                // etcdctl ends here without an `Error:` line of its own.
                console.writeError("command [\(shown)] error (\(trouble.text))\n")
                throw SilentFailure()
            }
        }
    }

    /// What the command finds in its environment, quoted as etcdctl quotes it.
    static func variables(of event: Mvccpb_Event, revision: Int64) -> [(name: String, value: String)] {
        [
            ("ETCD_WATCH_REVISION", "\(revision)"),
            ("ETCD_WATCH_EVENT_TYPE", QuotedBytes.quote(event.type.name)),
            ("ETCD_WATCH_KEY", QuotedBytes.quote(event.kv.key)),
            ("ETCD_WATCH_VALUE", QuotedBytes.quote(event.kv.value)),
        ]
    }
}

/// The command ends with status 1, and what there was to say has been said.
struct SilentFailure: Error {}
