"""Who works on a guest, what a command says, and how it reads what it is given.

A command is a function of ``(who, words)``. One that ends at once returns a ``Result``. One that takes time is a
generator: it yields ``Result`` for what it prints and ``WAIT`` while it cannot go on; its value is the exit code.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal

from ocifree_pipeline.sandbox.machines.computer import Computer

WAIT: Literal["wait"] = "wait"


@dataclass(slots=True)
class Stdin:
    """What was given so far. ``closed``: nothing more will come."""

    text: str = ""
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody at work on a machine. ``login`` is the account that ``sudo`` was called from."""

    machine: Computer
    user: str
    stdin: Stdin = field(default_factory=Stdin)
    login: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str = ""
    err: str = ""


Words = tuple[str, ...]
Event = Result | Literal["wait"]
Steps = Generator[Event, None, int]
Command = Callable[[Who, Words], "Result | Steps"]


def read_all(stdin: Stdin) -> Generator[Event, None, str]:
    """Everything, once the other side has closed it."""
    while not stdin.closed:
        yield WAIT
    text, stdin.text = stdin.text, ""
    return text


def read_line(stdin: Stdin) -> Generator[Event, None, str | None]:
    """The next line without its end; None at the end of what was given. Waits as long as nobody types."""
    while "\n" not in stdin.text and not stdin.closed:
        yield WAIT
    if not stdin.text:
        return None
    line, _, stdin.text = stdin.text.partition("\n")
    return line
