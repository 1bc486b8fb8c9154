"""What a run leaves behind: results.json with every sample, results.md, and charts."""

import json
import os
import platform
import re
import subprocess
import time
from pathlib import Path

import duckdb
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

COLOURS = {"met": "#3a8f5c", "missed": "#c0504d", "unjudged": "#999999", "quick": "#5b7fb5"}
WORDS = {"met": "met", "missed": "**missed**", "unjudged": "not judged", "quick": "quick run",
         "failed": "**not measured**", "shown": ""}


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "not there"
    return (done.stdout or done.stderr).strip().split("\n")[0]


def field_of(path, pattern):
    found = re.search(pattern, Path(path).read_text(), re.M)
    return found[1].strip() if found else ""


def libfuse_version():
    for file in Path("build/deps/fuse3").glob("lib*/**/fuse3.pc"):
        return field_of(file, r"^Version:(.*)")
    return first_line("pkg-config", "--modversion", "fuse3")


def load():
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def machine(work, agnesfs):
    changes = " with changes" if first_line("git", "status", "--porcelain") else ""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "processor": field_of("/proc/cpuinfo", r"^model name\s*:(.*)") or platform.machine(),
        "cores": os.cpu_count(),
        "memory": f"{int(field_of('/proc/meminfo', r'MemTotal:(.*)kB')) / 1e6:.0f} GB",
        "kernel": platform.release(),
        "file system": first_line("findmnt", "-n", "-o", "FSTYPE", "-T", str(work)),
        "agnesfs": first_line(agnesfs, "--version"),
        "commit": first_line("git", "rev-parse", "--short=12", "HEAD") + changes,
        "libfuse": libfuse_version(),
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "curl": first_line("curl", "--version").split(" (")[0],
        "openssl": first_line("openssl", "version"),
        "nginx": first_line("nginx", "-v").split(": ")[-1],
        "load before": load(),
    }


# --- words ---

def amount(value, unit="s"):
    """Seconds with a fitting unit; others as they are."""
    if unit != "s":
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    for scale, name in ((1, "s"), (1e-3, "ms")):
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value * 1e6:.3g} µs"


def series(found, unit):
    if not found:
        return ""
    least, most = min(found.samples), max(found.samples)
    return f"{amount(found.median, unit)} ({amount(least, unit)} to {amount(most, unit)})"


def value_of(row):
    if row.value is None:
        return ""
    digits = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.3g}"
    return f"{digits} {row.unit}".strip()


def as_markdown(bench, facts):
    lines = ["# agnesfs, measured", ""]
    lines += [f"* {key}: {value}" for key, value in facts.items()]
    lines += [f"* rounds: {bench.rounds}, interleaved; medians, in brackets least and most", ""]
    if bench.quick:
        lines += ["A quick run: small sizes, few rounds, nothing judged.", ""]
    lines += ["| # | work | ours | baseline | result | bar | |", "|---|---|---|---|---|---|---|"]
    for row in bench.rows:
        unit = "s" if row.baseline else row.unit
        lines.append("| " + " | ".join([
            row.id, row.what, series(row.ours, unit), series(row.baseline, unit), value_of(row),
            row.bar, WORDS[row.verdict]]) + " |")
    notes = [f"* {row.id} {row.what}: {row.note}" for row in bench.rows if row.note]
    charts = ["", "![How far from each bar](bars.png)", "", "![Ours and the baseline](times.png)"]
    return "\n".join([*lines, "", *notes, *charts]) + "\n"


# --- charts ---

def margin(row):
    """1 is the bar, more is better; None where there is none."""
    if not row.value:
        return None
    if row.at_least is not None:
        return row.value / row.at_least
    return row.at_most / row.value if row.at_most is not None else None


def draw(path, rows, values, colours, texts, title):
    figure, axes = pyplot.subplots(figsize=(9, 0.3 * len(rows) + 1.2))
    places = range(len(rows))[::-1]
    axes.barh(places, [value - 1 for value in values], left=1, color=colours, height=0.7)
    axes.set_xscale("log")
    axes.set_yticks(places, [f"{row.id}  {row.what}" for row in rows], fontsize=8)
    for place, value, text in zip(places, values, texts):
        axes.annotate(text, (value, place), xytext=(4 if value >= 1 else -4, 0), fontsize=7,
                      textcoords="offset points", va="center", ha="left" if value >= 1 else "right")
    axes.set_ylim(-1, len(rows))
    axes.set_xlim(min([*values, 0.5]) / 4, max([*values, 2]) * 4)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130, bbox_inches="tight")
    pyplot.close(figure)


def draw_charts(bench, folder):
    judged = [row for row in bench.rows if margin(row) and margin(row) > 0]
    if judged:
        draw(folder / "bars.png", judged, [margin(row) for row in judged],
             [COLOURS.get(row.verdict, "#999999") for row in judged],
             [f"{value_of(row)}  ({row.bar})" for row in judged],
             "How far from its bar each row is: 1 is the bar, right is better, grey is not judged")
    compared = [row for row in bench.rows if row.baseline]
    if compared:
        draw(folder / "times.png", compared,
             [row.baseline.median / row.ours.median for row in compared],
             ["#5b7fb5"] * len(compared),
             [f"{amount(row.ours.median)}, {row.against} {amount(row.baseline.median)}"
              for row in compared],
             "Speed, where 1 is that of the baseline")


def write(bench, facts, folder):
    folder.mkdir(parents=True, exist_ok=True)
    facts = facts | {"load after": load()}
    document = {"machine": facts, "rounds": bench.rounds, "quick": bench.quick,
                "rows": [row.document() for row in bench.rows]}
    (folder / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (folder / "results.md").write_text(as_markdown(bench, facts))
    draw_charts(bench, folder)
