"""Something that shows when a file was executed."""

import os
from pathlib import Path


class Bomb:
    """Makes a folder when it is unpickled; harmless, and seen."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)
