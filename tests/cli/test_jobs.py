"""``train``, ``retrain``, ``init``, ``audits`` and ``config`` from the outside."""

import json

import pytest
from pydantic import TypeAdapter

from auditkit.config import RunConfig
from auditkit.privacy.accounting import epsilon_prv


def test_train_writes_weights_and_card(project):
    folder = project.folder / "checkpoints" / "loans"
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert (folder / "model.safetensors").exists()
    record = card["training"]
    assert record["steps"] > 0
    assert record["duration_s"] > 0
    assert record["samples_per_s"] > 0
    assert len(record["data_digest"]) == 64


def test_an_audit_of_a_checkpoint_needs_no_training_rows(project):
    """The preprocessing travels with the checkpoint: the training file may be gone."""
    rows = (project.folder / "loans.csv").read_text(encoding="utf-8").splitlines()
    (project.folder / "later.csv").write_text("\n".join([rows[0], *rows[-120:]]) + "\n", encoding="utf-8")
    (project.folder / "loans.csv").unlink()
    project.rewrite("source: loans.csv", "source: later.csv\n  split: all")
    project.rewrite("  members: train\n", "")
    assert project.auditkit("run", "loans.yaml", "--only", "performance") == 0


def test_retrain_leaves_a_checkpoint_whose_certificate_holds(project, capsys):
    assert project.auditkit("retrain", "loans.yaml", "--epsilon", "3", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    certificate = document["certificate"]
    recomputed = epsilon_prv(
        certificate["noise_multiplier"],
        certificate["sample_rate"],
        certificate["steps"],
        certificate["delta"] - certificate["failure_probability"],
    )
    assert certificate["epsilon"] == pytest.approx(recomputed, rel=1e-6)
    assert certificate["epsilon"] <= 3
    assert certificate["certified"]
    assert (project.folder / "checkpoints" / "loans-dp-3" / "card.json").exists()


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan", "inf"])
def test_a_budget_that_is_no_budget_is_refused(project, epsilon, capsys):
    assert project.auditkit("retrain", "loans.yaml", "--epsilon", epsilon) == 2
    assert "epsilon" in capsys.readouterr().err


def test_init_from_a_table_gives_a_config_that_runs(project):
    assert project.auditkit("init", "mine.yaml", "--data", "loans.csv") == 0
    text = (project.folder / "mine.yaml").read_text(encoding="utf-8")
    assert 'target: "granted"' in text
    assert 'positive: "yes"' in text
    assert '["sex"]' in text
    assert project.auditkit("run", "mine.yaml", "--dry-run") == 0


def with_columns(path, **columns) -> None:
    """Put columns before those of the table."""
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    front = zip(*columns.values(), strict=True)
    rows = [",".join([*map(str, cells), line]) for cells, line in zip(front, lines, strict=True)]
    path.write_text("\n".join([",".join([*columns, head]), *rows]) + "\n", encoding="utf-8")


def test_init_leaves_out_what_names_rows_and_keeps_what_is_measured(project, capsys):
    with_columns(
        project.folder / "loans.csv",
        client_id=[(7 * k) % 907 + 10_000 for k in range(900)],
        reference=[f"L-{k * k}" for k in range(900)],
        height=[150 + k / 97 for k in range(900)],
        width=[f"{k} cm" for k in range(900)],
        wealth=[1000 + 3 * k for k in range(900)],
        line=range(1, 901),
    )
    assert project.auditkit("init", "mine.yaml", "--data", "loans.csv") == 0
    said = capsys.readouterr()
    assert "client_id, reference, line (data.drop;" in said.err
    assert "client_id" not in said.out
    (drop,) = [line for line in (project.folder / "mine.yaml").read_text().splitlines() if "drop:" in line]
    assert drop.startswith('  drop: ["client_id", "reference", "line"]      # guessed: no two rows are alike')
    assert project.auditkit("run", "mine.yaml", "--dry-run") == 0


def test_init_takes_no_column_of_a_few_rows_for_a_name(project, capsys):
    lines = (project.folder / "loans.csv").read_text(encoding="utf-8").splitlines()[:19]
    (project.folder / "loans.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with_columns(project.folder / "loans.csv", client_id=range(18))
    assert project.auditkit("init", "mine.yaml", "--data", "loans.csv") == 0
    assert "data.drop" not in capsys.readouterr().err
    assert "# drop: [id]" in (project.folder / "mine.yaml").read_text()


WRITTEN = [f"The {one} film was {two}, and {three}" for one in ("first", "second", "last", "new", "old")
           for two in ("fine", "dull", "long", "warm") for three in ("I laughed", "I slept")]  # fmt: skip


def test_init_leaves_texts_out_of_the_inputs_of_a_table_and_says_how_they_are_read(project, capsys):
    remarks = [f"{WRITTEN[k % 40]} {k // 2}" for k in range(900)]
    with_columns(project.folder / "loans.csv", remark=[f'"{remark}"' for remark in remarks])
    assert project.auditkit("init", "mine.yaml", "--data", "loans.csv") == 0
    assert "as they hold texts: remark (data.drop)." in capsys.readouterr().err
    (drop,) = [line for line in (project.folder / "mine.yaml").read_text().splitlines() if "drop:" in line]
    assert drop.startswith('  drop: ["remark"]      # guessed: texts (remark) are read one by one: data.text')
    assert project.auditkit("run", "mine.yaml", "--dry-run") == 0


@pytest.mark.parametrize("words", [WRITTEN, ["这部电影很好看我很喜欢", "剧情无聊浪费时间真的"] * 20])
def test_init_of_texts_and_labels_alone_gives_an_audit_of_a_text_classifier(project, words):
    lines = [f'{k},"{text} {k}",{"good" if k % 2 else "bad"},f' for k, text in enumerate(words)]
    (project.folder / "reviews.csv").write_text("\n".join(["id,review,label,gender", *lines]) + "\n")
    assert project.auditkit("init", "mine.yaml", "--data", "reviews.csv", "--target", "label") == 0
    text = (project.folder / "mine.yaml").read_text(encoding="utf-8")
    for line in ('text: "review"', 'target: "label"', 'positive: "good"', 'sensitive_features: ["gender"]'):
        assert f"  {line}" in text
    assert "  # dp-8: {" in text
    assert project.auditkit("run", "mine.yaml", "--dry-run") == 0


def test_init_of_a_table_without_texts_by_the_template_of_texts_says_what_is_wrong(project, capsys):
    words = ("init", "mine.yaml", "--data", "loans.csv", "--template")
    assert project.auditkit(*words, "text") == 2
    assert "no column of loans.csv holds texts" in capsys.readouterr().err
    assert project.auditkit(*words, "image") == 2
    assert "leave out --data" in capsys.readouterr().err
    assert not (project.folder / "mine.yaml").exists()


def test_init_does_not_overwrite(project, capsys):
    assert project.auditkit("init", "loans.yaml") == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize("template", ["tabular", "image", "text", "lm"])
def test_every_template_is_a_valid_config(project, template):
    assert project.auditkit("init", "new.yaml", "--template", template) == 0
    assert project.auditkit("config", "show", "new.yaml") == 0


def test_the_schema_accepts_what_the_config_accepts(project, capsys):
    assert project.auditkit("config", "schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == set(RunConfig.model_fields)
    assert TypeAdapter(RunConfig).json_schema()["properties"].keys() == schema["properties"].keys()


def test_audits_lists_and_describes(project, capsys):
    assert project.auditkit("audits") == 0
    assert "group-fairness" in capsys.readouterr().out
    assert project.auditkit("audits", "membership-inference", "--json") == 0
    description = json.loads(capsys.readouterr().out)
    assert description["limits"]


def test_audits_of_an_unknown_name_gives_the_closest(project, capsys):
    assert project.auditkit("audits", "calibraton") == 2
    assert "'calibration'" in capsys.readouterr().err
