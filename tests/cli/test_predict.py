"""``auditkit predict``: the same figures come out of a model and of the table of its predictions."""

import json

import numpy as np
import pytest
from ruamel.yaml import YAML

from auditkit.__main__ import main
from tests.subjects.trained import trained

DIGITS = """\
version: 1
seed: 5
subject:
  checkpoint: checkpoints/digits
  architecture: {name: mlp, hidden: 8}
  training: {epochs: 2, batch_size: 64, learning_rate: 0.01}
data: {source: digits, members: train}
audits: {performance: {}, calibration: {}, membership-inference: {}}
policy: [{figure: performance/accuracy, at_least: 0.5}]
"""
LENDING = """\
version: 1
seed: 5
subject:
  checkpoint: checkpoints/lending
  architecture: {name: tabular-mlp, hidden: [16]}
  training: {epochs: 2, batch_size: 256, learning_rate: 0.01}
data: {source: lending, members: train, control_features: [purpose]}
audits: {performance: {}, calibration: {}, group-fairness: {intersections: true}, membership-inference: {}}
policy:
  - {figure: performance/accuracy, at_least: 0.6}
  - {figure: "group-fairness/selection_rate.ratio[sex]", at_least: 0.8}
  - {figure: membership-inference/auc, at_most: 0.6}
"""
OF_THE_RUN = {"key", "cost"}
"""What differs between any two runs."""


def measured(run: dict) -> list[dict]:
    return [
        {key: value for key, value in result.items() if key not in OF_THE_RUN} for result in run["results"]
    ]


def audited(config, capsys, *words) -> dict:
    main(["run", str(config), "--json", *words])
    return json.loads(capsys.readouterr().out)


def table_config(config, capsys):
    """The config that ``predict`` prints, with audits and policy of the model's config."""
    assert main(["predict", str(config), "--out", "said.parquet"]) == 0
    yaml = YAML(typ="safe", pure=True)
    sections = yaml.load(capsys.readouterr().out)
    own = yaml.load(config.read_text(encoding="utf-8"))
    path = config.with_name("table.yaml")
    path.write_text(json.dumps({**own, **sections}), encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [LENDING, DIGITS], ids=["lending", "digits"])
def test_a_table_gives_the_figures_of_its_model_to_the_last_digit(tmp_path, monkeypatch, capsys, text):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "model.yaml"
    config.write_text(text, encoding="utf-8")
    of_table = audited(table_config(config, capsys), capsys)
    of_model = audited(config, capsys)
    assert {result["status"] for result in of_model["results"]} == {"measured"}
    assert json.dumps(measured(of_table), sort_keys=True) == json.dumps(measured(of_model), sort_keys=True)
    assert of_table["findings"] == of_model["findings"]
    assert of_table["subjects"][0]["classes"] == of_model["subjects"][0]["classes"]


def test_rows_persons_and_weights_travel_with_the_predictions(project, capsys):
    lines = (project.folder / "loans.csv").read_text().splitlines()
    wide = [
        f"{lines[0]},who,weight",
        *(f"{line},p{i // 2},{1 + i % 3}.25" for i, line in enumerate(lines[1:])),
    ]
    (project.folder / "loans.csv").write_text("\n".join(wide) + "\n")
    project.rewrite("  members: train\n", "  members: train\n  person: who\n  weight: weight\n")
    project.rewrite("checkpoints/loans", "checkpoints/weighted")
    project.rewrite("variants:\n  int8: {kind: quantise}\n", "")
    project.rewrite("  attribution: {max_rows: 64}\n", "")
    of_table = audited(table_config(project.config, capsys), capsys)
    of_model = audited(project.config, capsys)
    assert json.dumps(measured(of_table), sort_keys=True) == json.dumps(measured(of_model), sort_keys=True)


def test_json_holds_the_sections_and_nothing_else(project, capsys):
    assert project.auditkit("predict", "loans.yaml", "--out", "said.parquet", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["subject"]["predictions"] == "said.parquet"
    assert document["data"]["score"] == {"no": "log_probability[no]", "yes": "log_probability[yes]"}
    assert document["rows"] == 900


def test_another_format_is_refused(project, capsys):
    assert project.auditkit("predict", "loans.yaml", "--out", "said.csv") == 2
    assert ".parquet" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_leaves_nothing_behind(project, capsys):
    (project.folder / "file").write_text("")
    assert project.auditkit("predict", "loans.yaml", "--out", "file/said.parquet") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not list(project.folder.glob("**/*part*"))


def test_a_model_of_language_has_no_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text("to be or not to be " * 60)
    (tmp_path / "lm.yaml").write_text(
        "version: 1\nsubject: {checkpoint: c, architecture: {name: gpt, width: 8, heads: 1, layers: 1},"
        " training: {epochs: 1}}\ndata: {source: t.txt, length: 8}\naudits: {}\n"
    )
    assert main(["predict", "lm.yaml", "--out", "t.parquet"]) == 2
    assert "needs a classifier" in capsys.readouterr().err


@pytest.mark.parametrize("left_over", [1, 2, 3])
def test_what_is_said_of_a_row_does_not_depend_on_the_size_of_the_last_batch(left_over):
    subject, data = trained(hidden=32)
    whole = subject.predict(data, batch_size=20).log_probabilities
    few = data.take(np.arange(20 + left_over))
    assert np.array_equal(subject.predict(few, batch_size=20).log_probabilities, whole[: len(few)])
