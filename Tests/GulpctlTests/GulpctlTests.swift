import Testing

@testable import GulpctlCommands
