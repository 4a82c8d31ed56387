import Foundation
import MegamCommands

// A closed pipe is an error of the write, and Ctrl-C ends at once: what is under way is the store's and goes on.
signal(SIGPIPE, SIG_IGN)
signal(SIGINT) { _ in _exit(130) }
exit(
    await MegamCommands.run(
        arguments: Array(CommandLine.arguments.dropFirst()), environment: ProcessInfo.processInfo.environment))
