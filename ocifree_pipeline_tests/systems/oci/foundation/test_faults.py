"""Every fault of the catalogue at the calls that make things: the class of the error, its words, a clean resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    Forbidden,
    LimitReached,
    OcifreeError,
    QuotaRefused,
    Reaction,
    Refused,
    Throttled,
    Transient,
    reaction_to,
)
from ocifree_pipeline.deployment.foundation import FoundationSpec
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.systems.oci.errors import TokenWornOut
from ocifree_pipeline.systems.oci.foundation.native import NativeFoundation
from ocifree_pipeline_tests.systems.oci.foundation.conftest import native
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy


@dataclass(frozen=True)
class Fault:
    status: int
    code: str
    message: str
    kind: type[OcifreeError]
    said: str


FAULTS = [
    Fault(400, "InvalidParameter", "cidrBlocks is wrong", Refused, "Oracle answered 400 InvalidParameter: cidrBlocks"),
    Fault(400, "LimitExceeded", "vcn-count", LimitReached, "400 LimitExceeded: vcn-count"),
    Fault(400, "QuotaExceeded", "vcn-count", QuotaRefused, "400 QuotaExceeded"),
    Fault(401, "NotAuthenticated", "The required information was not provided", AuthFailed, "401 NotAuthenticated"),
    Fault(403, "NotAllowed", "no", Forbidden, "403 NotAllowed"),
    Fault(404, "NotAuthorizedOrNotFound", "Authorization failed", Forbidden, "404 NotAuthorizedOrNotFound"),
    Fault(409, "IncorrectState", "busy", Transient, "409 IncorrectState"),
    Fault(409, "Conflict", "in the way", Conflict, "409 Conflict: in the way"),
    Fault(409, "InvalidatedRetryToken", "worn out", TokenWornOut, "409 InvalidatedRetryToken"),
    Fault(412, "NoEtagMatch", "changed", Transient, "412 NoEtagMatch"),
    Fault(429, "TooManyRequests", "Too many requests for the user", Throttled, "429 TooManyRequests"),
    Fault(500, "InternalError", "An internal error occurred.", Transient, "500 InternalError"),
    Fault(503, "ServiceUnavailable", "later", Transient, "503 ServiceUnavailable"),
]


def run(tenancy: Tenancy, spec: FoundationSpec) -> None:
    foundation: NativeFoundation = native(tenancy, spec)
    foundation.apply(foundation.plan("network"))


@pytest.fixture
def undisturbed(tenancy: Tenancy, spec: FoundationSpec, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    from ocifree_pipeline.sandbox.profiles import Profile
    from ocifree_pipeline_tests.sandbox.harness import running

    folder = tmp_path_factory.mktemp("undisturbed")
    with running(folder, profile=Profile(account="payg")) as sandbox:
        other = Tenancy(sandbox, folder)
        run(other, spec)
        return settled(other)


def settled(tenancy: Tenancy) -> list[str]:
    tenancy.sandbox.advance(600)
    return tenancy.in_words()


OPERATIONS = ("CreateVcn", "UpdateSecurityList", "AddNetworkSecurityGroupSecurityRules")
HEALED = {
    ("AddNetworkSecurityGroupSecurityRules", "Conflict"),
    ("AddNetworkSecurityGroupSecurityRules", "InvalidatedRetryToken"),
}
"""The group stands by then and is found again, so its rules are added by a second call."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.status}-{fault.code}")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_has_its_class_and_words_and_nothing_is_left_over(
    tenancy: Tenancy, spec: FoundationSpec, operation: str, fault: Fault
) -> None:
    tenancy.sandbox.faults.add(Rule(operation=operation, status=fault.status, code=fault.code, message=fault.message))
    if (operation, fault.code) in HEALED:
        run(tenancy, spec)
    else:
        with pytest.raises(OcifreeError) as caught:
            run(tenancy, spec)
        assert type(caught.value) is fault.kind
        assert fault.said in caught.value.what
        assert caught.value.why
        assert caught.value.fix
    assert len(tenancy.sandbox.faults.fired) == 1
    run(tenancy, spec)
    tenancy.sandbox.recorder.clear()
    run(tenancy, spec)
    assert tenancy.mutating_calls() == []
    assert len(tenancy.in_words("vcn", "networksecuritygroup")) == 4
    assert tenancy.journal().open_intents() == []


@pytest.mark.parametrize("moment", ["after", "reset", "truncate", "drop"])
@pytest.mark.parametrize("operation", ["CreateVcn", "CreateSubnet", "AddNetworkSecurityGroupSecurityRules"])
def test_a_lost_reply_is_a_passing_fault_and_the_resume_makes_nothing_twice(
    tenancy: Tenancy, spec: FoundationSpec, undisturbed: list[str], operation: str, moment: str
) -> None:
    tenancy.sandbox.faults.add(Rule(operation=operation, moment=moment))  # type: ignore[arg-type]
    with pytest.raises(Transient) as caught:
        run(tenancy, spec)
    assert reaction_to(caught.value) is Reaction.RETRY
    run(tenancy, spec)
    assert settled(tenancy) == undisturbed
    assert tenancy.journal().open_intents() == []


def test_a_list_that_lags_behind_does_not_make_a_second_one(
    tenancy: Tenancy, spec: FoundationSpec, undisturbed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lost reply the thing may not be listed yet; the token leads back to it."""
    tenancy.sandbox.faults.add(Rule(operation="CreateVcn", moment="reset"))
    with pytest.raises(Transient):
        run(tenancy, spec)
    network = tenancy.session.client("core.VirtualNetworkClient")
    listed: Callable[..., object] = network.list_vcns
    calls = 0

    def lagging(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        answer = listed(*args, **kwargs)
        if calls == 1:
            answer.data = []  # type: ignore[attr-defined]
        return answer

    monkeypatch.setattr(network, "list_vcns", lagging)
    run(tenancy, spec)
    assert settled(tenancy) == undisturbed
