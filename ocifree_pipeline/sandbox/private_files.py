"""Files that only their owner may read: keys, tokens, configuration that names them."""

import os
from pathlib import Path


def make_directory(path: Path) -> Path:
    """A directory for its owner alone; an existing one is closed to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def write(path: Path, content: bytes) -> Path:
    """Write the whole file or nothing, with mode 0600 from the first byte on."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return partial.replace(path)
