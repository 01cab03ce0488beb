"""Delivery by Flux: the same objects come from a repository. We compare, wait, and apply only what is secret."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.kube.api import Api
from ocifree_pipeline.systems.kube.delivery import READY_SECONDS, wait_until_ready
from ocifree_pipeline.systems.kube.differences import TAKES_OVER, differences
from ocifree_pipeline.systems.kube.objects import Object, labelled, ordered, ref_of
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for

HEADER = "# Written by `ocifree manifests`; what you change here is written over.\n"


def wait_until_synced(
    api: Api,
    part: str,
    objects: Sequence[Object],
    say: Callable[[str], None],
    *,
    timeout: float = READY_SECONDS,
    clock: Clock = time,
) -> None:
    """Until the cluster holds exactly these objects and they work, whoever has brought them."""
    wanted = [labelled(thing, part) for thing in ordered(objects)]
    told = ""

    def look() -> str:
        nonlocal told
        found = "; ".join(_missing(api, wanted))
        if found and found != told:
            say(f"wait for Flux: {found}")
        told = found
        return found

    try:
        wait_for(
            look,
            lambda found: not found,
            what=f"Flux has synced {part}",
            timeout=timeout,
            pause=Pause(2, 15),
            clock=clock,
        )
    except TimedOut as error:
        raise NotVerified(
            f"the repository does not hold manifests/{part} as this version renders it",
            why=told or error.why,
            fix="`ocifree manifests` writes them into a checkout; commit and push, and Flux takes them from there",
        ) from error
    wait_until_ready(api, wanted, say, timeout=timeout, clock=clock)


def write_tree(folder: Path, part: str, objects: Sequence[Object]) -> list[str]:
    """One file an object in the folder of its part; what was done, in words. Files that are not ours are left."""
    done = []
    root = folder / part
    root.mkdir(parents=True, exist_ok=True)
    wanted = {_file_name(thing): _text(labelled(thing, part)) for thing in ordered(objects)}
    for name, text in wanted.items():
        file = root / name
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
            done.append(f"write {part}/{name}")
    for file in sorted(root.glob("*.yaml")):
        if file.name not in wanted and file.read_text("utf-8").startswith(HEADER):
            file.unlink()
            done.append(f"remove {part}/{file.name}")
    return done


def _missing(api: Api, wanted: Sequence[Object]) -> list[str]:
    found = []
    for thing in wanted:
        ref = ref_of(thing)
        resource = api.resource(str(thing["apiVersion"]), ref.kind)
        live = api.get(resource, ref) if resource is not None else None
        if resource is None or live is None:
            found.append(f"{ref} is not there")
            continue
        fields = differences(live, api.rehearse(resource, thing, whoever_manages=True))
        if fields not in ((), (TAKES_OVER,)):
            found.append(f"{ref} differs at {', '.join(fields)}")
    return found


def _file_name(thing: Object) -> str:
    ref = ref_of(thing)
    return "-".join(part for part in (ref.kind.lower(), ref.namespace, ref.name) if part).replace(":", "-") + ".yaml"


def _text(thing: Object) -> str:
    return HEADER + yaml.safe_dump(dict(thing), sort_keys=False)
