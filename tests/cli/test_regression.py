"""A model that foretells a number, from a table to the report."""

import dataclasses
import shutil

import duckdb
import numpy as np
import pytest

from auditkit.__main__ import main
from auditkit.config import load_config
from auditkit.records import Run, figure_address
from tests.cli.conftest import UserProject
from tests.tolerances import FLOAT

CONFIG = """\
version: 1
seed: 3
subject:
  checkpoint: checkpoints/homes
  architecture: {name: tabular-mlp, hidden: [16]}
  training: {learning_rate: 0.02, batch_size: 64, epochs: 8}
data:
  source: homes.csv
  target: price
  task: regression
  sensitive_features: [sex]
audits:
  regression-error: {}
  regression-fairness: {n_permutations: 19, n_bootstrap: 50}
policy:
  - {figure: regression-error/r2, at_least: 0.5}
report: {languages: [en, zh]}
"""


def write_homes(path, *, n=700):
    """Prices that depend on area and town, and are asked of women a little more."""
    rng = np.random.default_rng(5)
    sex = rng.choice(["female", "male", ""], n, p=[0.45, 0.5, 0.05])
    area, town = rng.normal(80, 25, n), rng.choice(["north", "south"], n)
    price = 2000 * area + 30000 * (town == "north") + rng.normal(0, 15000, n) + 100000
    lines = ["sex,area,town,price"]
    lines += [f"{s},{a:.2f},{t},{p:.2f}" for s, a, t, p in zip(sex, area, town, price, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Homes(UserProject):
    @property
    def config(self):
        return self.folder / "homes.yaml"

    def set_line(self, old, new):
        table = self.folder / "homes.csv"
        lines = table.read_text(encoding="utf-8").splitlines()
        lines[5] = lines[5].rsplit(",", 1)[0] + f",{new}"
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def trained_homes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("homes")
    write_homes(folder / "homes.csv")
    (folder / "homes.yaml").write_text(CONFIG, encoding="utf-8")
    assert main(["train", str(folder / "homes.yaml")]) == 0
    return folder


@pytest.fixture
def homes(trained_homes, tmp_path, monkeypatch):
    folder = tmp_path / "homes"
    shutil.copytree(trained_homes, folder)
    monkeypatch.chdir(folder)
    return Homes(folder)


def figures(run: Run):
    return {figure_address(result, one): one for result in run.results for one in result.measurements}


def run_of(homes, capsys, *words) -> Run:
    capsys.readouterr()
    homes.auditkit("run", *(words or ("homes.yaml",)), "--json")
    return Run.model_validate_json(capsys.readouterr().out)


def test_a_run_ends_in_a_report_in_both_languages_and_exit_code_zero(homes):
    assert homes.auditkit("run", "homes.yaml") == 0
    (folder,) = (homes.folder / "runs").iterdir()
    assert {"report.en.html", "report.zh.html", "run.json"} <= {path.name for path in folder.iterdir()}
    page = (folder / "report.en.html").read_text(encoding="utf-8")
    assert "Mean absolute error" in page
    assert "female" in page


def test_a_rule_that_is_breached_gives_exit_code_one(homes):
    homes.rewrite("at_least: 0.5", "at_least: 0.999")
    assert homes.auditkit("run", "homes.yaml") == 1


def test_answers_are_in_the_unit_of_the_target(homes, capsys):
    found = figures(run_of(homes, capsys))
    assert 10_000 < found["regression-error/mean_absolute_error@baseline"].value < 30_000
    assert found["regression-error/r2@baseline"].value > 0.8
    assert found["regression-fairness/mean_prediction[sex=female]@baseline"].value > 200_000


def test_the_predictions_as_a_table_give_the_same_figures(homes, capsys):
    before = figures(run_of(homes, capsys))
    assert homes.auditkit("predict", "homes.yaml", "--out", "said.parquet") == 0
    sections = capsys.readouterr().out
    audits = CONFIG[CONFIG.index("audits:") :]
    (homes.folder / "table.yaml").write_text("version: 1\nseed: 3\n" + sections + audits, encoding="utf-8")
    after = figures(run_of(homes, capsys, "table.yaml"))
    assert before.keys() == after.keys()
    for address, one in before.items():
        assert after[address].value == pytest.approx(one.value, **FLOAT), address


def test_a_function_that_foretells_numbers_is_audited(homes, capsys):
    (homes.folder / "pricing.py").write_text(
        "def predict(rows):\n"
        "    return (2000 * rows['area'] + 30000 * (rows['town'] == 'north') + 100000).to_numpy()\n",
        encoding="utf-8",
    )
    start, end = CONFIG.index("  checkpoint"), CONFIG.index("data:")
    homes.rewrite(CONFIG[start:end], "  function: pricing:predict\n")
    found = figures(run_of(homes, capsys))
    assert abs(found["regression-error/bias@baseline"].value) < 4 * 15_000 / np.sqrt(210)


@pytest.mark.parametrize(
    ("module", "answer", "message"),
    [
        ("texts_said", "['a'] * len(rows)", "expected one number per row"),
        ("pairs_said", "rows[['area', 'area']].to_numpy()", "(256,): one number per row"),
        ("infinities_said", "rows['area'].to_numpy() / 0", "NaN or infinite"),
    ],
)
def test_a_function_that_does_not_foretell_numbers_is_refused(homes, capsys, module, answer, message):
    (homes.folder / f"{module}.py").write_text(
        f"import warnings\nwarnings.simplefilter('ignore')\ndef predict(rows):\n    return {answer}\n",
        encoding="utf-8",
    )
    start, end = CONFIG.index("  checkpoint"), CONFIG.index("data:")
    homes.rewrite(CONFIG[start:end], f"  function: {module}:predict\n")
    assert homes.auditkit("run", "homes.yaml") == 2
    assert message in capsys.readouterr().err


def test_audits_of_classes_are_skipped_with_the_reason(homes, capsys):
    homes.rewrite("audits:\n", "audits:\n  performance: {}\n  attribution: {}\n  group-fairness: {}\n")
    run = run_of(homes, capsys)
    status = {result.audit: result for result in run.results}
    assert {status[name].status for name in ("performance", "attribution", "group-fairness")} == {"skipped"}
    assert "predicts classes" in str(status["performance"].reason)


def test_audits_of_numbers_are_skipped_on_a_classifier(project, capsys):
    project.rewrite("audits:\n", "audits:\n  regression-error: {}\n")
    project.auditkit("run", "loans.yaml", "--only", "regression-error,performance", "--json")
    run = Run.model_validate_json(capsys.readouterr().out)
    skipped = next(result for result in run.results if result.audit == "regression-error")
    assert "data.task: regression" in str(skipped.reason)


def test_an_int8_variant_is_compared_row_by_row(homes, capsys):
    homes.rewrite("audits:\n", "variants:\n  int8: {kind: quantise}\naudits:\n")
    found = figures(run_of(homes, capsys))
    change = found["regression-error/mean_absolute_error.change@int8~baseline"]
    assert abs(change.value) < 1000


@pytest.mark.parametrize("kind", ["{kind: dp-retrain, epsilon: 3}", "{kind: mitigate, method: reweighing}"])
def test_variants_for_labels_are_refused_before_work(homes, capsys, kind):
    homes.rewrite("audits:\n", f"variants:\n  other: {kind}\naudits:\n")
    assert homes.auditkit("run", "homes.yaml", "--dry-run") == 2
    assert "data.task is regression" in capsys.readouterr().err


def test_private_retraining_is_refused_by_name(homes, capsys):
    assert homes.auditkit("retrain", "homes.yaml", "--epsilon", "3") == 2
    assert "data.task is regression" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("unknown", "1 rows hold other text, such as 'unknown'"),
        ("", "is missing in 1 of 700 rows"),
        ("inf", "is infinite in 1 of 700 rows"),
    ],
)
def test_a_target_that_is_no_number_somewhere_is_refused(homes, capsys, value, message):
    homes.set_line(5, value)
    assert homes.auditkit("run", "homes.yaml") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("key", ["positive: yes", "score: price", "text: town", "count: area"])
