import Testing

@testable import Linearizability

/// Histories of a plain register, the textbook's among them. A line is an operation: who, from, to, what.
@Suite struct RegisterTests {
    private typealias Operation = History<RegisterModel.Call, RegisterModel.Answer>.Operation

    private func write(_ client: Int, _ from: Int64, _ to: Int64, _ value: Int) -> Operation {
        Operation(client: client, call: .write(value), calledAt: from, answer: .written, answeredAt: to)
    }
    private func read(_ client: Int, _ from: Int64, _ to: Int64, _ value: Int?) -> Operation {
        Operation(client: client, call: .read, calledAt: from, answer: .value(value), answeredAt: to)
    }
    private func set(_ client: Int, _ from: Int64, _ to: Int64, _ old: Int?, _ new: Int, _ done: Bool) -> Operation {
        Operation(
            client: client, call: .compareAndSet(expected: old, new: new), calledAt: from, answer: .compared(done),
            answeredAt: to)
    }
    private func unanswered(_ client: Int, _ from: Int64, _ call: RegisterModel.Call) -> Operation {
        Operation(client: client, call: call, calledAt: from)
    }

    private func verdict(_ operations: [Operation], maximumSteps: Int = 100_000) -> Verdict {
        var history = History<RegisterModel.Call, RegisterModel.Answer>()
        for operation in operations { history.append(operation) }
        return checkLinearizability(of: history, against: RegisterModel(), maximumSteps: maximumSteps)
    }
    private func passes(_ operations: Operation...) -> Bool { verdict(operations).isLinearizable }

    @Test func nothingIsLinearizable() {
        #expect(passes())
    }

    @Test func aReadAfterAWriteShowsIt() {
        #expect(passes(write(1, 1, 2, 5), read(2, 3, 4, 5)))
        #expect(!passes(write(1, 1, 2, 5), read(2, 3, 4, nil)))
    }

    @Test func aReadBesideAWriteShowsOldOrNew() {
        #expect(passes(write(1, 1, 4, 5), read(2, 2, 3, 5)))
        #expect(passes(write(1, 1, 4, 5), read(2, 2, 3, nil)))
        #expect(!passes(write(1, 1, 4, 5), read(2, 2, 3, 6)))
    }

    @Test func anAnswerAtTheTimeOfAnotherCallOverlapsIt() {
        #expect(passes(write(1, 1, 2, 5), read(2, 2, 3, nil)))
    }

    @Test func oneReaderDoesNotGoBackBehindAnother() {
        #expect(passes(write(1, 1, 10, 5), read(2, 2, 3, nil), read(3, 4, 5, 5)))
        #expect(!passes(write(1, 1, 10, 5), read(2, 2, 3, 5), read(3, 4, 5, nil)))
    }

    /// Sequentially consistent, not linearizable.
    @Test func aWriteThatIsOverDoesNotWaitForTheNext() {
        #expect(!passes(write(1, 1, 2, 1), write(2, 3, 4, 2), read(3, 5, 6, 1)))
        #expect(passes(write(1, 1, 4, 1), write(2, 2, 3, 2), read(3, 5, 6, 1)))
    }

    @Test func ofTwoReadersBothSeeTheSameOrderOfWrites() {
        #expect(
            !passes(
                write(1, 1, 20, 1), write(2, 1, 20, 2), read(3, 2, 3, 1), read(3, 4, 5, 2), read(4, 6, 7, 2),
                read(4, 8, 9, 1)))
    }

    @Test func onlyOneOfTwoComparisonsSucceeds() {
        #expect(passes(set(1, 1, 4, nil, 1, true), set(2, 2, 3, nil, 2, false)))
        #expect(!passes(set(1, 1, 4, nil, 1, true), set(2, 2, 3, nil, 2, true)))
    }

    @Test func anUnansweredWriteMayHappenLateOrNever() {
        #expect(passes(unanswered(1, 1, .write(7)), read(2, 2, 3, nil), read(2, 4, 5, nil)))
        #expect(passes(unanswered(1, 1, .write(7)), read(2, 2, 3, nil), read(2, 4, 5, 7)))
        #expect(!passes(read(2, 2, 3, 7), unanswered(1, 4, .write(7))))
        #expect(
            !passes(unanswered(1, 1, .write(7)), read(2, 2, 3, 7), write(2, 4, 5, 8), read(2, 6, 7, 7)),
            "it cannot happen twice")
    }

    @Test func aWriteOfWhatIsThereMayBeNeededLater() {
        #expect(passes(write(1, 1, 2, 5), write(1, 3, 10, 5), write(2, 4, 9, 7), read(3, 11, 12, 5)))
    }

    @Test func theExplanationNamesTheLongestOrderAndWhatDoesNotFit() throws {
        let found = verdict([write(1, 1, 2, 5), read(2, 3, 4, 5), write(1, 5, 6, 6), read(3, 7, 8, 5)])
        let explanation = try #require(found.explanation)
        #expect(explanation.longestOrder == [0, 1, 2])
        #expect(explanation.stuck == 3)
        #expect(explanation.description.contains("of 4 answered operations 3 fit"))
        #expect(explanation.description.contains("client 3, 7-8"))
    }

    /// Writes that all overlap, and a read that none of their orders explains.
    @Test func aSearchThatIsTooLongIsGivenUp() {
        let writes = (0..<24).map { write($0, 1, 100, $0) }
        let verdict = verdict(writes + [read(1, 101, 102, 99)], maximumSteps: 1_000)
        guard case .undecided(let steps) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        #expect(steps > 1_000)
    }

    @Test func everyObjectIsJudgedByItself() {
        var history = History<[Int], RegisterModel.Answer>()
        struct Keyed: SequentialModel {
            var initialState: Int? { nil }
            func apply(_ call: [Int], answered answer: RegisterModel.Answer?, to state: Int?) -> Int?? {
                RegisterModel().apply(call.count > 1 ? .write(call[1]) : .read, answered: answer, to: state)
            }
        }
        let first = history.call([1, 5], by: 1, at: 1)
        let second = history.call([2, 6], by: 2, at: 1)
        history.answer(first, .written, at: 2)
        history.answer(second, .written, at: 2)
        let good = history.call([1], by: 1, at: 3)
        history.answer(good, .value(5), at: 4)
        #expect(checkLinearizability(of: history, by: { $0[0] }, against: Keyed()).isLinearizable)
        let bad = history.call([2], by: 1, at: 5)
        history.answer(bad, .value(5), at: 6)
        #expect(checkLinearizability(of: history, by: { $0[0] }, against: Keyed()).explanation != nil)
    }
}
