"""Every error that a person may see is one of these types, and its type decides what happens next.

    OcifreeError
    |-- Transient           the same call may work soon               -> retry
    |   `-- Throttled       too many calls; slow down first            -> retry
    |-- OutOfCapacity       Oracle has no machine for us now           -> wait for the hunt
    |-- Refused             the same call will be refused again        -> stop
    |   |-- AuthFailed      key, user, clock or account
    |   |-- LimitReached    a service limit of the tenancy
    |   |-- QuotaRefused    our own quota policy did its work
    |   |-- Forbidden       an IAM permission is missing
    |   `-- Conflict        something else stands where ours should
    |-- NotVerified         done, they said; reading it back disagrees -> stop
    |-- PreconditionMissing an upstream asset has to come first        -> stop
    |-- NotFree             it would cost money, or nobody knows       -> stop
    |-- NeedsConfirmation   only a person may decide this              -> ask
    `-- NotYetBuilt         this part of the program does not exist    -> stop

An error says what happened, why, and the next command. None of the three may hold a secret.
"""

from __future__ import annotations

from enum import StrEnum


class Reaction(StrEnum):
    """What the pipeline does about an error, by itself."""

    RETRY = "retry"
    WAIT = "wait"
    STOP = "stop"
    ASK = "ask"


class OcifreeError(Exception):
    """What happened, why, and the next command."""

    def __init__(self, what: str, *, why: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n  why: {self.why}\n  fix: {self.fix}"

    def __reduce__(self) -> tuple[object, ...]:
        # Step processes send their exception to the run worker; keyword arguments do not survive plain pickling.
        return _rebuild, (type(self), self.what, self.why, self.fix, dict(self.__dict__))


def _rebuild(kind: type[OcifreeError], what: str, why: str, fix: str, state: dict[str, object]) -> OcifreeError:
    error = kind.__new__(kind)
    OcifreeError.__init__(error, what, why=why, fix=fix)
    error.__dict__.update(state)
    return error


class Transient(OcifreeError):
    """A passing fault of the network or of the other side."""


class Throttled(Transient):
    """Too many calls; the other side asks for patience."""


class OutOfCapacity(OcifreeError):
    """The provider has no machine for us now. Never a failure of ours, never retried in place."""


class Refused(OcifreeError):
    """The other side said no and will say no again."""


class AuthFailed(Refused):
    """The other side does not know us: key, user, clock, or an account that is gone."""


class LimitReached(Refused):
    """A service limit of the tenancy stands in the way."""


class QuotaRefused(Refused):
    """The deployment's own quota policy refused a request. The guard works."""


class Forbidden(Refused):
    """We are known, and not allowed."""


class Conflict(Refused):
    """Something that is not ours stands where ours should."""


class NotVerified(OcifreeError):
    """The call succeeded and reading back disagrees."""


class PreconditionMissing(OcifreeError):
    """An upstream asset is missing or out of date; the fix names it."""


class NotFree(OcifreeError):
    """It would cost money, or its cost is unknown."""


class NeedsConfirmation(OcifreeError):
    """Destroying or replacing something scarce is a person's decision."""


class NotYetBuilt(OcifreeError):
    """The program does not do this yet, and says so instead of pretending."""

    def __init__(self, subject: str, missing: str) -> None:
        super().__init__(
            f"{subject} is not built yet",
            why=f"missing: {missing}",
            fix="nothing was changed; declare something else, docs/declaration.md says what there is",
        )


REACTIONS: dict[type[OcifreeError], Reaction] = {
    Transient: Reaction.RETRY,
    OutOfCapacity: Reaction.WAIT,
    Refused: Reaction.STOP,
    NotVerified: Reaction.STOP,
    PreconditionMissing: Reaction.STOP,
    NotFree: Reaction.STOP,
    NotYetBuilt: Reaction.STOP,
    NeedsConfirmation: Reaction.ASK,
}


def reaction_to(error: BaseException) -> Reaction:
    """The one place that maps classes of error to what happens next. A bug (any other exception) stops."""
    for kind in type(error).__mro__:
        if kind in REACTIONS:
            return REACTIONS[kind]
    return Reaction.STOP
