"""What the API says when it refuses: ``Status`` objects, as every client of Kubernetes knows them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.kubernetes.trees import Tree


@dataclass(frozen=True, slots=True)
class Cause:
    reason: str
    message: str
    field: str

    def to_json(self) -> Tree:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class Refusal(Exception):
    """An error with the body that the client gets."""

    def __init__(self, code: int, reason: str, message: str, details: Tree | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    @property
    def body(self) -> Tree:
        body: Tree = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        return body


def success(details: Tree) -> Tree:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(name: str, group: str, kind: str, causes: Iterable[Cause] = ()) -> Tree:
    found: dict[str, Any] = {"name": name, "group": group, "kind": kind}
    listed = [one.to_json() for one in causes]
    return {key: value for key, value in found.items() if value} | ({"causes": listed} if listed else {})


def not_found(resource: str, group: str, name: str) -> Refusal:
    return Refusal(404, "NotFound", f'{qualified(resource, group)} "{name}" not found', _details(name, group, resource))


def no_such_path() -> Refusal:
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: str, group: str, name: str) -> Refusal:
    return Refusal(
        409, "AlreadyExists", f'{qualified(resource, group)} "{name}" already exists', _details(name, group, resource)
    )


def conflict(resource: str, group: str, name: str, why: str = "") -> Refusal:
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    return Refusal(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(resource, group)} "{name}": {why}',
        _details(name, group, resource),
    )


def apply_conflict(causes: list[Cause]) -> Refusal:
    """Server-side apply: somebody else owns what is to be changed."""
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        fields: dict[str, list[str]] = {}
        for one in causes:
            fields.setdefault(one.message.removeprefix("conflict "), []).append(f"\n- {one.field}")
        said = "\n".join(f"conflicts {manager}:{''.join(found)}" for manager, found in fields.items())
        message = f"Apply failed with {len(causes)} conflicts: {said}"
    return Refusal(409, "Conflict", message, {"causes": [one.to_json() for one in causes]})


def invalid(kind: str, group: str, name: str, causes: list[Cause]) -> Refusal:
    said = [f"{one.field}: {one.message}" for one in causes]
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    return Refusal(
        422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {text}', _details(name, group, kind, causes)
    )


def too_many_disruptions(budget: Tree) -> Refusal:
    status, name = budget.get("status") or {}, budget["metadata"]["name"]
    needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    cause = {
        "reason": "DisruptionBudget",
        "message": f"The disruption budget {name} needs {needs} healthy pods and has {has} currently",
    }
    said = "Cannot evict pod as it would violate the pod's disruption budget."
    return Refusal(429, "TooManyRequests", said, {"causes": [cause]})


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def unauthorized() -> Refusal:
    return Refusal(401, "Unauthorized", "Unauthorized")


def forbidden(resource: str, group: str, name: str, why: str) -> Refusal:
    subject = qualified(resource, group) + (f' "{name}"' if name else "")
    return Refusal(403, "Forbidden", f"{subject} is forbidden: {why}", _details(name, group, resource))


def forbidden_path(path: str, user: str, verb: str) -> Refusal:
    return Refusal(403, "Forbidden", f'forbidden: User "{user}" cannot {verb} path "{path}"')


def method_not_allowed() -> Refusal:
    return Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def unsupported_media_type(found: str, known: Iterable[str]) -> Refusal:
    listed = ", ".join(known)
    return Refusal(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {listed} (not {found})",
    )


def expired(message: str) -> Refusal:
    return Refusal(410, "Expired", message)


def not_played(what: str) -> Refusal:
    return Refusal(501, "NotImplemented", f"the sandbox does not play {what}")
