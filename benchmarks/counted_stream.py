"""A hundred million predictions in Parquet, counted in a stream.

Bars: at least 15 million rows a second on two cores, peak memory of the process under 1 GB, and ten files
give what one gives, bit for bit.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

ROWS, SHARDS = 100_000_000, 10
ROWS_PER_S, PEAK_B = 15e6, 10**9

COUNT = """
import json, re, sys, time
from pathlib import Path
from typing import Any
from auditkit.config.model import DataConfig
from auditkit.data.counted import counted_rows

config = DataConfig.model_validate({
    "source": sys.argv[1], "counted": True, "target": "y", "prediction": "p", "positive": "1",
    "sensitive_features": ["sex", "region"],
})
start = time.perf_counter()
rows = counted_rows(config, Path(sys.argv[2]))
seconds = time.perf_counter() - start
columns = [*rows.sensitive.values(), rows.labels, rows.prediction]
cells = sorted(zip(*[c.tolist() for c in columns], rows.counts.n.tolist()))
peak_b = 1024 * int(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
print(json.dumps({"seconds": seconds, "peak_b": peak_b, "cells": cells}))
"""


def run() -> dict[str, object]:
    """Write the files, count them once as one and once as ten, each in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder)
        one, ten = _counted("whole.parquet", folder), _counted("part-*.parquet", folder)
    rate, peak_b = ROWS / one["seconds"], max(one["peak_b"], ten["peak_b"])
    return {
        "rows": ROWS,
        "cells": len(one["cells"]),
        "rows_per_s": round(rate),
        "rows_per_s_of_ten_files": round(ROWS / ten["seconds"]),
        "peak_b": peak_b,
        "equal": one["cells"] == ten["cells"],
        "bar": {"rows_per_s": ROWS_PER_S, "peak_b": PEAK_B},
        "holds": rate >= ROWS_PER_S and peak_b < PEAK_B and one["cells"] == ten["cells"],
    }


def _write(folder: Path) -> None:
    rows = (
        "SELECT ['F', 'M'][1 + (hash(i) % 2)::INT] AS sex, 'region ' || (hash(i + 1) % 5) AS region, "
        "(hash(i + 2) % 2)::TINYINT AS y, (hash(i + 3) % 3 = 0)::TINYINT AS p FROM range({start}, {end}) r(i)"
    )
    connection = duckdb.connect()
    for part in range(SHARDS):
        start, end = (ROWS // SHARDS * edge for edge in (part, part + 1))
        query = rows.format(start=start, end=end)
        connection.execute(f"COPY ({query}) TO '{folder}/part-{part}.parquet' (FORMAT PARQUET)")
    parts = f"SELECT * FROM read_parquet('{folder}/part-*.parquet')"
    connection.execute(f"COPY ({parts}) TO '{folder}/whole.parquet' (FORMAT PARQUET)")


def _counted(source: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", COUNT, source, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    started = time.perf_counter()
    print(run(), time.perf_counter() - started)
