"""Lets the tests beside it run before the package is installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
