"""Every refusal of an API server is one of our errors, by what can be done about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    Forbidden,
    OcifreeError,
    Refused,
    Throttled,
    Transient,
)
from ocifree_pipeline.systems.kube.errors import Changed, Gone, error_of


def body(reason: str, message: str, **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details}).encode()


CONFLICT = body(
    "Conflict",
    "Apply failed with 2 conflicts",
    causes=[
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl" using apps/v1',
            "field": ".spec.replicas",
        },
        {"reason": "FieldManagerConflict", "message": 'conflict with "hpa"', "field": ".spec.template"},
    ],
)


@pytest.mark.parametrize(
    ("status", "answer", "kind", "why"),
    [
        (400, body("BadRequest", "unknown field"), Refused, "unknown field"),
        (401, body("Unauthorized", "Unauthorized"), AuthFailed, "Unauthorized"),
        (403, body("Forbidden", "exceeded quota: all-pods"), Forbidden, "exceeded quota: all-pods"),
        (404, body("NotFound", 'namespaces "x" not found'), Gone, 'namespaces "x" not found'),
        (409, body("Conflict", "the object has been modified"), Changed, "the object has been modified"),
        (409, CONFLICT, Conflict, "kubectl has set .spec.replicas; hpa has set .spec.template"),
        (410, body("Expired", "too old"), Gone, "too old"),
        (422, body("Invalid", "spec.replicas: Invalid value"), Refused, "spec.replicas: Invalid value"),
        (429, body("TooManyRequests", "slow down"), Throttled, "slow down"),
        (500, b"etcdserver: request timed out", Transient, "etcdserver: request timed out"),
        (501, body("NotImplemented", "not played"), Refused, "not played"),
        (503, b"", Transient, "HTTP 503"),
    ],
)
def test_one_class_for_each_kind_of_answer(status: int, answer: bytes, kind: type[OcifreeError], why: str) -> None:
    error = error_of(status, answer, "apply Deployment sample/hello")
    assert type(error) is kind
    assert error.what.startswith("apply Deployment sample/hello: ")
    assert error.why == why
    assert error.fix


def test_the_other_manager_is_named() -> None:
    error = error_of(409, CONFLICT, "apply Deployment sample/hello")
    assert error.what == "apply Deployment sample/hello: kubectl and hpa manage the same fields"


def test_what_is_said_about_a_secret_is_not_repeated() -> None:
    answer = body("Invalid", 'data[key]: Invalid value: "hunter2"')
    error = error_of(422, answer, "apply Secret a/b", secret=True)
    assert error.why == "Invalid"
    assert "hunter2" not in str(error)


def test_long_answers_are_cut() -> None:
    assert len(error_of(500, b"x" * 5000, "list pods").why) < 500
