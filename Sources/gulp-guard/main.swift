import Glibc
import Guard

exit(GuardProgram.main(CommandLine.arguments))
