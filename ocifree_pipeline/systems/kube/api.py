"""The API of one cluster: the few calls that we make, over a connection that is forwarded to this computer.

Whoever answers has to present a certificate of the cluster's authority that bears the host of the kubeconfig, whatever
address was really dialled.
"""

from __future__ import annotations

import json
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from ocifree_pipeline.deployment.errors import AuthFailed, NotVerified, Refused, Transient
from ocifree_pipeline.systems.kube.errors import error_of
from ocifree_pipeline.systems.kube.kubeconfig import Credentials
from ocifree_pipeline.systems.kube.objects import Object, Ref, ref_of

if TYPE_CHECKING:
    import urllib3

MANAGER = "ocifree"
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
PAGE = 500
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Resource:
    """Where the objects of a kind are found."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, ref: Ref) -> str:
        return f"{self.collection(ref.namespace)}/{quote(ref.name, safe='')}"

    def collection(self, namespace: str = "") -> str:
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{root}{inside}/{self.plural}"


@dataclass(slots=True)
class Api:
    """Every answer that is not a success is one of our errors; only 404 to a reading is an answer: None."""

    pool: urllib3.HTTPSConnectionPool
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    _kinds: dict[str, dict[str, Resource]] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> tuple[str, int]:
        """Where it is dialled."""
        return self.pool.host, int(self.pool.port or 0)

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """None while the cluster does not have such a kind."""
        if kind not in self._kinds.get(api_version, {}):
            self._kinds[api_version] = self._discovered(api_version)
        return self._kinds[api_version].get(kind)

    def require(self, api_version: str, kind: str) -> Resource:
        found = self.resource(api_version, kind)
        if found is None:
            raise NotVerified(
                f"the cluster knows no {kind} of {api_version}",
                why="what brings that kind is not installed, or brings another version of it",
                fix="ocifree up --select 'platform/flux' says what is missing of Flux; "
                "ocifree up --select 'platform/cilium' of Cilium",
            )
        return found

    def get(self, resource: Resource, ref: Ref) -> Object | None:
        return self._call("GET", resource.path(ref), f"read {ref}", none_for=404)

    def list(self, resource: Resource, namespace: str = "", labels: str = "", fields: str = "") -> list[Object]:
        """All of them, page by page."""
        found: list[Object] = []
        after = ""
        while True:
            given = (("labelSelector", labels), ("fieldSelector", fields), ("continue", after))
            query = {"limit": str(PAGE)} | {name: value for name, value in given if value}
            page = self._call("GET", resource.collection(namespace), f"list {resource.plural}", query=query) or {}
            # The entries of a list do not say what they are; the list does.
            found += [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page["items"]]
            after = str(page.get("metadata", {}).get("continue") or "")
            if not after:
                return found

    def apply(self, resource: Resource, thing: Object) -> Object:
        """Server-side apply as `ocifree`. What another manager has set is never taken from it."""
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        return self._apply(resource, thing, "apply", query)

    def rehearse(self, resource: Resource, thing: Object, *, whoever_manages: bool = False) -> Object:
        """What applying would give; nothing is changed. The fields of other managers stop it, unless they shall not."""
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict", "dryRun": "All"}
        return self._apply(resource, thing, "compare", query | ({"force": "true"} if whoever_manages else {}))

    def _apply(self, resource: Resource, thing: Object, verb: str, query: Mapping[str, str]) -> Object:
        ref = ref_of(thing)
        return self._call("PATCH", resource.path(ref), f"{verb} {ref}", query=query, body=thing, content=_APPLY) or {}

    def annotate(self, resource: Resource, ref: Ref, notes: Mapping[str, str]) -> None:
        self.merge(resource, ref, {"metadata": {"annotations": dict(notes)}}, f"annotate {ref}")

    def merge(self, resource: Resource, ref: Ref, body: Object, doing: str) -> None:
        """Set these fields and no others; None takes one away."""
        self._call("PATCH", resource.path(ref), doing, query={"fieldManager": MANAGER}, body=body, content=_MERGE)

    def evict(self, pod: Ref, uid: str) -> None:
        """Ask for this very pod to leave its node; a budget that has no room for it answers as a throttle does."""
        body: Object = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        self._call("POST", f"{self.require('v1', 'Pod').path(pod)}/eviction", f"evict {pod}", body=body)

    def delete(self, resource: Resource, ref: Ref, uid: str) -> None:
        """This very object and no other of its name; gone already is as good."""
        body: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        self._call("DELETE", resource.path(ref), f"delete {ref}", body=body, none_for=404)

    def version(self) -> str:
        found = self._call("GET", "/version", "ask for the version of Kubernetes") or {}
        return str(found.get("gitVersion", "")).removeprefix("v")

    def _discovered(self, api_version: str) -> dict[str, Resource]:
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        found = self._call("GET", path, f"ask for the kinds of {api_version}", none_for=404) or {}
        return {
            one["kind"]: Resource(api_version, one["kind"], one["name"], bool(one["namespaced"]))
            for one in found.get("resources", ())
            if "/" not in one["name"]
        }

    def _call(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
        none_for: int | None = None,
    ) -> Object | None:
        import urllib3.exceptions

        headers = {"Accept": "application/json", **self.headers} | ({"Content-Type": content} if body else {})
        try:
            answer = self.pool.request(
                method,
                f"{path}?{urlencode(query)}" if query else path,
                body=json.dumps(body).encode() if body is not None else None,
                headers=headers,
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.SSLError as error:
            raise _untrusted(doing, self.pool.host, error) from None
        except urllib3.exceptions.HTTPError as error:
            raise Transient(
                f"{doing}: no answer",
                why=_words(error),
                fix="the API server may be starting; try again in a minute",
            ) from None
        if answer.status == none_for:
            return None
        if answer.status >= 300:
            is_secret = body is not None and body.get("kind") == "Secret"
            raise error_of(answer.status, answer.data, doing, secret=is_secret)
        return self._object(answer.data, doing)

    def _object(self, data: bytes, doing: str) -> Object:
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Transient(f"{doing}: the answer is no object", why="it is no JSON", fix="try again in a minute")
        return found


@contextmanager
def api_at(address: tuple[str, int], credentials: Credentials) -> Iterator[Api]:
    """The API that is dialled at `address`; its certificate must bear the name in the credentials."""
    import urllib3

    token = credentials.token.get_secret_value()
    pool = urllib3.HTTPSConnectionPool(
        address[0],
        address[1],
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        maxsize=2,
        ssl_context=_context(credentials),
        server_hostname=credentials.host,
    )
    try:
        yield Api(pool, {"Authorization": f"Bearer {token}"} if token else {})
    finally:
        pool.close()


def _context(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=credentials.authority)
        if credentials.certificate:
            _load_chain(context, credentials)
    except ssl.SSLError as error:
        raise Refused(
            "the certificates of the kubeconfig cannot be read",
            why=error.reason or "they are no PEM",
            fix="ocifree up --select 'talos/kubeconfig' fetches a new kubeconfig",
        ) from None
    return context


def _load_chain(context: ssl.SSLContext, credentials: Credentials) -> None:
    """The key lies in a file of ours alone, for as long as OpenSSL takes to read it: it reads from nowhere else."""
    descriptor, name = tempfile.mkstemp(prefix="ocifree-")
    try:
        with os.fdopen(descriptor, "w") as target:
            target.write(credentials.certificate + "\n" + credentials.key.get_secret_value())
        context.load_cert_chain(name)
    finally:
        os.unlink(name)  # noqa: PTH108 - mkstemp gives a name


def _untrusted(doing: str, host: str, error: Exception) -> Exception:
    why = _words(error)
    if "EOF" in why:
        # A way through the bastion that leads nowhere ends like this: nobody has shown a certificate.
        return Transient(f"{doing}: no answer", why=why, fix="the API server may be starting; try again in a minute")
    if "alert" in why.lower():
        return AuthFailed(
            f"{doing}: the cluster refuses our certificate",
            why=why,
            fix="ocifree up --select 'talos/kubeconfig' fetches a new kubeconfig",
        )
    if "not yet valid" in why or "has expired" in why:
        return AuthFailed(
            f"{doing}: the certificate that is shown is of another time than this computer's",
            why=why,
            fix="is the clock of this computer right (`date`)? If it is, look at the clock of the node",
        )
    return NotVerified(
        f"{doing}: whoever answers is not this cluster",
        why=why,
        fix="somebody else answers there, or the cluster was made anew: ocifree up --select 'talos/kubeconfig'",
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
