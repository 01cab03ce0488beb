"""The language of quota policies, parsed: what may be said, and what a statement means.

    set compute-core quota standard-a1-core-count to 2 in tenancy where request.ad = 'Kfkm:UK-LONDON-1-AD-1'
    zero compute-memory quotas in compartment apps:web
    unset block-storage quota /*storage*/ in tenancy where request.region = uk-london-1

One condition at most, on ``request.region`` or ``request.ad``; keywords in any case; a quota name, or a glob between
slashes, or nothing, which means all quotas of the family. This module knows the language only, not the world.
"""

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Action = Literal["set", "unset", "zero"]
Subject = Literal["request.region", "request.ad"]

TOKEN = re.compile(r"\s*('[^']*'|/[^/\s]*/|=|,|[^\s=,']+)")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
GLOB = re.compile(r"/[a-z0-9*-]+/")
COMPARTMENT = re.compile(r"[A-Za-z0-9._-]{1,100}(:[A-Za-z0-9._-]{1,100})*")
LARGEST = 2**63 - 1


class BadStatement(Exception):
    """The statement is not of the language. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Statement:
    """``quota`` is a name, a glob without its slashes, or ``*``; ``amount`` is None for ``unset``.

    ``compartment`` is a path of names from the tenancy down, empty for the tenancy itself.
    """

    action: Action
    family: str
    quota: str
    amount: int | None
    compartment: str = ""
    subject: Subject | None = None
    wanted: str = ""

    def covers(self, family: str | None, quota: str) -> bool:
        return family == self.family and fnmatchcase(quota, self.quota)

    def applies(self, region: str, ad: str) -> bool:
        """Whether the condition holds; what has no availability domain never meets a condition on one."""
        if self.subject is None:
            return True
        return self.wanted.lower() == (region if self.subject == "request.region" else ad).lower()


def parse(
    text: str, *, families: Set[str], known: Callable[[str], Mapping[str, object] | Set[str] | None]
) -> Statement:
    """The meaning of one statement; BadStatement says why there is none.

    ``known(family)`` names the quotas of a family, or is None where any name will do.
    """
    return _Parser(text, families, known).statement()


class _Parser:
    def __init__(
        self, text: str, families: Set[str], known: Callable[[str], Mapping[str, object] | Set[str] | None]
    ) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._families = families
        self._known = known

    def statement(self) -> Statement:
        action = self._keyword("set", "unset", "zero")
        family = self._family()
        self._keyword("quota", "quotas")
        quota = self._quota(family)
        amount = self._amount(action)
        self._keyword("in")
        compartment = self._location()
        subject, wanted = self._condition()
        if self._at < len(self._tokens):
            raise BadStatement(f"{self._tokens[self._at]!r} is too much; only one condition may end a statement")
        return Statement(action, family, quota, amount, compartment, subject, wanted)  # type: ignore[arg-type]

    def _family(self) -> str:
        family = self._next("the name of a service family").lower()
        if family not in self._families:
            raise BadStatement(f"{family!r} is not a service family")
        return family

    def _quota(self, family: str) -> str:
        if self._peek() in {"to", "in"} or self._peek() is None:
            return "*"
        name = self._next("the name of a quota").lower()
        if GLOB.fullmatch(name):
            return name.strip("/")
        if not NAME.fullmatch(name):
            raise BadStatement(f"{name!r} is neither the name of a quota nor a /glob/")
        known = self._known(family)
        if known is not None and name not in known:
            raise BadStatement(f"{name!r} is not a quota of the family {family}")
        return name

    def _amount(self, action: str) -> int | None:
        if action != "set":
            if self._peek() == "to":
                raise BadStatement(f"{action} takes no value; only set does")
            return 0 if action == "zero" else None
        self._keyword("to")
        number = self._next("a value")
        if not re.fullmatch(r"[0-9]{1,19}", number) or int(number) > LARGEST:
            raise BadStatement(f"{number!r} is not a whole number from 0 on")
        return int(number)

    def _location(self) -> str:
        if self._keyword("tenancy", "compartment") == "tenancy":
            return ""
        path = self._next("the name of a compartment")
        if not COMPARTMENT.fullmatch(path):
            raise BadStatement(f"{path!r} is not the name of a compartment, nor a path like Parent:Child")
        return path

    def _condition(self) -> tuple[Subject | None, str]:
        if self._peek() is None:
            return None, ""
        self._keyword("where")
        subject = self._next("request.region or request.ad").lower()
        if subject not in {"request.region", "request.ad"}:
            raise BadStatement(f"{subject!r} cannot be a condition; request.region and request.ad can")
        self._keyword("=")
        wanted = self._next("a value").strip("'")
        if not wanted:
            raise BadStatement(f"{subject} is compared with nothing")
        return subject, wanted  # type: ignore[return-value]

    def _keyword(self, *words: str) -> str:
        expected = " or ".join(words)
        word = self._next(expected)
        if word.lower() not in words:
            raise BadStatement(f"{word!r} stands where {expected} is expected")
        return word.lower()

    def _next(self, expected: str) -> str:
        if self._at >= len(self._tokens):
            raise BadStatement(f"it ends where {expected} is expected")
        self._at += 1
        return self._tokens[self._at - 1]

    def _peek(self) -> str | None:
        return self._tokens[self._at].lower() if self._at < len(self._tokens) else None


def _tokens(text: str) -> list[str]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = TOKEN.match(text, at)
        if match is None:
            raise BadStatement(f"{text[at:].strip()!r} cannot be read")
        found.append(match[1])
        at = match.end()
    return found
