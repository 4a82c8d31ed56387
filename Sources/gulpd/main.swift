import Foundation
import Server

exit(await MemberProgram.main { try await AgentProgram.run($0, logger: $1) })
