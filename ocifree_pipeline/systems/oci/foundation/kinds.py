"""What the engine can do with one kind of resource: list, make, change, read, delete. The SDK's names live here."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.convergence import Found
from ocifree_pipeline.deployment.errors import Forbidden
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.limits import DEPLOYMENT_TAG
from ocifree_pipeline.systems.oci.session import Session, every, reading

ROLE_TAG = "ocifree-key"
"""The freeform tag that says what a resource is within its deployment."""

ENDED = frozenset({"TERMINATED", "DELETED"})
GONE = frozenset({"TERMINATING", "DELETING"}) | ENDED
READY = frozenset({"AVAILABLE", "ACTIVE", "ASSIGNED", "UNASSIGNED"})


@dataclass(frozen=True, slots=True)
class Scope:
    """Where we look and make. `compartment` is None until it stands."""

    session: Session
    deployment: str
    compartment: str | None

    def tags(self, role: str) -> dict[str, str]:
        return {DEPLOYMENT_TAG: self.deployment, ROLE_TAG: role}

    def is_ours(self, thing: Any) -> bool:
        return (thing.freeform_tags or {}).get(DEPLOYMENT_TAG) == self.deployment

    @property
    def inside(self) -> str:
        """The compartment; a bug if it does not stand yet."""
        if self.compartment is None:
            raise RuntimeError("the compartment is made before everything in it")
        return self.compartment


class Kind(ABC):
    """One kind of resource. Nothing here retries a call that changes anything."""

    name: str

    @abstractmethod
    def list(self, scope: Scope) -> Iterator[Found]:
        """Everything of this kind that stands, ours or not."""

    @abstractmethod
    def read(self, scope: Scope, found_id: str) -> Found | None:
        """One of them as it is now, on its way out too; None when it has ended."""

    @abstractmethod
    def create(self, scope: Scope, name: str, values: Mapping[str, Any], tags: Mapping[str, str], token: str) -> str:
        """Make it, or get the one that the same token made before. Its OCID."""

    @abstractmethod
    def update(self, scope: Scope, found: Found, changes: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Change these fields in place (`name` among them), and leave others' tags alone."""

    @abstractmethod
    def delete(self, scope: Scope, found: Found) -> None:
        """Ask for its end. Nothing to do if it is gone."""


@dataclass(frozen=True)
class Plain(Kind):
    """A kind whose operations have the regular names: create_vcn(CreateVcnDetails), list_vcns(compartment_id), ...

    `readable` are the attributes that plans compare; `shown` are further ones that others need.
    """

    name: str
    client: str
    noun: str
    plural: str
    model: str
    readable: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    in_root: bool = False
    name_field: str = "display_name"

    def list(self, scope: Scope) -> Iterator[Found]:
        place = scope.session.tenancy if self.in_root else scope.compartment
        if place is None:
            return
        operation = getattr(self._client(scope), f"list_{self.plural}")
        with told(f"list the {self.plural.replace('_', ' ')}"):
            things = every(operation, **self.list_arguments(place))
        for thing in things:
            if thing.lifecycle_state not in GONE:
                yield self.found(scope, thing)

    def read(self, scope: Scope, found_id: str) -> Found | None:
        operation = getattr(self._client(scope), f"get_{self.noun}")
        try:
            with told(f"read the {self.words} {found_id}"):
                thing = operation(found_id, retry_strategy=reading()).data
        except Forbidden:
            return None  # Oracle does not tell "gone" from "not for you"; we have just listed or made it
        return None if thing.lifecycle_state in ENDED else self.found(scope, thing)

    def create(self, scope: Scope, name: str, values: Mapping[str, Any], tags: Mapping[str, str], token: str) -> str:
        fields = {self.name_field: name, "freeform_tags": dict(tags), "compartment_id": self.place_of_new(scope)}
        details = self._details("Create", {**fields, **self.to_sdk(values)})
        operation = getattr(self._client(scope), f"create_{self.noun}")
        with told(f"make the {self.words} {name}"):
            return str(operation(details, opc_retry_token=token).data.id)

    def update(self, scope: Scope, found: Found, changes: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        fields = {self.name_field if key == "name" else key: value for key, value in changes.items()}
        details = self._details("Update", {**self.to_sdk(fields), "freeform_tags": dict(tags)})
        operation = getattr(self._client(scope), f"update_{self.noun}")
        with told(f"change the {self.words} {found.name}"):
            operation(found.id, details)

    def delete(self, scope: Scope, found: Found) -> None:
        try:
            with told(f"delete the {self.words} {found.name}"):
                getattr(self._client(scope), f"delete_{self.noun}")(found.id)
        except Forbidden:
            if self.read(scope, found.id) is not None:
                raise

    @property
    def words(self) -> str:
        return self.name.replace("_", " ")

    def found(self, scope: Scope, thing: Any) -> Found:
        return Found(
            id=thing.id,
            name=str(getattr(thing, self.name_field)),
            is_ours=scope.is_ours(thing),
            state=thing.lifecycle_state,
            values=self.values_of(scope, thing),
            attributes={name: getattr(thing, name) for name in self.shown},
            tags=dict(thing.freeform_tags or {}),
        )

    # where a kind differs -------------------------------------------------------------------------------------------

    def list_arguments(self, place: str) -> dict[str, Any]:
        return {"compartment_id": place}

    def place_of_new(self, scope: Scope) -> str:
        return scope.session.tenancy if self.in_root else scope.inside

    def values_of(self, scope: Scope, thing: Any) -> dict[str, Any]:
        return {name: getattr(thing, name) for name in self.readable}

    def to_sdk(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return dict(values)

    def _client(self, scope: Scope) -> Any:
        return scope.session.client(self.client)

    def _details(self, verb: str, fields: Mapping[str, Any]) -> Any:
        return self.sdk_model(f"{verb}{self.model}Details", fields)

    def sdk_model(self, name: str, fields: Mapping[str, Any]) -> Any:
        module = importlib.import_module(f"oci.{self.client.rpartition('.')[0]}.models")
        return getattr(module, name)(**fields)
