"""The documents' twelve systems, each by its one config: trained, audited, retrained privately, reported.

Bars: all twelve end to end in under 30 minutes on two cores; accuracy or perplexity as ``BARS`` says; ``xor``
solved from at least 8 of 10 seeds. ``python -m benchmarks.documents`` also writes the table of the README.
"""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.real_data import use_real_data

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "examples" / "documents"
README = ROOT / "README.md"
SYSTEMS = (
    *("xor", "mlp", "mlp-plain", "net", "cnn", "resnet", "vgg"),
    *("rnn", "bert", "transformer-lm", "gpt", "wavenet"),
)
BARS = {
    "cnn": ("accuracy", 0.989),
    "resnet": ("accuracy", 0.992),
    "rnn": ("accuracy", 0.76),
    "gpt": ("perplexity", 6.8),
    "transformer-lm": ("perplexity", 8.5),
    "wavenet": ("perplexity", 8.5),
}
"""Smallest accuracy or largest perplexity on held-out rows."""

TOTAL_S = 1800.0
_MARKS = ("<!-- documents: begin -->", "<!-- documents: end -->")


def run() -> dict[str, object]:
    """Every system in a process of its own, as a user would start it."""
    use_real_data()
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: _one(name, Path(folder)) for name in SYSTEMS}
    total_s = sum(row["seconds"] for row in rows.values())
    write_table(rows)
    return {
        "systems": rows,
        "total_s": round(total_s, 1),
        "bar": {"total_s": TOTAL_S, "quality": {name: list(bar) for name, bar in BARS.items()}},
        "holds": total_s < TOTAL_S and all(row["holds"] for row in rows.values()),
    }


def _one(name: str, folder: Path) -> dict[str, Any]:
    """Train, audit, retrain with DP, audit again and report: one command, one new folder."""
    out = folder / name
    start = time.perf_counter()
    command = [
        *(sys.executable, "-m", "auditkit", "run", str(CONFIGS / f"{name}.yaml"), "--out", str(out)),
        *("--set", f"subject.checkpoint={folder / 'checkpoints' / name}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    seconds = time.perf_counter() - start
    if done.returncode not in {0, 1, 4}:
        raise RuntimeError(f"{name}: exit {done.returncode}\n{done.stderr[-4000:]}")
    return _figures(name, json.loads((out / "run.json").read_text()), out, seconds)


def _figures(name: str, run: dict[str, Any], out: Path, seconds: float) -> dict[str, Any]:
    quality = "perplexity" if _measured(run, "perplexity", "baseline") else "accuracy"
    before = _measured(run, quality, "baseline")
    private = next(card for card in run["subjects"] if card["certificate"])
    after = _measured(run, quality, private["name"])
    assert before is not None, f"{name}: no {quality} of the baseline"
    assert after is not None, f"{name}: no {quality} of {private['name']}"
    verdicts = [finding["verdict"] for finding in run["findings"]]
    skipped = sorted({result["audit"] for result in run["results"] if result["status"] == "skipped"})
    failed = sorted({result["audit"] for result in run["results"] if result["status"] == "failed"})
    reports = [f"report.{code}.html" for code in ("en", "zh")]
    return {
        "data": run["data"]["name"],
        "n": before["n"],
        "parameters": run["subjects"][0]["n_parameters"],
        quality: _rounded(before),
        f"{quality}_private": _rounded(after),
        "epsilon": _up(private["certificate"]["epsilon"], 3),
        "delta": private["certificate"]["delta"],
        "findings": {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
        "skipped": skipped,
        "training_s": round(run["subjects"][0]["training"]["duration_s"], 1),
        "private_training_s": round(private["training"]["duration_s"], 1),
        "seconds": round(seconds, 1),
        "holds": _holds(name, before["value"]) and not failed and all((out / r).exists() for r in reports),
    }


def _measured(run: dict[str, Any], metric: str, subject: str) -> dict[str, Any] | None:
    for result in run["results"]:
        if result["subject"] == subject and result["against"] is None:
            for measurement in result["measurements"]:
                if measurement["metric"] == metric and not measurement["group"]:
                    return dict(measurement)
    return None


def _up(value: float, digits: int) -> float:
    """Rounded up: a privacy bound must not look smaller than it is."""
    return math.ceil(value * 10**digits - 1e-9) / 10**digits


def _rounded(measurement: dict[str, Any]) -> list[float]:
    interval = measurement["interval"]
    return [round(value, 4) for value in (measurement["value"], interval["low"], interval["high"])]


def _holds(name: str, value: float) -> bool:
    if name not in BARS:
        return math.isfinite(value)
    quality, bar = BARS[name]
    return value >= bar if quality == "accuracy" else value <= bar


def write_table(rows: dict[str, dict[str, Any]], readme: Path = README) -> None:
    """Put the table between its marks in the README."""
    text = readme.read_text(encoding="utf-8")
    begin, end = _MARKS
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise RuntimeError(f"{readme}: the marks {begin} and {end} are missing")
    readme.write_text(pattern.sub(f"{begin}\n{table(rows)}\n{end}", text), encoding="utf-8")


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown: one line per system."""
    lines = [
        "| system | data | parameters | held out | with differential privacy | findings | seconds |",
        "|---|---|---:|---:|---:|---|---:|",
    ]
    for name in SYSTEMS:
        row = rows[name]
        quality = "perplexity" if "perplexity" in row else "accuracy"
        before, after = row[quality][0], row[f"{quality}_private"][0]
        form = "{:.1%}" if quality == "accuracy" else "perplexity {:.2f}"
        shown = [form.format(value).replace("%", " %") for value in (before, after)]
        findings = ", ".join(f"{n} {verdict.replace('_', ' ')}" for verdict, n in row["findings"].items())
        lines.append(
            f"| [`{name}`](examples/documents/{name}.yaml) | {row['data']} | {row['parameters']:,} "
            f"| {shown[0]} | {shown[1]} at ε {_up(row['epsilon'], 2):.2f} "
            f"| {findings} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
