"""The error tree decides exit codes; a message helps with a misspelt name."""

import pytest

from auditkit import errors
from auditkit.errors import AuditkitError, ConfigError, MissingExtraError, Problem, closest

EXIT_CODES = {
    "AuditkitError": 3,
    "DivergedError": 3,
    "NothingReleasedError": 3,
    "UsageError": 2,
    "ConfigError": 2,
    "DataError": 2,
    "CheckpointError": 2,
    "PluginError": 2,
    "RunFolderError": 2,
    "NothingMeasuredError": 3,
    "UnsafeError": 5,
    "LedgerError": 5,
    "PrivacyRefusedError": 5,
    "MissingExtraError": 6,
    "Interrupted": 130,
}


def _classes():
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return {cls.__name__: cls for cls in found if issubclass(cls, AuditkitError)}


def test_every_error_has_the_exit_code_of_the_contract():
    assert {name: cls.exit_code for name, cls in _classes().items()} == EXIT_CODES


def test_no_error_exits_with_1_because_1_says_that_a_rule_failed():
    assert all(cls.exit_code not in {0, 1, 4} for cls in _classes().values())


def test_every_error_is_drawn_in_the_tree_of_the_module():
    assert all(name in (errors.__doc__ or "") for name in EXIT_CODES)


def test_a_config_error_lists_all_problems_with_their_places():
    error = ConfigError(
        [Problem("is required and missing", ("data", "source"), "a.yaml:3:1"), Problem("got 'x'", ("seed",))]
    )
    assert str(error) == "a.yaml:3:1: data.source: is required and missing\nseed: got 'x'"
    assert len(error.problems) == 2


def test_a_config_error_from_one_sentence_has_one_problem():
    assert ConfigError("nothing to audit").problems == (Problem("nothing to audit"),)


def test_a_missing_extra_names_the_command_that_installs_it():
    assert str(MissingExtraError("reading ONNX", "onnx")) == (
        'reading ONNX needs an extra: pip install "auditkit[onnx]"'
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("performence", "Did you mean 'performance'? Known: calibration, performance."),
        ("zzz", "Known: calibration, performance."),
    ],
)
def test_closest_suggests_only_what_is_near_and_lists_all(name, expected):
    assert closest(name, ["performance", "calibration"]) == expected


def test_closest_says_when_nothing_is_known():
    assert closest("a", []) == "Known: none."
