import Foundation
import Server

exit(await MemberProgram.main())
