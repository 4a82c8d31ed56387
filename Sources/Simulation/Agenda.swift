/// What is to happen, in the order of its time; what was scheduled first comes first at equal times.
struct Agenda<Event> {
    private struct Due {
        var time: Int64
        var sequence: UInt64
        var slot: Int

        static func precedes(_ a: Due, _ b: Due) -> Bool {
            a.time != b.time ? a.time < b.time : a.sequence < b.sequence
        }
    }
    /// A binary heap of plain values: moving one costs no reference counting.
    private var heap: [Due] = []
    private var events: [Event?] = []
    private var freeSlots: [Int] = []
    private var sequence: UInt64 = 0

    mutating func schedule(_ event: Event, at time: Int64) {
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
            events[slot] = event
        } else {
            slot = events.count
            events.append(event)
        }
        sequence += 1
        heap.append(Due(time: time, sequence: sequence, slot: slot))
        var index = heap.count - 1
        while index > 0, Due.precedes(heap[index], heap[(index - 1) / 2]) {
            heap.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    mutating func next() -> (time: Int64, event: Event)? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        freeSlots.append(first.slot)
        guard let event = events[first.slot].take() else { return nil }
        return (first.time, event)
    }

    private mutating func sink() {
        var index = 0
        while true {
            var least = index
            for child in (2 * index + 1)...(2 * index + 2)
            where child < heap.count && Due.precedes(heap[child], heap[least]) {
                least = child
            }
            if least == index { return }
            heap.swapAt(index, least)
            index = least
        }
    }
}
