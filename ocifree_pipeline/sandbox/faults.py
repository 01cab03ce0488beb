"""Faults on purpose: rules that say which request goes wrong, when, and how; and the proof that it did.

Moments:

- ``before``: the error is answered and nothing has happened;
- ``after``: the work is done, then the error is answered (a lost reply: what retry tokens are for);
- ``drop``: the connection is cut and nothing has happened;
- ``reset``: the work is done, then the connection is cut;
- ``truncate``: the work is done, the reply breaks off half way;
- ``slow``: the work is done, the reply comes ``delay`` real seconds late.
"""

import random
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

Moment = Literal["before", "after", "drop", "reset", "truncate", "slow"]


@dataclass(slots=True)
class Rule:
    """``service`` and ``operation`` are shell patterns; ``times`` None means for ever."""

    service: str = "*"
    operation: str = "*"
    moment: Moment = "before"
    status: int = 500
    code: str = "InternalError"
    message: str = "An internal error occurred."
    probability: float = 1.0
    times: int | None = 1
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    number: int = 0
    fired: int = 0

    def __post_init__(self) -> None:
        if self.moment not in get_args(Moment):
            raise ValueError(f"fault moment {self.moment!r} is unknown; choose one of {', '.join(get_args(Moment))}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"fault probability {self.probability} must lie between 0 and 1")
        if not 400 <= self.status <= 599:
            raise ValueError(f"fault status {self.status} is no error; choose 400 to 599")


@dataclass(frozen=True, slots=True)
class Fired:
    """The proof of one fault."""

    rule: int
    moment: Moment
    service: str
    operation: str
    request_id: str


class Faults:
    def __init__(self, seed: int = 0) -> None:
        self.rules: list[Rule] = []
        self.fired: list[Fired] = []
        self._number = 0
        self._random = random.Random(f"faults/{seed}")  # noqa: S311 - repeatable chance, no secret

    def add(self, rule: Rule) -> Rule:
        self._number += 1
        rule.number = self._number
        self.rules.append(rule)
        return rule

    def remove(self, number: int) -> None:
        self.rules = [rule for rule in self.rules if rule.number != number]

    def clear(self) -> None:
        self.rules.clear()
        self.fired.clear()

    def draw(self, service: str, operation: str, request_id: str) -> Rule | None:
        """The rule that strikes this request, if any; it is spent and noted by that."""
        for rule in self.rules:
            if rule.times is not None and rule.fired >= rule.times:
                continue
            if not (fnmatchcase(service, rule.service) and fnmatchcase(operation, rule.operation)):
                continue
            if rule.probability < 1 and self._random.random() >= rule.probability:
                continue
            rule.fired += 1
            self.fired.append(Fired(rule.number, rule.moment, service, operation, request_id))
            return rule
        return None

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(rule) for rule in self.rules]
