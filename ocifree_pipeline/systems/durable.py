"""What has to outlive a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def make_durable(path: Path) -> None:
    """The content of a file, or, for a folder, the names in it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
