"""Kill a piece of work at every call that changes something at Oracle, before it and after it; resume; compare.

    crash_everywhere(fresh, act, look)

`fresh` makes a new world, `act` is the work (each time as a new process would start it), `look` describes the end. The
undisturbed run says what the end has to be. A kill is a BaseException that no production code may catch: nothing is
tidied up, and what is remembered is what was on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from unittest.mock import patch

import oci.base_client
import pytest

Here = TypeVar("Here")
Moment = Literal["before", "after"]

_READING = frozenset({"GET", "HEAD"})


class Killed(BaseException):
    """The process died here."""


@dataclass
class Calls:
    """How many calls that change something were made, and which."""

    operations: list[str]

    @property
    def number(self) -> int:
        return len(self.operations)


@contextmanager
def counted(kill_at: int | None = None, moment: Moment = "before") -> Iterator[Calls]:
    """Count the changing calls of every SDK client; die at one of them (the first is 1)."""
    calls = Calls([])
    call = oci.base_client.BaseClient.call_api

    def counting(self: Any, resource_path: str, method: str, *args: Any, **kwargs: Any) -> Any:
        if method.upper() in _READING:
            return call(self, resource_path, method, *args, **kwargs)
        calls.operations.append(f"{method} {resource_path}")
        if calls.number == kill_at and moment == "before":
            raise Killed(calls.operations[-1])
        answer = call(self, resource_path, method, *args, **kwargs)
        if calls.number == kill_at:
            raise Killed(calls.operations[-1])
        return answer

    with patch.object(oci.base_client.BaseClient, "call_api", counting):
        yield calls


def crash_everywhere(
    fresh: Callable[[], AbstractContextManager[Here]],
    act: Callable[[Here], object],
    look: Callable[[Here], object],
    *,
    at_least: int = 1,
) -> Calls:
    """Every call, both moments. `at_least` guards against work that no longer does anything."""
    with fresh() as here:
        with counted() as calls:
            act(here)
        expected = look(here)
    assert calls.number >= at_least, calls.operations
    for number, operation in enumerate(calls.operations, start=1):
        for moment in ("before", "after"):
            with fresh() as here:
                with pytest.raises(Killed), counted(number, moment):
                    act(here)
                act(here)
                assert look(here) == expected, f"killed {moment} call {number}, {operation}"
                with counted() as again:
                    act(here)
                assert again.operations == [], f"a third run changed something after a kill {moment} {operation}"
    return calls
