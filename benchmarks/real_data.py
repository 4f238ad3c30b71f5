"""Where real data lies: ``$AUDITKIT_DATA``, else a data folder beside the checkout, else a download."""

import os
from pathlib import Path

from auditkit.data.published import VARIABLE


def use_real_data() -> None:
    """Point the readers at the folder beside the checkout where the variable is not set."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    if VARIABLE not in os.environ and beside.is_dir():
        os.environ[VARIABLE] = str(beside)
