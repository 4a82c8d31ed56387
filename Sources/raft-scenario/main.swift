import Foundation
import RaftScenario

// raft-scenario FILE... : runs each scenario file against the consensus core and prints one line for it; below the line
// of one that fails, the lines that differ. Ends with the counts; exits with 1 if any failed, with 2 without a file.
// raft-scenario --rewrite FILE : prints the file with what its steps print now, for authors of scenarios.

var files = CommandLine.arguments.dropFirst()
let isRewrite = files.first == "--rewrite"
if isRewrite { files = files.dropFirst() }
if files.isEmpty || files.contains("--help") || files.contains("-h") {
    print("usage: raft-scenario FILE...\n       raft-scenario --rewrite FILE")
    exit(files.isEmpty ? 2 : 0)
}

/// What to print for `file`, and whether it passed.
func judge(_ file: String) -> (line: String, passed: Bool) {
    let text: String
    do {
        text = try String(contentsOfFile: file, encoding: .utf8)
    } catch {
        let reason =
            FileManager.default.fileExists(atPath: file)
            ? "it cannot be read as UTF-8 text; name a scenario file" : "there is no such file"
        return ("FAIL \(file): \(reason)", false)
    }
    do throws(ScenarioError) {
        if isRewrite { return (try rewriteScenario(text), true) }
        guard let mismatch = try runScenario(text) else { return ("ok   \(file)", true) }
        return ("FAIL \(file):\(mismatch.line): \(mismatch)", false)
    } catch {
        return ("FAIL \(file):\(error.line): \(error.reason)", false)
    }
}

var failures = 0
for file in files {
    let (line, passed) = judge(file)
    if !passed { failures += 1 }
    print(line)
}
if !isRewrite { print("\(files.count - failures) passed, \(failures) failed") }
exit(failures == 0 ? 0 : 1)
