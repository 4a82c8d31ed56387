import Configuration
import Foundation
import Logging
import Server

/// gulpd: one member of the cluster's store. Flags, wiring and signals; everything else is in `Server`.

func printError(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

let configuration: MemberConfiguration
do throws(ConfigurationError) {
    switch try MemberConfiguration.resolve(
        arguments: Array(CommandLine.arguments.dropFirst()), environment: ProcessInfo.processInfo.environment)
    {
    case .show(let text):
        print(text, terminator: "")
        exit(0)
    case .run(let resolved, let warnings):
        configuration = resolved
        for warning in warnings { printError("gulpd: \(warning)") }
    }
} catch {
    printError("gulpd: \(error)")
    exit(error.exitCode)
}

exit(await MemberProgram.run(configuration))
