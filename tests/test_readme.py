"""What the README says is so."""

import re
from pathlib import Path

import pytest

from auditkit.cli.app import VERBS
from auditkit.config import RunConfig, load_config
from auditkit.registry import AUDITS, check_extensions

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_config_of_the_readme_is_valid(tmp_path):
    path = tmp_path / "audit.yaml"
    path.write_text(blocks("yaml")[0], encoding="utf-8")
    config, _ = load_config(path, checks=[check_extensions])
    assert isinstance(config, RunConfig)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_valid_config(path):
    config, _ = load_config(path, checks=[check_extensions])
    assert config.audits


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"(?:^|`)auditkit ([a-z]+)", README, re.MULTILINE))))
def test_every_command_of_the_readme_exists(verb):
    assert verb in VERBS


def test_every_audit_is_in_the_table_of_the_readme():
    ours = [name for name in AUDITS.names() if AUDITS.distribution(name).startswith("auditkit ")]
    assert [name for name in ours if f"`{name}`" not in README] == []


def test_the_version_is_in_the_changelog():
    from auditkit import __version__

    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"[{__version__}]" in changelog


def test_the_picture_of_the_report_is_there():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).exists()
