/// A node of `KeyIndex`.
///
/// A leaf holds keys and their entries. An inner node holds children and between them separators: child `i + 1` has
/// the keys at or above `keys[i]`. Beside each key stand the four bytes that follow what all keys of the node have in
/// common: the search compares these, one after the other in memory, and touches a key's own bytes only to confirm.
// Sendable: a node is mutated only by a `KeyIndex` that holds the sole reference to it (`makeUnique` on the way down).
final class IndexNode: @unchecked Sendable {
    static let capacity = 64
    typealias Split = (separator: [UInt8], right: IndexNode)

    // Exclusivity unchecked: no access to a node's field calls code that could reach the same field again, except `upsert`'s
    // `change`, which gets a copy.
    let isLeaf: Bool
    /// The length of the prefix that all `keys` share.
    @exclusivity(unchecked) private var shared = 0
    @exclusivity(unchecked) private var digests: ContiguousArray<UInt32> = []
    @exclusivity(unchecked) private(set) var keys: ContiguousArray<[UInt8]> = []
    @exclusivity(unchecked) private(set) var entries: ContiguousArray<KeyEntry> = []
    @exclusivity(unchecked) var children: ContiguousArray<IndexNode> = []
    /// The live keys below each child.
    @exclusivity(unchecked) private var liveBelow: ContiguousArray<Int> = []
    /// The live keys in this subtree.
    @exclusivity(unchecked) private(set) var liveCount = 0

    init(leaf: Bool) { isLeaf = leaf }

    /// A new root over two halves.
    init(over left: IndexNode, _ split: Split) {
        isLeaf = false
        children = [left, split.right]
        liveBelow = [left.liveCount, split.right.liveCount]
        liveCount = left.liveCount + split.right.liveCount
        keys = [split.separator]
        redigest()
    }

    private init(copying other: IndexNode) {
        isLeaf = other.isLeaf
        shared = other.shared
        digests = other.digests
        keys = other.keys
        entries = other.entries
        children = other.children
        liveBelow = other.liveBelow
        liveCount = other.liveCount
    }

    static func makeUnique(_ node: inout IndexNode) {
        if !isKnownUniquelyReferenced(&node) { node = IndexNode(copying: node) }
    }

    // MARK: Search

    /// The first position whose key is not below `key`, and whether it is `key`. Of the first `known` bytes it is known that
    /// `key` has them in common with all keys here (see `child(of:known:)`).
    func lowerBound(_ key: [UInt8], known: Int = 0) -> (position: Int, found: Bool) {
        let count = keys.count
        if count == 0 { return (0, false) }
        return key.withUnsafeBytes { bytes in
            keys.withUnsafeBufferPointer { keys in
                digests.withUnsafeBufferPointer { digests in
                    if shared > known {
                        let order = Self.comparePrefix(bytes, keys[0], shared)
                        if order != 0 { return (order < 0 ? 0 : count, false) }
                    }
                    let digest = Self.digest(bytes, at: shared)
                    var low = 0
                    var high = count
                    while low < high {
                        let middle = (low &+ high) >> 1
                        if digests[middle] < digest { low = middle &+ 1 } else { high = middle }
                    }
                    // Keys with the same digest are told apart by their bytes; mostly there is at most one.
                    while low < count, digests[low] == digest {
                        let order = keys[low].withUnsafeBytes { compareBytes($0, bytes) }
                        if order >= 0 { return (low, order == 0) }
                        low &+= 1
                    }
                    return (low, false)
                }
            }
        }
    }

    /// The child whose keys enclose `key`.
    func childIndex(of key: [UInt8]) -> Int {
        let (position, found) = lowerBound(key)
        return found ? position + 1 : position
    }

    /// The child whose keys enclose `key`, and how many bytes `key` is then known to share with all of them: what lies between two
    /// separators begins as both do, with zeros after a key's end, which the digests tell without a look at the keys. (A key
    /// that ends within those bytes is below all keys that go on, and so is its digest, or equal to theirs.)
    func child(of key: [UInt8], known: Int) -> (index: Int, known: Int) {
        let (position, found) = lowerBound(key, known: known)
        let index = found ? position + 1 : position
        guard index > 0, index < keys.count else { return (index, known) }
        let common = (digests[index - 1] ^ digests[index]).leadingZeroBitCount / 8
        return (index, max(known, shared + common))
    }

