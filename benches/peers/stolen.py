#!/usr/bin/env python3
"""Runs a command on some cores while another process keeps one of them busy: `stolen.py --cores 0,1 --busy 1 -- COMMAND`.

With `--busy none` nothing is busy. The busy process ends with the command, with this program, and after `--seconds` at the latest.
"""

import argparse
import os
import subprocess
import sys
import time

BUSY = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
parent, end = int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
print("busy", flush=True)
while time.monotonic() < end and os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", default="0,1", help="where the command runs")
    parser.add_argument("--busy", default="1", help="the core that is kept busy, or `none`")
    parser.add_argument("--seconds", type=float, default=300, help="the longest that it is")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {int(core) for core in arguments.cores.split(",")})
    busy = None
    if arguments.busy != "none":
        words = [sys.executable, "-S", "-c", BUSY, arguments.busy, str(os.getpid()), str(arguments.seconds)]
        busy = subprocess.Popen(words, stdout=subprocess.PIPE)
        if busy.stdout.readline().strip() != b"busy":
            sys.exit(f"expected a process on core {arguments.busy}: there is no such core, or it may not be used")
        # Until the scheduler has it where it stays.
        time.sleep(0.2)
    try:
        code = subprocess.run(arguments.command, timeout=arguments.seconds).returncode
        if busy and busy.poll() is not None:
            sys.exit(f"the busy process ended before the command; `--seconds` gives it longer than {arguments.seconds}")
    finally:
        if busy:
            busy.kill()
            busy.wait()
    sys.exit(code)


if __name__ == "__main__":
    main()
