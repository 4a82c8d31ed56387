import Foundation
import RaftScenario

// raft-scenario FILE... : runs each scenario file against the consensus core.

var failures = 0
let files = CommandLine.arguments.dropFirst()
if files.isEmpty {
    print("usage: raft-scenario FILE...")
    exit(2)
}
for file in files {
    do {
        if let mismatch = try runScenario(try String(contentsOfFile: file, encoding: .utf8)) {
            failures += 1
            print("FAIL \(file): \(mismatch)")
        } else {
            print("ok   \(file)")
        }
    } catch {
        failures += 1
        print("FAIL \(file): \(error)")
    }
}
print("\(files.count - failures) passed, \(failures) failed")
exit(failures == 0 ? 0 : 1)