    /// The order of `bytes` against all keys that begin with the first `count` bytes of `key`; 0 if it begins so too.
    @inline(__always)
    private static func comparePrefix(_ bytes: UnsafeRawBufferPointer, _ key: [UInt8], _ count: Int) -> Int {
        if count == 0 { return 0 }
        return key.withUnsafeBytes { key in
            let order = compareBytes(bytes, key, count: min(count, bytes.count))
            return order != 0 ? order : bytes.count < count ? -1 : 0
        }
    }

    /// Four bytes from `offset` as a number that orders as they do; what is past the end counts as 0.
    @inline(__always)
    private static func digest(_ key: UnsafeRawBufferPointer, at offset: Int) -> UInt32 {
        if offset &+ 4 <= key.count {
            return UInt32(bigEndian: key.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        var digest: UInt32 = 0
        for index in offset..<offset + 4 { digest = digest << 8 | (index < key.count ? UInt32(key[index]) : 0) }
        return digest
    }

    private func redigest() {
        guard let first = keys.first, let last = keys.last else {
            shared = 0
            digests = []
            return
        }
        let shorter = min(first.count, last.count)
        var common = 0
        while common < shorter, first[common] == last[common] { common += 1 }
        shared = common
        digests = ContiguousArray(keys.map { key in key.withUnsafeBytes { Self.digest($0, at: common) } })
    }

    private func insertKey(_ key: [UInt8], at position: Int) {
        // Room grows in small steps: doubling would leave a third of a million leaves empty.
        if keys.count == keys.capacity { keys.reserveCapacity(keys.count + 8) }
        if digests.count == digests.capacity { digests.reserveCapacity(digests.count + 8) }
        let fits = !keys.isEmpty && key.withUnsafeBytes { Self.comparePrefix($0, keys[0], shared) == 0 }
        keys.insert(key, at: position)
        if fits {
            digests.insert(key.withUnsafeBytes { Self.digest($0, at: shared) }, at: position)
        } else {
            redigest()
        }
    }

    // MARK: Counting and visiting

    /// The number of live keys below `key`.
    func liveRank(of key: [UInt8]) -> Int {
        if isLeaf {
            return entries[..<lowerBound(key).position].reduce(0) { $1.isLive ? $0 + 1 : $0 }
        }
        let index = childIndex(of: key)
        return liveBelow[..<index].reduce(0, +) + children[index].liveRank(of: key)
    }

    /// Visits the keys from `first` (nil: all) and below `last` (nil: all); false once `body` said so.
    func visit(
        from first: [UInt8]?, before last: [UInt8]?, _ body: (_ key: [UInt8], _ entry: KeyEntry) throws -> Bool
    ) rethrows -> Bool {
        if isLeaf {
            var position = first.map { lowerBound($0).position } ?? 0
            let end = last.map { lowerBound($0).position } ?? keys.count
            while position < end {
                if try !body(keys[position], entries[position]) { return false }
                position += 1
            }
            return true
        }
        let begin = first.map(childIndex(of:)) ?? 0
        let end = last.map(childIndex(of:)) ?? children.count - 1
        guard begin <= end else { return true }
        for index in begin...end {
            let more = try children[index].visit(
                from: index == begin ? first : nil, before: index == end ? last : nil, body)
            if !more { return false }
        }
        return true
    }

    // MARK: Change

    /// Calls `change` with the key's entry, nil when it is new; an entry left nil is not added. Existing ones stay.
    /// The node has one owner. Answers the right half if it had to split.
    func upsert(_ key: [UInt8], known: Int = 0, _ change: (inout KeyEntry?) -> Void) -> Split? {
        if isLeaf { return upsertInLeaf(key, known, change) }
        let (index, known) = child(of: key, known: known)
        Self.makeUnique(&children[index])
        let child = children[index]
        let before = child.liveCount
        let split = child.upsert(key, known: known, change)
        let added = child.liveCount - before
        // Most puts change no count: then this node's arrays need not even be read.
        if added != 0 {
            liveCount += added
            liveBelow[index] += added
        }
        guard let split else { return nil }
        liveCount += split.right.liveCount
        insertKey(split.separator, at: index)
        children.insert(split.right, at: index + 1)
        liveBelow.insert(split.right.liveCount, at: index + 1)
        return keys.count > Self.capacity ? self.split(insertedAt: index) : nil
    }

    private func upsertInLeaf(_ key: [UInt8], _ known: Int, _ change: (inout KeyEntry?) -> Void) -> Split? {
        let (position, found) = lowerBound(key, known: known)
        var entry: KeyEntry?
        var before = 0
        if found {
            // Taken out and put back, so that `change` owns its older revisions alone.
            entry = entries[position]
            before = entries[position].isLive ? 1 : 0
            entries[position].record = nil
            entries[position].older = nil
        }
        change(&entry)
        guard let entry else { return nil }
        liveCount += (entry.isLive ? 1 : 0) - before
        if found {
            entries[position] = entry
            return nil
        }
        if entries.count == entries.capacity { entries.reserveCapacity(entries.count + 8) }
        entries.insert(entry, at: position)
        insertKey(key, at: position)
        return keys.count > Self.capacity ? split(insertedAt: position) : nil
    }

    /// Moves the upper half into a new node; keys that arrive in ascending order leave full nodes behind.
    private func split(insertedAt position: Int) -> Split {
        let right = IndexNode(leaf: isLeaf)
        let middle = position == keys.count - 1 ? keys.count - 2 : keys.count / 2
        let separator = keys[middle]
        if isLeaf {
            right.keys = ContiguousArray(keys[middle...])
            right.entries = ContiguousArray(entries[middle...])
            entries.removeSubrange(middle...)
            right.liveCount = right.entries.reduce(0) { $1.isLive ? $0 + 1 : $0 }
            entries = Self.trimmed(entries)
        } else {
            // The separator moves up: it stays in neither half.
            right.keys = ContiguousArray(keys[(middle + 1)...])
            right.children = ContiguousArray(children[(middle + 1)...])
            right.liveBelow = ContiguousArray(liveBelow[(middle + 1)...])
            children.removeSubrange((middle + 1)...)
            liveBelow.removeSubrange((middle + 1)...)
            right.liveCount = right.liveBelow.reduce(0, +)
        }
        keys.removeSubrange(middle...)
        keys = Self.trimmed(keys)
        liveCount -= right.liveCount
        redigest()
        right.redigest()
        return (separator, right)
    }

    /// The same elements in as much room as they need.
    private static func trimmed<Element>(_ elements: ContiguousArray<Element>) -> ContiguousArray<Element> {
        ContiguousArray(unsafeUninitializedCapacity: elements.count) { buffer, count in
            count = buffer.initialize(fromContentsOf: elements)
        }
    }

    /// Removes a key that is not live. The node has one owner.
    func remove(_ key: [UInt8]) {
        if isLeaf {
            let (position, found) = lowerBound(key)
            guard found else { return }
            keys.remove(at: position)
            entries.remove(at: position)
            redigest()
            return
        }
        let index = childIndex(of: key)
        Self.makeUnique(&children[index])
        children[index].remove(key)
        if children[index].keys.count < Self.capacity / 4 { mergeChild(index) }
    }

    /// Joins a child that became small with a neighbour, if both fit one node.
    private func mergeChild(_ index: Int) {
        let left = index > 0 ? index - 1 : index
        guard left + 1 < children.count,
            children[left].keys.count + children[left + 1].keys.count < Self.capacity
        else { return }
        Self.makeUnique(&children[left])
        let node = children[left]
        let right = children[left + 1]
        if !node.isLeaf { node.keys.append(keys[left]) }
        node.keys += right.keys
        node.entries += right.entries
        node.children += right.children
        node.liveBelow += right.liveBelow
        node.liveCount += right.liveCount
        node.redigest()
        keys.remove(at: left)
        children.remove(at: left + 1)
        liveBelow[left] = node.liveCount
        liveBelow.remove(at: left + 1)
        redigest()
    }

    /// Drops the records at or below a main revision; answers their size.
    func dropRecords(writtenBefore mainRevision: Int64) -> Int {
        var dropped = 0
        for index in entries.indices where entries[index].modMain <= mainRevision {
            dropped += entries[index].record?.count ?? 0
            entries[index].record = nil
        }
        return dropped
    }
}
