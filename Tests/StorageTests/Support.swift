import Foundation
import Raft
import Store

@testable import Storage

/// A directory that goes when the test ends.
final class TemporaryDirectory {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "storage-tests-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }

    /// A copy of everything under `name` as it is now: what a killed process leaves.
    func copy(_ name: String, to copy: String) throws {
        try FileManager.default.copyItem(atPath: file(name), toPath: file(copy))
    }
}

/// Every file under a directory with its bytes.
func contents(of directory: String) throws -> [String: Data] {
    var files: [String: Data] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
        var isDirectory: ObjCBool = false
        let path = directory + "/" + name
        if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), !isDirectory.boolValue {
            files[name] = try Data(contentsOf: URL(fileURLWithPath: path))
        }
    }
    return files
}

/// Entries `range` of a term, with payloads of a given size that differ from each other.
func entries(_ range: ClosedRange<UInt64>, term: UInt64, size: Int = 20) -> [Entry] {
    range.map { index in
        Entry(
            term: Term(term), index: LogIndex(index),
            payload: (0..<size).map {
                UInt8(truncatingIfNeeded: UInt64($0 &* 31 &+ 7) &+ index &* 131 &+ term &* 17) | 1
            })
    }
}

func bytes(_ text: String) -> [UInt8] { [UInt8](text.utf8) }

/// A small generator of random numbers, the same for the same seed. (Steele, Lea, Flood: SplitMix, 2014.)
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
