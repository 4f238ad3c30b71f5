"""Fixtures of the whole suite: no network, and where real data lies."""

import atexit
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

# Test processes share the cores: threads that wait for one another would slow each other a hundredfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Private trainings of tests are nobody's: the ledger of whoever runs them stays as it is.
os.environ["AUDITKIT_LEDGER"] = tempfile.mkdtemp(prefix="auditkit-ledger-")
atexit.register(shutil.rmtree, os.environ["AUDITKIT_LEDGER"], ignore_errors=True)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Audits are offline; a test that opens a connection to another machine fails."""

    def refuse(self, address):
        raise AssertionError(f"a test tried to connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with MNIST, Adult and COMPAS; skips where it is absent."""
    folder = Path(os.environ.get("AUDITKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "adult" / "adult.data").exists():
        pytest.skip(f"real data not found in {folder}; set AUDITKIT_DATA")
    return folder
