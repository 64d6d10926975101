#!/usr/bin/env python3
"""Tokens a second of several requests at once: `together.py --count 8 -- MONOCLE bench MODEL …`; prints `{"together_tokens_per_s": …}`."""

import argparse
import json
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True, help="requests at once")
    parser.add_argument("command", nargs="+", help="a `monocle bench`")
    arguments = parser.parse_args()
    words = [*arguments.command, "--concurrent", str(arguments.count), "--json"]
    done = subprocess.run(words, stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"`{words[0]}` failed: {done.returncode}")
    report = json.loads(done.stdout)
    case = next(case for case in report["cases"] if case["concurrent"] == arguments.count and not case["picture"])
    print(json.dumps({
        "host": report["host"],
        "prompt": {"tokens": case["prompt_tokens"]},
        "together_tokens_per_s": case["together_tokens_per_s"]["median"],
    }))


if __name__ == "__main__":
    main()
