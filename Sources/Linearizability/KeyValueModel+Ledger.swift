extension KeyValueModel {
    /// For each key, the revisions at which no unanswered call can have written it.
    ///
    /// Whoever saw a record also saw that its key was not written between the record's revision and the read's. And two
    /// records of one life of a key count, by their versions, the writes between them: if all of these are known by
    /// their answers, there was no other. Without this the search would choose an unanswered write here and find out only at
    /// the key's next read, many other choices later.
    struct Ledger: Sendable {
        private struct Sight {
            var modRevision: Int64
            var createRevision: Int64
            var version: Int64
            /// It was still there at this revision.
            var seenAt: Int64
        }
        private struct Span {
            var after: Int64
            var through: Int64
        }

        private var sights: [[Sight]]
        private var puts: [[Int64]]
        /// Disjoint and in order.
        private var closed: [[Span]]

        init(keys: Int) {
            sights = Array(repeating: [], count: keys)
            puts = Array(repeating: [], count: keys)
            closed = Array(repeating: [], count: keys)
        }

        func isClosed(_ key: Int, at revision: Int64) -> Bool {
            var low = 0
            var high = closed[key].count
            while low < high {
                let middle = (low + high) / 2
                if closed[key][middle].through < revision { low = middle + 1 } else { high = middle }
            }
            return low < closed[key].count && closed[key][low].after < revision
        }

        mutating func add(_ found: Found, seenAt revision: Int64) {
            sights[found.key].append(
                Sight(
                    modRevision: found.modRevision, createRevision: found.createRevision, version: found.version,
                    seenAt: max(revision, found.modRevision)))
        }

        /// The puts that an answer speaks of.
        mutating func addPuts(of call: Call, _ outcome: Outcome, at revision: Int64) {
            switch (call, outcome) {
            case (.put(let put), .put):
                puts[put.key].append(revision)
            case (.transaction(let transaction), .transaction(let succeeded, let outcomes)):
                for (call, outcome) in zip(succeeded ? transaction.success : transaction.failure, outcomes) {
                    addPuts(of: call, outcome, at: revision)
                }
            default: break
            }
        }

        /// To be called when all is added.
        mutating func close() {
            for key in sights.indices {
                puts[key].sort()
                let known = puts[key]
                var spans: [Span] = []
                var last: Sight?
                var counted = 0
                for sight in merged(sights[key]) {
                    if sight.seenAt > sight.modRevision {
                        spans.append(Span(after: sight.modRevision, through: sight.seenAt))
                    }
                    let before = counted
                    while counted < known.count, known[counted] <= sight.modRevision { counted += 1 }
                    if let last, last.createRevision == sight.createRevision,
                        sight.version - last.version == Int64(counted - before)
                    {
                        spans.append(Span(after: last.modRevision, through: sight.modRevision))
                    }
                    last = sight
                }
                closed[key] = disjoint(spans)
            }
        }

        /// One for each record, the first of each life among them.
        private func merged(_ sights: [Sight]) -> [Sight] {
            var all = sights
            for sight in sights where sight.createRevision < sight.modRevision {
                var first = sight
                first.modRevision = sight.createRevision
                first.seenAt = sight.createRevision
                first.version = 1
                all.append(first)
            }
            all.sort { $0.modRevision != $1.modRevision ? $0.modRevision < $1.modRevision : $0.seenAt < $1.seenAt }
            var merged: [Sight] = []
            for sight in all {
                if merged.last?.modRevision == sight.modRevision { merged.removeLast() }
                merged.append(sight)
            }
            return merged
        }

        private func disjoint(_ spans: [Span]) -> [Span] {
            var disjoint: [Span] = []
            for span in spans.sorted(by: { $0.after < $1.after }) {
                if let last = disjoint.last, span.after <= last.through {
                    disjoint[disjoint.count - 1].through = max(last.through, span.through)
                } else {
                    disjoint.append(span)
                }
            }
            return disjoint
        }
    }
}
