"""One file that holds the whole world: its state as JSON, and the files of its directory (bytes of objects)."""

import io
import json
import shutil
import tarfile
import zlib
from pathlib import Path

from ocifree_pipeline.sandbox.world import World

FORMAT = 1
STATE = "world.json"
FILES = "files"


class SnapshotError(Exception):
    """The file is not a snapshot that this version can read."""


def save(world: World, path: Path) -> Path:
    """Write the world to ``path``; readable by the owner only, for it may hold keys and tenancy data."""
    state = json.dumps({"format": FORMAT, "world": world.to_json()}).encode()
    partial = path.with_name(path.name + ".partial")
    partial.touch(mode=0o600)
    with tarfile.open(partial, "w:gz", compresslevel=1) as archive:
        entry = tarfile.TarInfo(STATE)
        entry.size, entry.mode = len(state), 0o600
        archive.addfile(entry, io.BytesIO(state))
        if world.directory.is_dir():
            archive.add(world.directory, FILES)
    return partial.replace(path)


def restore(world: World, path: Path) -> None:
    """Make ``world`` what it was when the snapshot was taken; its present state and files are replaced."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            member = archive.extractfile(STATE)
            if member is None:
                raise SnapshotError(f"{path} holds no {STATE}; choose a file that `snapshot` wrote")
            state = json.load(member)
            if state["format"] != FORMAT:
                raise SnapshotError(f"{path} has format {state['format']}, this version reads {FORMAT}")
            unpacked = world.directory.with_name(world.directory.name + ".restoring")
            shutil.rmtree(unpacked, ignore_errors=True)
            inside = [one for one in archive.getmembers() if one.name.split("/")[0] == FILES]
            archive.extractall(unpacked, members=inside, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, KeyError, ValueError) as error:
        raise SnapshotError(f"{path} is not a snapshot of a sandbox ({error}); take a new one") from error
    world.load_json(state["world"])
    shutil.rmtree(world.directory, ignore_errors=True)
    if (unpacked / FILES).is_dir():
        (unpacked / FILES).rename(world.directory)
    else:
        world.directory.mkdir(parents=True)
    shutil.rmtree(unpacked, ignore_errors=True)
