import doctest
import pkgutil
from importlib import import_module

import pytest

from auditkit import statistics

MODULES = sorted(module.name for module in pkgutil.iter_modules(statistics.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(import_module(f"auditkit.statistics.{name}")).failed == 0
