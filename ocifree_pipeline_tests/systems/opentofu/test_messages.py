"""Diagnostics as errors, and the stream as progress."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.convergence import CannotChange
from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    Forbidden,
    LimitReached,
    OcifreeError,
    OutOfCapacity,
    PreconditionMissing,
    QuotaRefused,
    Reaction,
    Refused,
    Throttled,
    Transient,
    reaction_to,
)
from ocifree_pipeline.systems.opentofu.messages import Diagnostic, Listener, error_of

ORACLE = """{answer}
Suggestion: look at the documentation
Request Target: POST https://iaas.uk-london-1.oraclecloud.com/20160918/vcns
Service: Core Vcn
Operation: CreateVcn
OPC request ID: AB12CD/34
"""


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("500-InternalError, Out of host capacity.", OutOfCapacity),
        ("500-InternalError, Internal error\nFurther Information: Out of host capacity.", OutOfCapacity),
        ("500-InternalError, Internal error occurred", Transient),
        ("503-ServiceUnavailable, try later", Transient),
        ("400-LimitExceeded, vcn-count is 2", LimitReached),
        ("400-QuotaExceeded, refused by a quota", QuotaRefused),
        ("400-InvalidParameter, cidrBlock is not valid", Refused),
        ("401-NotAuthenticated, The required information was not provided", AuthFailed),
        ("404-NotAuthorizedOrNotFound, Authorization failed or requested resource not found.", Forbidden),
        ("409-BucketAlreadyExists, Either the bucket exists", Conflict),
        ("409-IncorrectState, it is changing", Transient),
        ("429-TooManyRequests, Too many requests for the user", Throttled),
    ],
)
def test_an_answer_of_oracle_is_the_same_error_as_for_the_native_engine(answer: str, kind: type[OcifreeError]) -> None:
    diagnostic = Diagnostic(ORACLE.format(answer=answer), "  with oci_core_vcn.this,", "oci_core_vcn.this")
    error = error_of("apply the module", [diagnostic], ())
    assert type(error) is kind
    assert "apply the module (oci_core_vcn.this)" in error.what
    assert "request AB12CD/34" in error.what


@pytest.mark.parametrize(
    ("summary", "detail", "kind", "reaction"),
    [
        ("work request did not succeed, message: Out of host capacity.", "", OutOfCapacity, Reaction.WAIT),
        ("Instance cannot be destroyed", "Resource oci_core_vcn.this has lifecycle.prevent_destroy set", CannotChange,
         Reaction.ASK),
        ("Error acquiring the state lock", "Lock Info:\n  ID: 1", Conflict, Reaction.STOP),
        ("decryption failed for all provided methods", "", Refused, Reaction.STOP),
        ("cipher: message authentication failed", "", Refused, Reaction.STOP),
        ("Failed to query available provider packages", "", PreconditionMissing, Reaction.STOP),
        ("Required plugins are not installed", "", PreconditionMissing, Reaction.STOP),
        ("can not create client, bad configuration: did not find a proper configuration for private key", "",
         AuthFailed, Reaction.STOP),
        ("Get \"https://iaas.example\": dial tcp 127.0.0.1:1: connect: connection refused", "", Transient,
         Reaction.RETRY),
        ("net/http: TLS handshake timeout", "", Transient, Reaction.RETRY),
        ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "", Transient, Reaction.RETRY),
        ("Failed to instantiate provider", "timeout while waiting for plugin to start", Transient, Reaction.RETRY),
        ("Operation Timeout \nService: Core Vcn", "Error Message: timeout while waiting for state", Transient,
         Reaction.RETRY),
        ("Something new", "that nobody has seen", Refused, Reaction.STOP),
    ],
)  # fmt: skip
def test_other_diagnostics(summary: str, detail: str, kind: type[OcifreeError], reaction: Reaction) -> None:
    error = error_of("plan the module", [Diagnostic(summary, detail, "")], ())
    assert type(error) is kind
    assert reaction_to(error) is reaction
    assert error.why
    assert error.fix


@given(st.permutations(["limit", "invalid", "cut", "new"]), st.integers(1, 4))
def test_the_order_in_which_resources_fail_decides_nothing(order: list[str], count: int) -> None:
    """They are made side by side: the same failures are the same error, and the one that a repetition cannot mend."""
    said = {
        "limit": ("400-LimitExceeded, vcn-count is 0", LimitReached),
        "invalid": ("400-InvalidParameter, the zone is not valid", Refused),
        "cut": ("dial tcp 127.0.0.1:1: i/o timeout", Transient),
        "new": ("Something new", Refused),
    }
    failed = order[:count]
    error = error_of("apply", [Diagnostic(said[one][0], "", f"oci_{one}.this") for one in failed], ())
    assert type(error) is next(kind for name, (_, kind) in said.items() if name in failed)
    assert str(error) == str(
        error_of("apply", [Diagnostic(said[o][0], "", f"oci_{o}.this") for o in sorted(failed)], ())
    )


def test_every_diagnostic_is_told_and_the_resource_named() -> None:
    error = error_of(
        "plan the module",
        [
            Diagnostic("Instance cannot be destroyed", 'Resource oci_core_public_ip.reserved["ingress"] has it', ""),
            Diagnostic("Instance cannot be destroyed", 'Resource oci_core_public_ip.reserved["bastion"] has it', ""),
        ],
        (),
    )
    assert 'oci_core_public_ip.reserved["ingress"]' in error.what
    assert 'oci_core_public_ip.reserved["bastion"]' in error.what


def test_the_stream_becomes_lines_for_a_person() -> None:
    said: list[str] = []
    listener = Listener(said.append)
    resource = {"addr": "oci_core_vcn.this"}
    for message in (
        {"type": "version", "tofu": "1.12.6"},
        {"type": "refresh_start", "hook": {"resource": resource}},
        {"type": "planned_change", "change": {"resource": resource, "action": "create"}},
        {"type": "apply_start", "hook": {"resource": resource, "action": "create"}},
        {"type": "apply_progress", "hook": {"resource": resource, "action": "create", "elapsed_seconds": 10}},
        {"type": "apply_complete", "hook": {"resource": resource, "action": "create", "elapsed_seconds": 12}},
        {"type": "apply_errored", "hook": {"resource": resource, "action": "update", "elapsed_seconds": 3}},
        {"type": "diagnostic", "diagnostic": {"severity": "warning", "summary": "Deprecated"}},
        {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "Broken", "detail": "so"}},
    ):
        listener.hear(json.dumps(message))
    listener.hear("panic: something that is not JSON")
    listener.hear("")
    assert said == [
        "make oci_core_vcn.this",
        "make oci_core_vcn.this: still at it after 10 s",
        "make oci_core_vcn.this: done in 12 s",
        "change oci_core_vcn.this: failed after 3 s",
        "tofu warns: Deprecated",
    ]
    assert listener.errors == [Diagnostic("Broken", "so", "")]
    assert listener.noise == ["panic: something that is not JSON"]


_KINDS = ["diagnostic", "apply_start", "apply_progress", "apply_complete", "outputs"]
_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["resource", "addr", "action", "severity", "summary"]), inner)
    ),
    max_leaves=8,
)
_messages = st.fixed_dictionaries(
    {"type": st.sampled_from(_KINDS) | _anything}, optional={"hook": _anything, "diagnostic": _anything}
)


@given(_messages | _anything | st.text())
def test_no_line_however_odd_breaks_the_listener(message: object) -> None:
    listener = Listener(lambda line: None)
    listener.hear(message if isinstance(message, str) else json.dumps(message))
    assert isinstance(error_of("plan", listener.errors, listener.noise), OcifreeError)
