import Testing

@testable import Raft

@Suite struct LogTailTests {
    /// Compared with the simplest log there is, over random growth, truncation and compaction.
    @Test(arguments: 0..<20) func theLogBehavesLikeAListOfTerms(seed: Int) throws {
        var random = RandomSequence(seed: UInt64(seed))
        var log = try LogTail(InitialState(configuration: ConfState(voters: [1])))
        var terms: [Term] = [0]  // by index; the first stands for "before the log"
        var base = 0
        for _ in 0..<400 {
            let last = terms.count - 1
            switch random.next(below: 10) {
            case 0..<5:
                // A leader's append somewhere after the commit index, in the same or a later term.
                let start =
                    max(base, Int(log.commit.rawValue))
                    + random.next(below: last - max(base, Int(log.commit.rawValue)) + 1)
                var term = terms[start].rawValue
                let new = (0..<random.next(below: 5)).map { offset in
                    term += random.next(below: 4) == 0 || term == 0 ? 1 : 0
                    return Entry(term: Term(term), index: LogIndex(UInt64(start + 1 + offset)), payload: [])
                }
                if let conflict = new.first(where: {
                    Int($0.index.rawValue) > last || terms[Int($0.index.rawValue)] != $0.term
                }) {
                    terms.removeSubrange(Int(conflict.index.rawValue)...)
                    terms += new.filter { $0.index >= conflict.index }.map(\.term)
                }
                let isAccepted = log.reconcile(with: new)
                #expect(isAccepted)
            case 5..<7: log.commit(to: LogIndex(UInt64(random.next(below: last + 1))))
            case 7: _ = log.apply(upTo: max(log.applied, min(log.commit, log.durable)))
            case 8:
                base = max(base, random.next(below: Int(log.applied.rawValue) + 1))
                log.dropPrefix(through: LogIndex(UInt64(base)))
            default:
                let written = log.takeEntriesToWrite()
                if let end = written.last { log.wrote(term: end.term, index: end.index) }
                #expect(!log.hasUnwrittenEntries)
            }
            #expect(log.lastIndex == LogIndex(UInt64(terms.count - 1)))
            #expect(log.lastTerm == terms.last)
            let index = random.next(below: terms.count + 1)
            let known = index >= base && index < terms.count
            #expect(log.term(at: LogIndex(UInt64(index))) == (known ? terms[index] : nil))
            let term = Term(UInt64(random.next(below: 8)))
            var expected = index
            while expected >= base, expected < terms.count, terms[expected] > term { expected -= 1 }
            let isKnown = expected >= base && expected < terms.count
            let (agreed, agreedTerm) = log.agreement(from: LogIndex(UInt64(index)), term: term)
            #expect(agreed == LogIndex(UInt64(max(0, expected))))
            #expect(agreedTerm == (isKnown ? terms[expected] : 0))
        }
    }

    @Test func slicesHoldWhatFitsButAtLeastOneEntry() throws {
        let entries = (1...4).map { Entry(term: 1, index: LogIndex($0), payload: [UInt8](repeating: 0, count: 84)) }
        let log = try LogTail(
            InitialState(hardState: HardState(term: 1), configuration: ConfState(voters: [1]), entries: entries))
        #expect(log.slice(from: 1, through: 4, maxBytes: 250).entries.map(\.index) == [1, 2])
        #expect(log.slice(from: 2, through: 4, maxBytes: 0).entries.map(\.index) == [2])
        #expect(log.slice(from: 2, through: 4, maxBytes: .max).bytes == 300)
        #expect(log.slice(from: 5, through: 4, maxBytes: .max).entries.isEmpty)
    }

    @Test func theWindowForgetsWhatIsAcknowledged() {
        var window = Inflights(maxMessages: 5, maxBytes: 0)
        for index in 1...5 { window.add(last: LogIndex(UInt64(index)), bytes: 1) }
        #expect(window.isFull)
        window.free(upTo: 3)
        #expect(window.count == 2 && !window.isFull)
        for index in 6...8 { window.add(last: LogIndex(UInt64(index)), bytes: 1) }
        #expect(window.isFull)
        window.free(upTo: 7)
        #expect(window.count == 1)
        window.reset()
        #expect(window.count == 0)
    }
}
