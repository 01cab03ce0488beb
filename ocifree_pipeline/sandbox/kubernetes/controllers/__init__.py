"""The controllers of a cluster. Each is an ordinary client of the API; others may add theirs to ``MORE``."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.kubernetes.running import Controller

MORE: list[Callable[[], "Controller"]] = []


def all_of_them() -> Iterable["Controller"]:
    """One of each, in the order in which they are woken."""
    return [make() for make in MORE]
