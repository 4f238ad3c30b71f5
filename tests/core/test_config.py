"""Reading a config: every problem at once, each at its line, in words that help."""

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.config import RunConfig, load_config, read_document
from auditkit.errors import ConfigError, Problem
from tests.core.schema import is_valid

ROOT = Path(__file__).parents[2]

MINIMAL = "version: 1\nsubject: {checkpoint: model.safetensors}\ndata: {source: adult}\n"


@pytest.fixture
def config(tmp_path):
    """Writes a config and loads it."""

    def load(text, *overrides, checks=()):
        path = tmp_path / "audit.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, overrides=overrides, checks=checks)[0]

    return load


@pytest.fixture
def refused(tmp_path):
    """Writes a config, expects it to be refused, and returns the message without the folder."""

    def load(text, *overrides, checks=()):
        path = tmp_path / "audit.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigError) as caught:
            load_config(path, overrides=overrides, checks=checks)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return load


def test_a_minimal_config_gets_the_documented_defaults(config):
    loaded = config(MINIMAL)
    assert (loaded.seed, loaded.execution.executor, loaded.execution.batch_size) == (0, "serial", 256)
    assert loaded.report.languages == ("en",)
    assert loaded.policy == ()


# --- problems and their places ---------------------------------------------------------------------


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(refused):
    text = "version: 1\nsubject:\n  checkpiont: a\n  architecture: mlp\ndata:\n  split: test\nseed: -1\n"
    assert refused(text).splitlines() == [
        "audit.yaml:3:3: subject.checkpiont: unknown key 'checkpiont'. Did you mean 'checkpoint'? "
        "Known: architecture, checkpoint, counts, function, hf, inputs, keras, name, "
        "onnx, predictions, sklearn, training, trust.",
        "audit.yaml:5:1: data.source: is required and missing",
        "audit.yaml:7:1: seed: input should be greater than or equal to 0, got -1",
    ]


def test_a_problem_inside_a_list_stands_at_its_item(refused):
    text = MINIMAL + "policy:\n  - {figure: performance/accuracy, at_least: 0.8}\n  - {figure: a/b}\n"
    assert refused(text) == "audit.yaml:6:5: policy.1: a rule needs at_least or at_most (or both)"


def test_a_problem_in_an_inline_mapping_has_its_column(refused):
    text = "version: 1\nsubject: {checkpoint: m, color: red}\ndata: {source: adult}\n"
    assert refused(text).startswith("audit.yaml:2:26: subject.color: unknown key 'color'.")


def test_problems_of_further_checks_join_those_of_the_schema(refused):
    def check(values):
        yield Problem(f"no audit is called {next(iter(values['audits']))!r}", ("audits", "perf"))

    text = MINIMAL + "seed: -1\naudits:\n  perf: {}\n"
    assert refused(text, checks=[check]).splitlines() == [
        "audit.yaml:4:1: seed: input should be greater than or equal to 0, got -1",
        "audit.yaml:6:3: audits.perf: no audit is called 'perf'",
    ]


def test_a_further_check_alone_refuses_a_config_that_the_schema_accepts(refused):
    assert refused(MINIMAL, checks=[lambda _: [Problem("too small", ("data",))]]) == (
        "audit.yaml:3:1: data: too small"
    )


def test_an_unsupported_version_is_refused(refused):
    assert (
        refused(MINIMAL.replace("version: 1", "version: 2"))
        == "audit.yaml:1:1: version: input should be 1, got 2"
    )


def test_a_subject_without_any_source_says_what_to_give(refused):
    message = refused("version: 1\nsubject: {name: x}\ndata: {source: adult}\n")
    assert message.startswith("audit.yaml:2:1: subject: nothing to audit: give checkpoint: PATH")


@pytest.mark.parametrize("name", ["baseline", "dp 3", "../x", "a@b", "a~b"])
def test_a_variant_name_that_would_break_an_address_is_refused(refused, name):
    text = MINIMAL + f"variants:\n  {json.dumps(name)}: {{kind: quantise}}\n"
    assert f"variant name {name!r} is not usable" in refused(text)


def test_thresholds_that_exclude_each_other_are_refused(refused):
    text = MINIMAL + "policy:\n  - {figure: a/b, at_least: 0.9, at_most: 0.1}\n"
    assert refused(text) == "audit.yaml:5:5: policy.0: at_least 0.9 exceeds at_most 0.1"


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_a_number_that_is_not_finite_is_refused(refused, value):
    assert "audit.yaml:5:19: policy.0.at_least: input should be a finite number" in refused(
        MINIMAL + f"policy:\n  - {{figure: a/b, at_least: {value}}}\n"
    )
    text = MINIMAL.replace("checkpoint: m", f"training: {{learning_rate: {value}}}, checkpoint: m")
    assert "training.learning_rate: input should be" in refused(text)


