"""One measured number beside a baseline of the same run: only the ratio can be compared between computers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """`baseline` is None where there is nothing to compare with."""

    what: str
    value: float
    unit: str
    beside: str
    baseline: float | None
    budget: str

    @property
    def ratio(self) -> float | None:
        return round(self.value / self.baseline, 2) if self.baseline else None


def as_markdown(lines: Iterable[Line]) -> Iterator[str]:
    yield "| what | measured | baseline | | ratio | budget |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for line in lines:
        baseline = "" if line.baseline is None else f"{line.baseline:g} {line.unit}"
        ratio = "" if line.ratio is None else f"{line.ratio:g}"
        yield f"| {line.what} | {line.value:g} {line.unit} | {line.beside} | {baseline} | {ratio} | {line.budget} |"
