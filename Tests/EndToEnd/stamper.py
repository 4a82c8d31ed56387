"""A component that stamps a file while it lives, so that the file tells whether two of it ever ran at once.

    STAMPS=/a/file python3 -S -E -B stamper.py

It appends a line at its start, every 50 ms and when it is asked to stop (stamps.py reads them). All components of a
test share the file: each stamp is one write to a descriptor with O_APPEND, which the kernel does not tear.

    STAMPER_ESCAPES=1   also leaves a process behind, in a session of its own and deaf to SIGTERM, as daemons do;
                        it stamps for the same run
"""

import os
import signal
import sys
import time

HEARTBEAT_SECONDS = 0.05


def began():
    """When this process was made, by the kernel, on CLOCK_BOOTTIME: the end of the tick that it says, in ns."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return (ticks + 1) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Stamper:
    def __init__(self, environment):
        self.file = os.open(environment["STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.began, self.run = began(), os.urandom(6).hex()
        self.identity = " ".join(
            environment.get(name, "-") for name in ("MEGAM_INSTANCE", "MEGAM_FENCING_TOKEN", "MEGAM_NODE")
        )

    def stamp(self, kind):
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        line = f"{now} {kind} {self.identity} {os.getpid()} {self.run} {self.began}\n"
        os.write(self.file, line.encode())

    def stop(self, *_):
        self.stamp("stop")
        os._exit(0)

    def leave_a_process_behind(self):
        if os.fork():
            os.wait()
            return
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.beat()

    def beat(self):
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            self.stamp("heartbeat")


def main():
    stamper = Stamper(os.environ)
    signal.signal(signal.SIGTERM, stamper.stop)
    stamper.stamp("start")
    if os.environ.get("STAMPER_ESCAPES"):
        stamper.leave_a_process_behind()
    print(f"stamping as {stamper.identity}", flush=True)
    stamper.beat()


if __name__ == "__main__":
    sys.exit(main())
