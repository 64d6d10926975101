"""A comparison as a row of a Markdown table."""

from math import comb

COLUMNS = ["row", "what", "a", "b", "pairs", "b/a", "goal", "probe, GB/s", "cores of others", "b's mode", "date"]
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"


def interval(values):
    """The median's interval of at least 95 %, from order statistics, as `monocle-paired` has it for ratios; all values where they are few."""
    ordered, count = sorted(values), len(values)
    below, outside = 0, 0.0
    while below < count // 2 and outside + comb(count, below) / 2**count <= 0.025:
        outside += comb(count, below) / 2**count
        below += 1
    low = max(below - 1, 0)
    return ordered[low], ordered[count - 1 - low]


def median(values):
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def significant(value):
    """Three digits that count."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def figure(value, measure):
    """With its unit."""
    if measure.endswith("_bytes"):
        return f"{value / 1e6:.0f} MB"
    if measure.endswith("tokens_per_s"):
        return f"{significant(value)} tokens/s"
    return f"{significant(value * 1000)} ms" if value < 1 else f"{significant(value)} s"


def verdict(goal, low, high):
    """Met or missed where the whole interval says so."""
    if goal.at_least:
        inside, outside = low >= goal.limit, high < goal.limit
    else:
        inside, outside = high <= goal.limit, low > goal.limit
    return "met" if inside else "missed" if outside else "open: the interval holds it"


def line(name, row, goal, report, mode):
    """The row; `report` is what `monocle-paired --json` wrote."""
    summary = report["summary"]
    ratio = summary["ratio"]
    differences = [(pair["b"]["figure"] - pair["a"]["figure"]) * 1000 for pair in report["pairs"]]
    cell = f"{ratio['median']:.2f} ({ratio['confidence'] * 100:.1f} %: {ratio['low']:.2f} .. {ratio['high']:.2f})"
    if row.measure.endswith("_s") and not row.higher:
        low, high = interval(differences)
        cell += f"; b - a {significant(median(differences))} ms ({significant(low)} .. {significant(high)})"
    wanted = "none"
    if goal:
        low, high = interval(differences) if goal.is_difference else (ratio["low"], ratio["high"])
        unit = " ms" if goal.is_difference else ""
        wanted = f"{'at least' if goal.at_least else 'at most'} {significant(goal.limit)}{unit}: {verdict(goal, low, high)}"
    cells = [
        name, row.what, f"{row.names[0]}: {figure(summary['a']['median'], row.measure)}",
        f"{row.names[1]}: {figure(summary['b']['median'], row.measure)}", str(len(report["pairs"])), cell, wanted,
        significant(summary["probe_bytes_per_s"]["median"] / 1e9), significant(summary["others_cores"] or 0), mode, report["ended"],
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"
