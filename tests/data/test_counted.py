"""Counts of predictions: streamed from Parquet, added up, audited without rows."""

import json

import duckdb
import numpy as np
import pytest

from auditkit.__main__ import main
from auditkit.config.model import DataConfig
from auditkit.data.counted import counted_rows
from auditkit.errors import DataError
from auditkit.jobs.audit import audit, prepare_audit

N = 4000
ROLES = {"target": "y", "prediction": "p", "positive": "1", "sensitive_features": ["sex", "race"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("counts")
    connection = duckdb.connect()
    connection.execute(
        f"""CREATE TABLE t AS SELECT i,
        CASE WHEN hash(i) % 10 = 0 THEN NULL ELSE ['F', 'M'][1 + (hash(i) % 2)::INT] END AS sex,
        ['a', 'b', 'c'][1 + (hash(i + 1) % 3)::INT] AS race, (hash(i + 2) % 2)::INT AS y,
        (hash(i + 3) % 3 = 0)::INT AS p, 1 + (hash(i + 4) % 4) AS w FROM range({N}) r(i)"""
    )
    connection.execute(f"COPY t TO '{place}/rows.parquet' (FORMAT PARQUET)")
    for part in range(10):
        connection.execute(
            f"COPY (SELECT * FROM t WHERE i % 10 = {part}) TO '{place}/part-{part}.parquet' (FORMAT PARQUET)"
        )
    connection.execute(
        f"COPY (SELECT sex, race, y, p, count(*) AS size FROM t GROUP BY ALL) TO '{place}/cells.parquet'"
        " (FORMAT PARQUET)"
    )
    return place


def run_of(folder, subject, tmp_path, **data):
    document = {
        "version": 1,
        "subject": subject,
        "data": {**ROLES, **data},
        "audits": {"group-fairness": {"intersections": True}, "performance": {}},
    }
    config = folder / f"{tmp_path.name}.yaml"
    config.write_text(json.dumps(document))
    return audit(prepare_audit(config), out=tmp_path / "run")[0]


def figures(run):
    (found,) = [result for result in run.results if result.audit == "group-fairness"]
    return found.model_dump(include={"measurements", "evidence"})


@pytest.mark.parametrize("data", [{}, {"weight": "w"}])
def test_counts_give_the_figures_of_the_rows(folder, tmp_path, data):
    rows = run_of(folder, {"predictions": "rows.parquet"}, tmp_path / "rows", **data)
    counts = run_of(folder, {"counts": "rows.parquet"}, tmp_path / "counts", **data)
    assert figures(counts) == figures(rows)
    assert counts.data.n_rows == rows.data.n_rows == N
    assert counts.data.groups == rows.data.groups


def test_ten_shards_and_a_table_counted_elsewhere_give_the_same_to_the_last_digit(folder, tmp_path):
    whole = run_of(folder, {"counts": "rows.parquet"}, tmp_path / "whole")
    shards = run_of(folder, {"counts": "part-*.parquet"}, tmp_path / "shards")
    cells = run_of(folder, {"counts": "cells.parquet"}, tmp_path / "cells", count="size")
    assert figures(whole) == figures(shards) == figures(cells)


def test_audits_of_single_rows_are_skipped_with_the_reason(folder, tmp_path):
    run = run_of(folder, {"counts": "rows.parquet"}, tmp_path)
    (performance,) = [result for result in run.results if result.audit == "performance"]
    assert performance.status == "skipped"
    assert "rows one by one" in str(performance.reason)


def test_the_option_replaces_subject_and_data_of_a_config(folder, tmp_path):
    document = {
        "version": 1,
        "subject": {"architecture": "tabular-mlp", "training": {}},
        "data": {**ROLES, "source": "lending", "members": "train"},
        "variants": {"int8": {"kind": "quantise"}},
        "audits": {"group-fairness": {}},
    }
    config = tmp_path / "audit.yaml"
    config.write_text(json.dumps(document))
    table = str(folder / "rows.parquet")
    assert main(["run", str(config), "--counts", table, "--out", str(tmp_path / "run"), "--json"]) == 0
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["data"]["n_rows"] == N
    assert [card["name"] for card in run["subjects"]] == ["baseline"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"target": "z"}, "no column 'z'"),
        ({"prediction": None}, "data.prediction is not set"),
        ({"person": "i"}, "data.person is about single rows"),
        ({"members": "train"}, "data.members is about single rows"),
        ({"count": "w", "weight": "w"}, "have lost the weights"),
        ({"source": "absent.parquet"}, "no such file"),
        ({"source": "none-*.parquet"}, "no file has such a name"),
        ({"source": "rows.csv"}, "Parquet"),
        ({"weight": "sex"}, "sum"),
    ],
)
def test_what_cannot_be_counted_is_said(folder, data, said):
    config = DataConfig.model_validate({"source": "rows.parquet", "counted": True, **ROLES, **data})
    with pytest.raises(DataError, match=said):
        counted_rows(config, folder)


def test_a_damaged_file_and_a_negative_count_are_refused(folder, tmp_path):
    (tmp_path / "bad.parquet").write_bytes((folder / "rows.parquet").read_bytes()[:500])
    config = DataConfig.model_validate({"source": "bad.parquet", "counted": True, **ROLES})
    with pytest.raises(DataError, match=r"bad\.parquet"):
        counted_rows(config, tmp_path)
    duckdb.execute(
        f"COPY (SELECT 'F' AS sex, 'a' AS race, 1 AS y, 1 AS p, -3 AS size) TO '{tmp_path}/neg.parquet'"
        " (FORMAT PARQUET)"
    )
    config = DataConfig.model_validate({"source": "neg.parquet", "counted": True, "count": "size", **ROLES})
    with pytest.raises(DataError, match="whole numbers from 0"):
        counted_rows(config, tmp_path)


def test_missing_groups_are_unknown_and_stay(folder):
    config = DataConfig.model_validate({"source": "rows.parquet", "counted": True, **ROLES})
    rows = counted_rows(config, folder)
    missing = np.array([value is None for value in rows.sensitive["sex"]])
    assert 0 < rows.counts.n[missing].sum() < N
    assert rows.counts.n.sum() == N
