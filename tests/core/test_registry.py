"""Extensions come by name from entry points; a broken one is named with its distribution and its fault."""

import sys
from dataclasses import replace

import pytest

from auditkit.errors import PluginError
from auditkit.registry import AUDITS, VARIANTS, check_extensions

GOOD = """
from typing import ClassVar
from auditkit.audits.audit import Audit, AuditInfo, AuditOutput
from auditkit.variants.variant import Variant, VariantInfo

class Good(Audit):
    info: ClassVar = AuditInfo(name="good", version=1, area="performance", question="?")
    share: float = 0.5
    def measure(self, subject, data, context):
        return AuditOutput([])

class Misnamed(Good):
    info: ClassVar = AuditInfo(name="other", version=1, area="performance", question="?")

class NoInfo(Audit):
    def measure(self, subject, data, context):
        return AuditOutput([])

class Abstract(Audit):
    info: ClassVar = AuditInfo(name="abstract", version=1, area="performance", question="?")

class Halved(Variant):
    info: ClassVar = VariantInfo(kind="halved", version=1, summary="half")
    by: int = 2
    def derive(self, baseline, context):
        return baseline

not_a_class = 3
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a distribution with these audits (and variants); returns its folder."""

    def install(name, audits, variants=None, code=GOOD):
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = ["[auditkit.audits]", *(f"{key} = {value}" for key, value in audits.items())]
        lines += ["[auditkit.variants]", *(f"{key} = {value}" for key, value in (variants or {}).items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *(p for p in sys.path if p != str(tmp_path))])
        monkeypatch.delitem(sys.modules, module, raising=False)
        return module

    return install


def test_names_are_listed_without_importing_anything(installed):
    module = installed("third-party", {"good": "third_party:Good"})
    assert "good" in AUDITS.names()
    assert module not in sys.modules


def test_an_audit_of_another_distribution_is_loaded_and_made(installed):
    installed("third-party", {"good": "third_party:Good"}, {"halved": "third_party:Halved"})
    assert AUDITS.make("good", {"share": 0.25}).share == 0.25
    assert AUDITS.distribution("good") == "third-party 1.0"
    assert VARIANTS.make("halved", {}).by == 2


def test_an_unknown_name_gets_the_closest(installed):
    installed("third-party", {"good": "third_party:Good"})
    with pytest.raises(PluginError, match=r"no audit is called 'goood'\. Did you mean 'good'\?"):
        AUDITS.load("goood")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("third_party:Absent", "cannot be loaded: AttributeError"),
        ("no_such_module:X", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "third_party:not_a_class",
            "third_party:not_a_class is not a subclass of auditkit.audits.audit.Audit",
        ),
        ("third_party:Halved", "third_party:Halved is not a subclass of auditkit.audits.audit.Audit"),
        ("third_party:Abstract", "does not define measure"),
        ("third_party:Misnamed", "says info.name='other', expected 'abstract' as in its entry point"),
        ("third_party:NoInfo", "says info.name=None, expected 'abstract'"),
    ],
)
def test_a_broken_audit_is_named_with_its_distribution_and_fault(installed, target, message):
    installed("third-party", {"abstract": target})
    with pytest.raises(PluginError) as caught:
        AUDITS.load("abstract")
    assert "audit 'abstract' of third-party 1.0" in str(caught.value)
    assert message in str(caught.value)


def test_a_module_that_raises_on_import_is_reported(installed):
    installed("third-party", {"good": "third_party:Good"}, code="raise RuntimeError('licence expired')")
    with pytest.raises(PluginError, match="cannot be loaded: RuntimeError: licence expired"):
        AUDITS.load("good")


def test_a_broken_audit_does_not_hide_the_others(installed):
    installed("third-party", {"broken": "nowhere:X", "good": "third_party:Good"})
    assert AUDITS.load("good").info.name == "good"


def test_two_distributions_with_one_name_are_both_named(installed):
    installed("first-party", {"good": "first_party:Good"})
    installed("third-party", {"good": "third_party:Good"})
    with pytest.raises(PluginError) as caught:
        AUDITS.names()
    assert "two distributions provide audit 'good'" in str(caught.value)
    assert "first-party (first_party:Good)" in str(caught.value)
    assert "third-party (third_party:Good)" in str(caught.value)
    assert str(caught.value).endswith("Uninstall one of them")


def test_a_group_without_entry_points_is_empty():
    assert replace(AUDITS, group="auditkit.nothing").names() == []


# --- what a config asks for ------------------------------------------------------------------------


def problems(values):
    return [f"{'.'.join(map(str, problem.path))}: {problem.message}" for problem in check_extensions(values)]


def test_a_config_that_asks_for_what_exists_has_no_problems(installed):
    installed("third-party", {"good": "third_party:Good"}, {"halved": "third_party:Halved"})
    config = {
        "audits": {"good": {"share": 0.1}},
        "variants": {"h": {"kind": "halved", "by": 3}},
        "policy": [{"figure": "good/figure", "at_least": 0}],
    }
    assert problems(config) == []
    assert problems({"audits": {"good": None}}) == []


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"audits": {"goood": {}}}, "audits.goood: no audit is called 'goood'. Did you mean 'good'?"),
        ({"audits": {"good": {"share": "x"}}}, "audits.good.share: input should be a valid number"),
        ({"audits": {"good": {"shar": 1}}}, "audits.good.shar: unknown key 'shar'. Did you mean 'share'?"),
        ({"audits": {"good": {"share": float("nan")}}}, "audits.good.share: input should be a finite number"),
        ({"audits": {"good": [1]}}, "audits.good: expected a mapping of parameters, got [1]"),
        (
            {"variants": {"h": {"kind": "halve"}}},
            "variants.h: no variant kind is called 'halve'. Did you mean",
        ),
        (
            {"variants": {"h": {"kind": "halved", "by": "x"}}},
            "variants.h.by: input should be a valid integer",
        ),
        (
            {"policy": [{"figure": "goood/x"}]},
            "policy.0.figure: no audit is called 'goood'. Did you mean 'good'?",
        ),
        (
            {"policy": [{"figure": "good"}]},
            "policy.0.figure: expected AUDIT/METRIC such as performance/accuracy",
        ),
    ],
)
def test_a_wrong_wish_is_reported_at_its_key(installed, config, expected):
    installed("third-party", {"good": "third_party:Good"}, {"halved": "third_party:Halved"})
    found = problems(config)
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    "config", [{}, {"audits": 3, "variants": "x", "policy": {"a": 1}}, {"policy": [3, {}]}]
)
def test_what_the_schema_refuses_anyway_is_left_to_it(config):
    assert problems(config) == []
