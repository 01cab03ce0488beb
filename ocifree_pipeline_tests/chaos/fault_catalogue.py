"""Everything that Oracle is known to answer when it does not do what was asked, and what the pipeline makes of it.

A fault stays until it is taken away, so that what tries again by itself meets it again; a reply that is lost is lost
once. `reaction` None means that the work is done all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    Forbidden,
    LimitReached,
    OcifreeError,
    OutOfCapacity,
    QuotaRefused,
    Reaction,
    Refused,
    Throttled,
    Transient,
)
from ocifree_pipeline.sandbox.faults import Moment, Rule
from ocifree_pipeline.systems.oci.errors import ShapeNotOffered

RETRY, WAIT, STOP = Reaction.RETRY, Reaction.WAIT, Reaction.STOP
ANY = frozenset[str]()
LAUNCH = frozenset({"LaunchInstance"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. `kinds` are the errors that it may become; `only` the operations that can answer so."""

    name: str
    reaction: Reaction | None
    kinds: tuple[type[OcifreeError], ...] = ()
    status: int = 500
    code: str = "InternalError"
    message: str = "An internal error occurred."
    moment: Moment = "before"
    times: int | None = None
    only: frozenset[str] = ANY
    headers: dict[str, str] = field(default_factory=dict)

    def rule(self, operation: str) -> Rule:
        return Rule(
            operation=operation,
            moment=self.moment,
            status=self.status,
            code=self.code,
            message=self.message,
            times=self.times,
            headers=dict(self.headers),
        )


CATALOGUE = (
    Fault("no capacity", WAIT, (OutOfCapacity,), 500, "InternalError", "Out of host capacity.", only=LAUNCH),
    Fault(
        "no capacity, in the console's words", WAIT, (OutOfCapacity,), 500, "InternalError",
        "Out of capacity for shape VM.Standard.A1.Flex in availability domain AD-1.", only=LAUNCH,
    ),
    Fault("shape not offered", STOP, (ShapeNotOffered,), 404, "NotAuthorizedOrNotFound",
          "shape VM.Standard.A1.Flex not found", only=LAUNCH),
    Fault("service limit", STOP, (LimitReached,), 400, "LimitExceeded",
          "The following service limits were exceeded: standard-a1-core-count."),
    Fault("compartment quota", STOP, (QuotaRefused, LimitReached), 400, "QuotaExceeded", "The quota was exceeded."),
    Fault("throttled", RETRY, (Throttled,), 429, "TooManyRequests", "Too many requests for the user"),
    Fault("not authorized or not found", STOP, (Forbidden,), 404, "NotAuthorizedOrNotFound",
          "Authorization failed or requested resource not found."),
    Fault("bad reference", STOP, (Refused,), 400, "RelatedResourceNotAuthorizedOrNotFound",
          "The subnet was not found."),
    Fault("incorrect state", RETRY, (Transient,), 409, "IncorrectState", "The resource is being changed."),
    Fault("conflict", STOP, (Conflict,), 409, "Conflict", "Another resource refers to it."),
    Fault("token used up", RETRY, (Transient,), 409, "InvalidatedRetryToken", "The retry token was used before."),
    Fault("stale etag", RETRY, (Transient,), 412, "NoEtagMatch", "The etag does not match."),
    Fault("not authenticated", STOP, (AuthFailed,), 401, "NotAuthenticated",
          "The required information to complete authentication was not provided or was incorrect."),
    Fault("internal error", RETRY, (Transient,)),
    Fault("unavailable", RETRY, (Transient,), 503, "ServiceUnavailable", "Try later.", headers={"retry-after": "1"}),
    Fault("bad gateway", RETRY, (Transient,), 502, "", "Bad Gateway"),
    Fault("cut before", RETRY, (Transient,), moment="drop"),
    Fault("done, and the reply is an error", RETRY, (Transient,), 500, moment="after", times=1),
    Fault("done, and the connection is cut", RETRY, (Transient,), moment="reset", times=1),
    Fault("done, and the reply breaks off", RETRY, (Transient,), moment="truncate", times=1),
    Fault("done, and the reply is slow", None, moment="slow", times=1),
)  # fmt: skip
