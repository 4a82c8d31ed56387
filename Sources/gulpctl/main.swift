import Foundation
import GulpctlCommands

// The bytes as they came: `CommandLine.arguments` would repair what is not UTF-8, and keys need not be.
let arguments = (1..<max(1, Int(CommandLine.argc))).map { index in
    CommandLine.unsafeArgv[index].map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) } ?? []
}
exit(await Gulpctl.run(arguments: arguments, environment: ProcessInfo.processInfo.environment))
