/// Finds the watches a key concerns: by hash those of the key alone, by an interval tree those of ranges.
struct WatchMatcher: Sendable {
    private var single: [[UInt8]: [Int]] = [:]
    private var ranges = IntervalTree()

    var isEmpty: Bool { single.isEmpty && ranges.isEmpty }

    mutating func insert(_ slot: Int, _ range: KeyRange) {
        switch range.end {
        case .single: single[range.key, default: []].append(slot)
        case .before(let end): ranges.insert(slot, from: range.key, to: end)
        case .unbounded: ranges.insert(slot, from: range.key, to: nil)
        }
    }

    mutating func remove(_ slot: Int, _ range: KeyRange) {
        switch range.end {
        case .single:
            single[range.key]?.removeAll { $0 == slot }
            if single[range.key]?.isEmpty == true { single[range.key] = nil }
        case .before(let end): ranges.remove(slot, from: range.key, to: end)
        case .unbounded: ranges.remove(slot, from: range.key, to: nil)
        }
    }

    @inline(__always)
    func match(_ key: [UInt8], _ body: (Int) -> Void) {
        if !single.isEmpty, let slots = single[key] { for slot in slots { body(slot) } }
        if !ranges.isEmpty { ranges.stab(key, body) }
    }

    func matches(_ key: [UInt8]) -> Bool {
        var any = false
        match(key) { _ in any = true }
        return any
    }
}

/// Half-open ranges of keys, and which contain a key: a treap ordered by a range's ends, each node knowing the farthest end below it.
/// Its shape depends only on the calls made.
struct IntervalTree: Sendable {
    private struct Node: Sendable {
        var first: [UInt8]
        /// nil: without end.
        var end: [UInt8]?
        /// The farthest `end` in this subtree.
        var farthest: [UInt8]?
        var priority: UInt64
        var left = -1
        var right = -1
        var slots: [Int]
    }
    private var nodes: [Node] = []
    private var free: [Int] = []
    private var root = -1
    private var randomness: UInt64 = 0x9e37_79b9_7f4a_7c15

    var isEmpty: Bool { root < 0 }

    mutating func insert(_ slot: Int, from first: [UInt8], to end: [UInt8]?) {
        root = insert(slot, first, end, at: root)
    }

    mutating func remove(_ slot: Int, from first: [UInt8], to end: [UInt8]?) {
        root = remove(slot, first, end, at: root)
    }

    /// Calls `body` with each slot whose range contains the key.
    func stab(_ key: [UInt8], _ body: (Int) -> Void) { stab(key, root, body) }

    private func stab(_ key: [UInt8], _ index: Int, _ body: (Int) -> Void) {
        guard index >= 0, Self.isBefore(key, nodes[index].farthest) else { return }
        stab(key, nodes[index].left, body)
        guard compareBytes(nodes[index].first, key) <= 0 else { return }
        if Self.isBefore(key, nodes[index].end) { for slot in nodes[index].slots { body(slot) } }
        stab(key, nodes[index].right, body)
    }

    private static func isBefore(_ key: [UInt8], _ end: [UInt8]?) -> Bool {
        end.map { compareBytes(key, $0) < 0 } ?? true
    }

    private static func order(_ a: ([UInt8], [UInt8]?), _ b: ([UInt8], [UInt8]?)) -> Int {
        let order = compareBytes(a.0, b.0)
        if order != 0 { return order }
        switch (a.1, b.1) {
        case (nil, nil): return 0
        case (nil, _): return 1
        case (_, nil): return -1
        case (let x?, let y?): return compareBytes(x, y)
        }
    }

    private static func farther(_ a: [UInt8]?, _ b: [UInt8]?) -> [UInt8]? {
        guard let a, let b else { return nil }
        return compareBytes(a, b) < 0 ? b : a
    }

    private mutating func update(_ index: Int) {
        var farthest = nodes[index].end
        for child in [nodes[index].left, nodes[index].right] where child >= 0 {
            farthest = Self.farther(farthest, nodes[child].farthest)
        }
        nodes[index].farthest = farthest
    }

    private mutating func insert(_ slot: Int, _ first: [UInt8], _ end: [UInt8]?, at index: Int) -> Int {
        if index < 0 { return make(slot, first, end) }
        let order = Self.order((first, end), (nodes[index].first, nodes[index].end))
        if order == 0 {
            nodes[index].slots.append(slot)
            return index
        }
        if order < 0 {
            let child = insert(slot, first, end, at: nodes[index].left)
            nodes[index].left = child
            if nodes[child].priority > nodes[index].priority { return rotateRight(index) }
        } else {
            let child = insert(slot, first, end, at: nodes[index].right)
            nodes[index].right = child
            if nodes[child].priority > nodes[index].priority { return rotateLeft(index) }
        }
        update(index)
        return index
    }

    private mutating func make(_ slot: Int, _ first: [UInt8], _ end: [UInt8]?) -> Int {
        // xorshift64: any spread will do.
        randomness ^= randomness << 13
        randomness ^= randomness >> 7
        randomness ^= randomness << 17
        let node = Node(first: first, end: end, farthest: end, priority: randomness, slots: [slot])
        if let index = free.popLast() {
            nodes[index] = node
            return index
        }
        nodes.append(node)
        return nodes.count - 1
    }

    private mutating func remove(_ slot: Int, _ first: [UInt8], _ end: [UInt8]?, at index: Int) -> Int {
        if index < 0 { return index }
        let order = Self.order((first, end), (nodes[index].first, nodes[index].end))
        if order < 0 {
            nodes[index].left = remove(slot, first, end, at: nodes[index].left)
        } else if order > 0 {
            nodes[index].right = remove(slot, first, end, at: nodes[index].right)
        } else {
            nodes[index].slots.removeAll { $0 == slot }
            if nodes[index].slots.isEmpty {
                let joined = join(nodes[index].left, nodes[index].right)
                nodes[index] = Node(first: [], end: nil, farthest: nil, priority: 0, slots: [])
                free.append(index)
                return joined
            }
        }
        update(index)
        return index
    }

    /// One tree of two whose keys do not interleave.
    private mutating func join(_ left: Int, _ right: Int) -> Int {
        if left < 0 { return right }
        if right < 0 { return left }
        if nodes[left].priority > nodes[right].priority {
            nodes[left].right = join(nodes[left].right, right)
            update(left)
            return left
        }
        nodes[right].left = join(left, nodes[right].left)
        update(right)
        return right
    }

    private mutating func rotateRight(_ index: Int) -> Int {
        let child = nodes[index].left
        nodes[index].left = nodes[child].right
        nodes[child].right = index
        update(index)
        update(child)
        return child
    }

    private mutating func rotateLeft(_ index: Int) -> Int {
        let child = nodes[index].right
        nodes[index].right = nodes[child].left
        nodes[child].left = index
        update(index)
        update(child)
        return child
    }
}
