import Foundation
import Server

/// gulpd with the log's sync switched off. It loses acknowledged writes when the power fails, on purpose: the test of
/// lost writes must fail against it, or that test proves nothing.
exit(await MemberProgram.main(durability: .unsynced))