def test_keys_for_labels_are_refused_with_the_remedy(homes, capsys, key):
    homes.rewrite("  task: regression\n", f"  task: regression\n  {key}\n")
    assert homes.auditkit("run", "homes.yaml") == 2
    error = capsys.readouterr().err
    assert f"{key.partition(':')[0]}: would be about labels" in error


def test_a_model_of_labels_and_a_model_of_numbers_are_not_mixed_up(homes, project, capsys):
    for one, task in ((homes, "classification"), (project, "regression")):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(one.folder)
            extra = ("--set", "data.positive=null") if task == "regression" else ()
            words = ("run", one.config.name, "--set", f"data.task={task}", *extra)
            assert one.auditkit(*words) == 2
    error = capsys.readouterr().err
    assert "foretells a number; write data.task: regression" in error
    assert "tells classes" in error


@pytest.mark.parametrize("name", ["net", "cnn", "bert"])
def test_architectures_that_tell_classes_are_refused(homes, capsys, name):
    homes.rewrite("{name: tabular-mlp, hidden: [16]}", name)
    shutil.rmtree(homes.folder / "checkpoints")
    assert homes.auditkit("run", "homes.yaml") == 2
    assert "mlp, tabular-mlp" in capsys.readouterr().err


def test_a_config_is_proposed_for_a_target_that_is_a_number(homes):
    assert homes.auditkit("init", "new.yaml", "--data", "homes.csv") == 0
    config, _ = load_config(homes.folder / "new.yaml")
    assert config.data.task == "regression"
    assert set(config.audits) >= {"regression-error", "regression-fairness"}
    assert config.data.sensitive_features == ("sex",)


def test_too_many_labels_that_are_numbers_suggest_the_task(homes, capsys, tmp_path):
    write_homes(homes.folder / "homes.csv", n=2000)
    shutil.rmtree(homes.folder / "checkpoints")
    homes.rewrite("  task: regression\n", "")
    assert homes.auditkit("run", "homes.yaml") == 2
    assert "write data.task: regression" in capsys.readouterr().err


def test_the_table_of_predictions_holds_outcomes_and_numbers(homes, capsys):
    homes.auditkit("predict", "homes.yaml", "--out", "said.parquet")
    (rows,) = duckdb.sql("SELECT avg(abs(price - prediction)), count(*) FROM 'said.parquet'").fetchall()
    error = figures(run_of(homes, capsys))["regression-error/mean_absolute_error@baseline"]
    assert rows == (pytest.approx(error.value, **FLOAT), error.n)
