"""The hand-built run and its pages, made once."""

import pytest

from auditkit.reporting.html import render_html
from tests.reporting.page_reading import Page
from tests.reporting.sample_run import sample_run


@pytest.fixture(scope="session")
def run():
    return sample_run()


@pytest.fixture(scope="session")
def english(run):
    return render_html(run, "en")


@pytest.fixture(scope="session")
def chinese(run):
    return render_html(run, "zh")


@pytest.fixture(scope="session")
def page(english):
    return Page(english)
