#!/usr/bin/env python3
"""Compares Monocle with its peers: `run.py ROW …`, after `make_models.py FOLDER`. `--list` shows the rows.

Each row is one run of `monocle-paired`, whose report is kept, and one more line in a Markdown table.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from results import HEADER, line
from rows import ROWS, Setting

ROOT = Path(__file__).resolve().parents[2]


def has_vnni():
    """Whether this processor multiplies 8-bit integers in one instruction: some goals depend on it."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="what to compare; `all` is all but those of two builds")
    parser.add_argument("--list", action="store_true", help="show the rows")
    parser.add_argument("--show", action="store_true", help="show the commands and run nothing")
    parser.add_argument("--models", type=Path, default=ROOT / "target/peers/models", help="what make_models.py wrote")
    parser.add_argument("--results", type=Path, default=ROOT / "target/peers", help="where reports and the table `results.md` go")
    parser.add_argument("--monocle", default=str(ROOT / "target/release/monocle"))
    parser.add_argument("--paired", default=str(ROOT / "target/release/monocle-paired"))
    parser.add_argument("--before", help="the one build, for the rows `builds-…`")
    parser.add_argument("--after", help="the other build")
    parser.add_argument("--python", default=sys.executable, help="the Python with requirements.txt")
    parser.add_argument("--processor-python", help="the Python with requirements-processor.txt, if it is another")
    parser.add_argument("--threads", type=int, default=2, help="of each program")
    parser.add_argument("--cores", default="0,1", help="for `stolen-core`: where the program runs")
    parser.add_argument("--busy", default="1", help="for `stolen-core`: which of them is taken")
    parser.add_argument("--pairs", type=int, default=20, help="fewer than 20 are a look, no measurement")
    parser.add_argument("--warm-up", type=int, default=1, help="runs before those that count, of both")
    parser.add_argument("--timeout", type=float, default=600, help="the longest that a run may take, in seconds")
    parser.add_argument("--probe-mib", type=int, default=256, help="memory that the probe reads")
    parser.add_argument("--tokens", type=int, help="the most tokens of an answer, to try whether all runs")
    return parser.parse_args()


def checked(row, commands):
    """Runs both once: that both work, have read as many tokens, and in which mode Monocle ran."""
    printed = []
    for name, command in zip(row.names, commands):
        done = subprocess.run(command, stdout=subprocess.PIPE)
        if done.returncode != 0:
            raise SystemExit(f"{name}: `{shlex.join(command)[:500]}` failed: {done.returncode}")
        printed.append(json.loads(done.stdout))
    if row.same_prompt:
        a, b = (output["prompt"]["tokens"] for output in printed)
        if a != b:
            raise SystemExit(f"expected prompts of the same length: {row.names[0]} read {a} tokens, {row.names[1]} {b}")
    return printed[1].get("host", {}).get("device") or printed[1].get("device", "")


def compare(name, asked, setting, prompts):
    row = ROWS[name]
    commands = [[str(word) for word in command] for command in row.commands(setting, prompts)]
    report = asked.results / f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    words = [
        asked.paired, "--json", str(report), "--pairs", str(asked.pairs), "--warm-up", str(asked.warm_up), "--timeout", str(asked.timeout),
        "--probe-mib", str(asked.probe_mib), "--threads", str(setting.threads), "--measure", row.measure,
        *(["--higher-is-better"] if row.higher else []), "--a", shlex.join(commands[0]), "--b", shlex.join(commands[1]),
    ]
    if asked.show:
        print(f"{name}:\n{shlex.join(words)}\n")
        return
    asked.results.mkdir(parents=True, exist_ok=True)
    mode = checked(row, commands)
    subprocess.run(words, check=True)
    found = line(name, row, row.goal(setting), json.loads(report.read_text()), mode)
    table = asked.results / "results.md"
    with table.open("a") as file:
        file.write((HEADER if table.stat().st_size == 0 else "") + found)
    print(found, end="")


def main():
    asked = arguments()
    if asked.list or not asked.rows:
        for name, row in ROWS.items():
            print(f"{name:22}{row.what}: {row.names[0]} | {row.names[1]}")
        return
    names = [name for name in ROWS if not name.startswith("builds")] if asked.rows == ["all"] else asked.rows
    if unknown := [name for name in names if name not in ROWS]:
        raise SystemExit(f"expected rows of `--list`, found `{unknown[0]}`")
    prompts = asked.models / "prompts.json"
    if not prompts.is_file():
        raise SystemExit(f"`{prompts}` is missing: `make_models.py {asked.models}` makes it")
    setting = Setting(
        monocle=asked.monocle, python=asked.python, processor_python=asked.processor_python or asked.python, models=asked.models,
        threads=asked.threads, cores=asked.cores, busy=asked.busy, before=asked.before, after=asked.after, tokens=asked.tokens,
        has_vnni=has_vnni(),
    )
    for name in names:
        compare(name, asked, setting, json.loads(prompts.read_text()))


if __name__ == "__main__":
    main()
