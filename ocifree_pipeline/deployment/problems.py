"""What is wrong with a declaration, in a form for people and in one for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from textwrap import wrap

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. `value` is safe to print: it never holds a secret, even where the file does."""

    path: str
    line: int | None
    value: str
    why: str
    fix: str


class InvalidDeclaration(Exception):
    """The declaration cannot be used. Carries every problem that was found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem], source: str = "the declaration") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        count = len(self.problems)
        return f"{self.source}: {count} problem{'s' if count != 1 else ''}\n\n{render(self.problems)}"


def render(problems: Iterable[Problem]) -> str:
    """Plain text, one block for each problem."""
    return "\n\n".join(_block(problem) for problem in problems)


def as_json(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Ready for `json.dumps`."""
    return [asdict(problem) for problem in problems]


def _block(problem: Problem) -> str:
    where = problem.path if problem.line is None else f"{problem.path} (line {problem.line})"
    rows = [("value", problem.value), ("why", problem.why), ("fix", problem.fix)]
    return "\n".join([where, *(line for name, text in rows if text for line in _row(name, text))])


def _row(name: str, text: str) -> list[str]:
    return wrap(
        text,
        _WIDTH,
        initial_indent=f"  {name + ':':<7}",
        subsequent_indent=" " * 9,
        break_long_words=False,
        break_on_hyphens=False,
    )
