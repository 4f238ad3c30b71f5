"""Named, independent random streams from one seed, and a guard for the global generators.

A stream depends on the seed and on its name alone, never on the order in which streams are asked
for, so that adding an audit does not change the figures of another.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *names: str) -> int:
    """A 63-bit seed for the stream called ``names`` under ``seed``."""
    digest = hashlib.sha256("\x1f".join((str(seed), *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_rng(seed: int, *names: str) -> np.random.Generator:
    """The NumPy generator of the stream called ``names``."""
    return np.random.default_rng(derive_seed(seed, *names))


def torch_rng(seed: int, *names: str, device: str = "cpu") -> "torch.Generator":
    """The torch generator of the stream called ``names``."""
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(seed, *names))


@contextmanager
def global_generators_seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch inside the block; restore them after.

    Third-party engines draw from them (Captum's GradientShap from NumPy's, dropout from torch's), so a
    block that uses one is only reproducible when they are fixed, and must leave no trace outside.
    """
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - kept to be restored
    torch_state = torch.random.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: TID251, NPY002 - the one place that may, and it restores
        torch.random.manual_seed(seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002 - restores the state taken above
        torch.random.set_rng_state(torch_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
