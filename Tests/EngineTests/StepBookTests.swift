import LaunchModel
import Testing

@testable import Engine

@Suite struct StepBookTests {
    private let poisoned = Step(.assembly("poisoned"))
    private let sound = Step(.assembly("sound"))

    @Test func aStepThatIsRefusedEachTimeIsTriedEverMoreRarelyWhateverBecomesOfOthers() {
        var book = StepBook()
        var now: Int64 = 0
        var pauses: [Int64] = []
        var told: [Int] = []
        while now < 600_000 {
            book.begin(poisoned)
            let failure = book.refused(poisoned, at: now)
            book.begin(sound)
            book.succeeded(sound, at: now)
            pauses.append(failure.pause)
            if failure.isWorthTelling { told.append(failure.count) }
            #expect(book.busy == [poisoned.subject] && book.nextMoment == now + failure.pause)
            now += failure.pause
            book.release(toldUpTo: 0, at: now - 1)
            #expect(!book.busy.isEmpty)
            book.release(toldUpTo: 0, at: now)
            #expect(book.busy.isEmpty)
        }
        #expect(pauses.prefix(9) == [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600])
        #expect(Set(pauses.dropFirst(9)) == [30_000])
        #expect(told == [1, 2, 4, 8, 16])
        // Once it has been taken, the next failure is the first.
        book.begin(poisoned)
        book.succeeded(poisoned, at: 1)
        #expect(book.refused(poisoned, at: now).pause == 100)
    }

    @Test func aStoreThatIsSilentIsAskedAgainSoon() {
        var book = StepBook()
        for _ in 0..<100 { _ = book.notAnswered(sound, at: 0) }
        #expect(book.notAnswered(sound, at: 0).pause == 5_000)
    }

    @Test func whatARefusedStepWouldTakeIsFreeUnlessAnEarlierOneIsInDoubt() {
        var step = Step(.assembly("sound"))
        step.reservations = [
            .init(
                node: "n1", instance: InstanceID(assembly: "sound", component: "web", index: 0), resources: Resources())
        ]
        var book = StepBook()
        book.begin(step)
        _ = book.refused(step, at: 0)
        #expect(book.reservations.isEmpty)
        book.begin(step)
        _ = book.notAnswered(step, at: 0)
        _ = book.refused(step, at: 0)
        #expect(book.reservations[step.subject] == step.reservations)
    }

    @Test func afterAssignmentsWereTakenAwayNothingIsPlannedBeforeEverythingIsTold() {
        var step = Step(.assembly("sound"))
        step.deletes = [.key(Keys.assignment("n1", InstanceID(assembly: "sound", component: "web", index: 0)))]
        var book = StepBook()
        book.begin(step)
        book.succeeded(step, at: 8)
        #expect(book.waitsToBeTold)
        book.release(toldUpTo: 7, at: 0)
        #expect(book.busy == [step.subject])
        book.release(toldUpTo: 8, at: 0)
        #expect(book.busy.isEmpty)
    }
}
