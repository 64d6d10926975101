#!/usr/bin/env python3
"""Runs a command and prints the JSON that it prints, with `timings/whole_s`: the seconds from its start to its end."""

import json
import subprocess
import sys
import time


def main():
    command = sys.argv[1:]
    if not command:
        sys.exit("expected a command")
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"`{command[0]}` failed: {done.returncode}")
    try:
        printed = json.loads(done.stdout)
    except ValueError:
        printed = {}
    printed.setdefault("timings", {})["whole_s"] = seconds
    print(json.dumps(printed))


if __name__ == "__main__":
    main()