# --- YAML ------------------------------------------------------------------------------------------


def test_a_duplicate_key_is_refused_at_its_line(refused):
    assert refused(MINIMAL + "seed: 1\nseed: 2\n").startswith('audit.yaml:5:1: found duplicate key "seed"')


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "audit.yaml: expected a mapping of keys such as 'version: 1', got an empty file"),
        ("- a\n", "audit.yaml: expected a mapping of keys such as 'version: 1', got a list"),
        ("version: [1,\n", "audit.yaml:2:1: "),
        ("a: b: c\n", "audit.yaml:1:5: "),
        ("a: 1\n---\nb: 2\n", "audit.yaml:2:1: "),
        (b"a: \xff\n", "audit.yaml: cannot be read as UTF-8 text"),
        (b"a: \x01\n", "audit.yaml: not YAML"),
        ("[" * 500, "audit.yaml: not YAML: maximum recursion depth"),
    ],
    ids=["empty", "list", "unclosed", "two colons", "two documents", "not utf-8", "control", "deep"],
)
def test_what_is_not_one_yaml_mapping_is_refused(refused, text, start):
    assert refused(text).startswith(start)


def test_an_absent_file_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file. `auditkit init .*` writes a commented one"):
        load_config(tmp_path / "absent.yaml")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.5E3", 1500.0),
        ("yes", "yes"),
        ("no", "no"),
        ("true", True),
        ("&a true", True),
        ("017", 17),
        ("0o17", 15),
        ("2020-01-01", "2020-01-01"),
        ("~", None),
        ("'7'", "7"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_says(tmp_path, text, value):
    path = tmp_path / "a.yaml"
    path.write_text(f"key: {text}\n")
    read = read_document(path).values["key"]
    assert (read, type(read)) == (value, type(value))


def test_a_merged_key_is_placed_at_the_mapping_that_merges_it(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("base: &b {x: 1}\nuse:\n  <<: *b\n  y: 2\n")
    document = read_document(path)
    assert document.values["use"] == {"x": 1, "y": 2}
    assert document.locate(("use", "x")) == f"{path}:2:1"
    assert document.locate(("use", "y")) == f"{path}:4:3"


def test_a_tag_executes_nothing(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(f"a: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    read_document(path)
    assert not (tmp_path / "made").exists()


def test_a_short_file_that_expands_to_billions_is_refused(refused):
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert (
        refused("\n".join(levels)) == "audit.yaml: has more than 100,000 keys once its aliases are resolved"
    )


# --- shorthand -------------------------------------------------------------------------------------


def test_audits_without_parameters_may_be_left_empty(config):
    assert config(MINIMAL + "audits:\n  performance:\n  calibration: {}\n").audits == {
        "performance": {},
        "calibration": {},
    }


def test_an_architecture_may_be_a_bare_name_or_a_mapping(config):
    bare = MINIMAL.replace("{checkpoint: model.safetensors}", "{architecture: mlp}")
    full = MINIMAL.replace("{checkpoint: model.safetensors}", "{architecture: {name: mlp, hidden: 8}}")
    assert config(bare).subject.architecture.parameters == {}
    assert config(full).subject.architecture.parameters == {"hidden": 8}


@pytest.mark.parametrize(("text", "label"), [("1", "1"), ("true", "True"), ("'>50K'", ">50K")])
def test_the_favourable_label_may_look_like_a_number(config, text, label):
    assert config(MINIMAL.replace("adult}", f"adult, positive: {text}}}")).data.positive == label


# --- overrides -------------------------------------------------------------------------------------


def test_an_override_changes_one_value_and_is_read_as_yaml(config):
    loaded = config(MINIMAL, "seed=9", "data.sensitive_features=[sex, race]", "data.test_fraction=1e-1")
    assert loaded.seed == 9
    assert loaded.data.sensitive_features == ("sex", "race")
    assert loaded.data.test_fraction == 0.1


def test_an_override_reaches_into_a_list(config):
    text = MINIMAL + "policy:\n  - {figure: a/b, at_least: 0.1}\n  - {figure: c/d, at_least: 0.2}\n"
    assert [rule.at_least for rule in config(text, "policy.1.at_least=0.7").policy] == [0.1, 0.7]


def test_an_override_makes_the_sections_it_needs(config):
    assert config(MINIMAL, "variants.dp-3.kind=dp-retrain").variants["dp-3"].kind == "dp-retrain"


def test_a_later_override_wins(config):
    assert config(MINIMAL, "seed=1", "seed=2").seed == 2


def test_a_problem_caused_by_an_override_is_placed_there(refused):
    assert refused(MINIMAL, "seed=-3") == (
        "--set seed=-3: seed: input should be greater than or equal to 0, got -3"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "expected KEY=VALUE such as data.split=test"),
        ("=1", "expected KEY=VALUE"),
        ("a..b=1", "expected KEY=VALUE"),
        ("seed=[1", "the value is not YAML"),
        ("seed=&a [*a]", "the value is not YAML"),
        ("policy.5.at_least=1", "'5' is not an index of a list of 1"),
        ("policy.-1.at_least=1", "'-1' is not an index of a list of 1"),
        ("policy.².at_least=1", "'²' is not an index of a list of 1"),
        ("report.languages.0.x=1", "'en' is a single value and has no key 'x'"),
    ],
)
def test_a_malformed_override_is_refused(refused, override, message):
    text = MINIMAL + "policy: [{figure: a/b, at_least: 1}]\nreport: {languages: [en]}\n"
    assert message in refused(text, override)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(key=st.text(max_size=12), value=st.text(max_size=12))
def test_no_override_causes_anything_but_a_config_error(tmp_path_factory, key, value):
    path = tmp_path_factory.mktemp("set") / "a.yaml"
    path.write_text(MINIMAL)
    with contextlib.suppress(ConfigError):
        load_config(path, overrides=[f"{key}={value}"])


# --- JSON Schema -----------------------------------------------------------------------------------


def _published_configs() -> list[tuple[str, str]]:
    examples = [
        (path.name, path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("examples/**/*.yaml"))
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return examples + [("README", block) for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)]


def test_the_schema_knows_every_section_of_the_config():
    schema = RunConfig.model_json_schema()
    assert set(schema["properties"]) == set(RunConfig.model_fields)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(("name", "text"), _published_configs(), ids=lambda value: str(value)[:20])
def test_the_schema_accepts_every_published_config(tmp_path, name, text):
    path = tmp_path / "audit.yaml"
    path.write_text(text, encoding="utf-8")
    assert is_valid(read_document(path).values, RunConfig.model_json_schema()), name


@pytest.mark.parametrize(
    "more",
    [
        "audits: {performance: }",
        "audits: {performance: {classes: 3}}",
        "policy: [{figure: a/b, at_most: 1}]",
        "report: {languages: [en, zh]}",
        "execution: {workers: 4, device: cpu}",
        "variants: {q: {kind: quantise, anything: 1}}",
    ],
)
def test_the_schema_accepts_what_the_loader_accepts(tmp_path, config, more):
    config(MINIMAL + more)
    assert is_valid(read_document(tmp_path / "audit.yaml").values, RunConfig.model_json_schema())


@pytest.mark.parametrize("text", ["architecture: mlp", "architecture: {name: mlp, hidden: 3}"])
def test_the_schema_accepts_the_shorthand_of_an_architecture(tmp_path, config, text):
    config(MINIMAL.replace("checkpoint: model.safetensors", text))
    assert is_valid(read_document(tmp_path / "audit.yaml").values, RunConfig.model_json_schema())


@pytest.mark.parametrize(
    "more",
    [
        "colour: red",
        "seed: -1",
        "seed: seven",
        "execution: {executor: cloud}",
        "execution: {workers: 0}",
        "policy: [{at_least: 1}]",
        "report: {languages: [fr]}",
        "audits: [performance]",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(tmp_path, refused, more):
    assert refused(MINIMAL + more)
    assert not is_valid(read_document(tmp_path / "audit.yaml").values, RunConfig.model_json_schema())


def test_a_config_survives_being_written_and_read_again(config):
    text = MINIMAL + (
        "seed: 7\nvariants: {dp-3: {kind: dp-retrain, epsilon: 3}}\naudits: {footprint: {country: FRA}}\n"
        "policy: [{figure: a/b, at_most: 1e-2, severity: critical}]\n"
    )
    loaded = config(text)
    assert RunConfig.model_validate_json(loaded.model_dump_json()) == loaded
