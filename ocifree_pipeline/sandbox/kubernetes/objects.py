"""Writing: create, update, patch, apply and delete, with everything that an API server checks on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ocifree_pipeline.sandbox.kubernetes import admission, bodies, custom, ownership, patches, statuses, validation
from ocifree_pipeline.sandbox.kubernetes.calls import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    PATCHES,
    STRATEGIC_PATCH,
    Answer,
    Call,
    Target,
)
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.store import Store
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at, clone, without_nulls

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_FROM_THE_SERVER = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
SUFFIX = 5


@dataclass(frozen=True, slots=True)
class Writer:
    """``fresh`` makes unique words: a purpose and a length."""

    store: Store
    service_cidr: str
    now: Callable[[], datetime]
    fresh: Callable[[str, int], str]

    def stamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    # verbs ----------------------------------------------------------------------------------------------------------

    def create(self, kind: Kind, target: Target, call: Call) -> Answer:
        tree = bodies.object_of(call.body, kind)
        manager = ownership.Manager(call.manager, "Update", kind.api_version)
        stored, warnings = self._create(kind, target, tree, call, manager=manager)
        return Answer(201, stored, warnings=warnings)

    def update(self, kind: Kind, target: Target, call: Call) -> Answer:
        new = bodies.object_of(call.body, kind)
        old = self.store.get(kind.resource, target.namespace, target.name)
        if old is None:
            raise statuses.not_found(kind.plural, kind.group, target.name)
        if at(new, "metadata", "name") != target.name:
            raise statuses.bad_request(
                f"the name of the object ({at(new, 'metadata', 'name')}) does not match the name on the URL"
                f" ({target.name})"
            )
        if kind.custom is not None and not at(new, "metadata", "resourceVersion"):
            cause = statuses.Cause(
                "FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion"
            )
            raise statuses.invalid(kind.kind, kind.group, target.name, [cause])
        return self._rewrite(kind, target, old, new, call)

    def patch(self, kind: Kind, target: Target, call: Call) -> Answer:
        if call.content_type not in PATCHES:
            raise statuses.unsupported_media_type(call.content_type, PATCHES)
        old = self.store.get(kind.resource, target.namespace, target.name)
        if call.content_type == APPLY_PATCH:
            return self._apply(kind, target, old, call)
        if old is None:
            raise statuses.not_found(kind.plural, kind.group, target.name)
        seen = old | {"apiVersion": kind.api_version}
        if call.content_type == JSON_PATCH:
            new = patches.json_patch(seen, call.body)
        elif call.content_type == MERGE_PATCH:
            new = patches.merge(seen, call.body)
        elif call.content_type == STRATEGIC_PATCH and kind.custom is None:
            new = patches.strategic(seen, call.body, kind.schema)
        else:
            raise statuses.unsupported_media_type(call.content_type, [one for one in PATCHES if one != STRATEGIC_PATCH])
        return self._rewrite(kind, target, old, bodies.object_of(new, kind), call)

    def delete(self, kind: Kind, target: Target, call: Call) -> Answer:
        old = self.store.get(kind.resource, target.namespace, target.name)
        if old is None:
            raise statuses.not_found(kind.plural, kind.group, target.name)
        options: Tree = call.body if isinstance(call.body, dict) else {}
        metadata = old["metadata"]
        for name, value in (options.get("preconditions") or {}).items():
            if value and metadata.get(name) != value:
                why = f"Precondition failed: {name} in precondition: {value}, in object meta: {metadata.get(name)}"
                raise statuses.conflict(kind.plural, kind.group, target.name, why)
        return self._delete(kind, old, call, options)

    # create ---------------------------------------------------------------------------------------------------------

    def _create(
        self, kind: Kind, target: Target, tree: Tree, call: Call, *, manager: ownership.Manager
    ) -> tuple[Tree, tuple[str, ...]]:
        metadata = tree["metadata"] = dict(tree.get("metadata") or {})
        for name in (*_FROM_THE_SERVER, "resourceVersion", "managedFields"):
            metadata.pop(name, None)
        self._place(kind, target, metadata)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + self.fresh("name", SUFFIX)
        metadata["uid"] = self._uid()
        metadata["creationTimestamp"] = self.stamp()
        if kind.status or kind.kind == "Pod":
            tree.pop("status", None)
        tree, warnings = self._checked(kind, tree, None, call)
        metadata = tree["metadata"]
        if self.store.get(kind.resource, metadata.get("namespace", ""), metadata["name"]) is not None:
            raise statuses.already_exists(kind.plural, kind.group, metadata["name"])
        if kind.status or "spec" in tree:
            metadata["generation"] = 1
        if kind.resource == custom.RESOURCE:
            tree["status"] = custom.established(tree, self.stamp())
        shares = ownership.read(metadata.get("managedFields") or ())
        if manager.operation == "Update":
            shares = ownership.updated({}, {}, tree, kind.schema, manager=manager, now=self.stamp())
        metadata["managedFields"] = ownership.written(shares)
        return (tree if call.dry_run else self.store.put(kind.resource, tree)), warnings

    def _place(self, kind: Kind, target: Target, metadata: Tree) -> None:
        """Put the object into the namespace of the path, which has to be there."""
        if not kind.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.setdefault("namespace", target.namespace) != target.namespace:
            raise statuses.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if not target.namespace:
            raise statuses.bad_request("an empty namespace may not be set during creation")
        namespace = self.store.get("namespaces", "", target.namespace)
        if namespace is None:
            raise statuses.not_found("namespaces", "", target.namespace)
        if namespace["metadata"].get("deletionTimestamp"):
            raise statuses.forbidden(
                kind.plural,
                kind.group,
                metadata.get("name", ""),
                f"unable to create new content in namespace {target.namespace} because it is being terminated",
            )

    def _uid(self) -> str:
        word = self.fresh("uid", 26).encode().hex()[:32]
        return f"{word[:8]}-{word[8:12]}-4{word[13:16]}-8{word[17:20]}-{word[20:32]}"

    # change ---------------------------------------------------------------------------------------------------------

    def _rewrite(self, kind: Kind, target: Target, old: Tree, new: Tree, call: Call) -> Answer:
        wanted = at(new, "metadata", "resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            raise statuses.conflict(kind.plural, kind.group, target.name)
        uid = at(new, "metadata", "uid")
        if uid and uid != old["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise statuses.conflict(kind.plural, kind.group, target.name, why)
        new = bodies.confined(kind, target.sub, old, new)
        new, warnings = self._checked(kind, new, old, call)
        manager = ownership.Manager(call.manager, "Update", kind.api_version, target.sub)
        shares = ownership.read(old["metadata"].get("managedFields") or ())
        if at(call.body, "metadata", "managedFields") == [{}]:
            shares = {}
        shares = ownership.updated(shares, old, new, kind.schema, manager=manager, now=self.stamp())
        return Answer(200, self._store(kind, old, new, shares, call), warnings=warnings)

    def _apply(self, kind: Kind, target: Target, old: Tree | None, call: Call) -> Answer:
        if "fieldManager" not in call.query:
            raise statuses.bad_request(
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
            )
        config = without_nulls(bodies.object_of(call.body, kind))
        metadata = config["metadata"] = dict(config.get("metadata") or {})
        if metadata.get("managedFields"):
            raise statuses.bad_request("metadata.managedFields must be nil")
        if metadata.setdefault("name", target.name) != target.name:
            raise statuses.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
            )
        version = metadata.pop("resourceVersion", None)
        if version is not None and (old is None or old["metadata"]["resourceVersion"] != version):
            raise statuses.conflict(kind.plural, kind.group, target.name)
        if kind.status:
            config = {
                name: value
                for name, value in config.items()
                if (name == "status") == (target.sub == "status") or name in {"apiVersion", "kind", "metadata"}
            }
        manager = ownership.Manager(call.query["fieldManager"], "Apply", kind.api_version, target.sub)
        live: Tree = old or {}
        try:
            merged, shares = ownership.applied(
                ownership.read(at(live, "metadata", "managedFields", default=[])),
                live | {"apiVersion": kind.api_version} if live else {},
                config,
                kind.schema,
                manager=manager,
                now=self.stamp(),
                force=call.is_set("force"),
            )
        except ownership.Untypable as error:
            where = f"{target.namespace}/{target.name}; {kind.api_version}, Kind={kind.kind}"
            raise statuses.Refusal(500, "", f"failed to create typed patch object ({where}): {error}") from None
        if old is None:
            if target.sub:
                raise statuses.not_found(kind.plural, kind.group, target.name)
            stored, warnings = self._create_applied(kind, target, merged, call, shares=shares, manager=manager)
            return Answer(201, stored, warnings=warnings)
        new = bodies.confined(kind, target.sub, old, merged)
        new, warnings = self._checked(kind, new, old, call)
        return Answer(200, self._store(kind, old, new, shares, call), warnings=warnings)

    def _create_applied(
        self,
        kind: Kind,
        target: Target,
        tree: Tree,
        call: Call,
        *,
        shares: ownership.Shares,
        manager: ownership.Manager,
    ) -> tuple[Tree, tuple[str, ...]]:
        created, warnings = self._create(kind, target, tree, _dry(call), manager=manager)
        created["metadata"]["managedFields"] = ownership.written(shares)
        return (created if call.dry_run else self.store.put(kind.resource, created)), warnings

    def _checked(self, kind: Kind, tree: Tree, old: Tree | None, call: Call) -> tuple[Tree, tuple[str, ...]]:
        """A sound copy: without unknown fields, with defaults, judged by schema and rules."""
        name = tree["metadata"].get("name", "")
        schema = kind.schema
        new, unknown = validation.pruned(tree, schema)
        strictness = call.query.get("fieldValidation", "Warn")
        if unknown and strictness == "Strict":
            said = ", ".join(f'unknown field "{one}"' for one in unknown)
            raise statuses.bad_request(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
                f"strict decoding error: {said}"
            )
        if kind.custom is not None:
            new = validation.defaulted(new, schema)
        try:
            causes = validation.problems(new, schema)
            if not causes:
                causes = validation.metadata_problems(kind.kind, new["metadata"])
        except validation.WrongType as error:
            raise statuses.bad_request(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: json: cannot unmarshal '
                f"{error.found} into Go struct field {kind.kind}.{error.path} of type {' or '.join(error.wanted)}"
            ) from None
        if kind.resource == custom.RESOURCE and not causes:
            causes = custom.problems(new)
        if causes:
            raise statuses.invalid(kind.kind, kind.group, name, causes)
        admission.admit(kind, new, old, self.store, self.service_cidr)
        warnings = [f'unknown field "{one}"' for one in unknown] if strictness == "Warn" else []
        if old is None:
            warnings += admission.not_played(kind, new)
        return new, tuple(warnings)

    def _store(self, kind: Kind, old: Tree, new: Tree, shares: ownership.Shares, call: Call) -> Tree:
        """Store what has changed; what has not keeps its resource version."""
        metadata = new["metadata"]
        for name in (*_FROM_THE_SERVER, "resourceVersion"):
            if name in old["metadata"]:
                metadata[name] = old["metadata"][name]
            else:
                metadata.pop(name, None)
        written = ownership.written(shares)
        metadata["managedFields"] = written
        if bodies.desired(new) != bodies.desired(old) and "generation" in metadata:
            metadata["generation"] += 1
        if kind.resource == custom.RESOURCE and new.get("spec") != old.get("spec"):
            new["status"] = custom.established(new, self.stamp())
        if new == old:
            return old
        if call.dry_run:
            return new
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and not bodies.holds_itself(kind, new):
            return self.store.remove(kind.resource, old)
        return self.store.put(kind.resource, new)

    # delete ---------------------------------------------------------------------------------------------------------

    def _delete(self, kind: Kind, old: Tree, call: Call, options: Tree) -> Answer:
        metadata = old["metadata"]
        policy = options.get("propagationPolicy") or call.query.get("propagationPolicy", "Background")
        grace = options.get("gracePeriodSeconds", call.query.get("gracePeriodSeconds"))
        finalizers = list(metadata.get("finalizers") or ())
        if policy == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        elif policy == "Orphan" and ORPHAN not in finalizers:
            finalizers.append(ORPHAN)
        graceful = kind.kind == "Pod" and bool(at(old, "spec", "nodeName")) and grace not in {0, "0"}
        held = graceful or bool(finalizers) or bodies.holds_itself(kind, old)
        details: Tree = {"name": metadata["name"], "kind": kind.plural, "uid": metadata["uid"]}
        if kind.group:
            details["group"] = kind.group
        if not held:
            if not call.dry_run:
                self.store.remove(kind.resource, old)
            return Answer(200, old if kind.kind == "Pod" else statuses.success(details))
        if metadata.get("deletionTimestamp") and finalizers == list(metadata.get("finalizers") or ()):
            return Answer(200, old)
        new: Tree = clone(old)
        new["metadata"]["deletionTimestamp"] = metadata.get("deletionTimestamp") or self.stamp()
        new["metadata"]["deletionGracePeriodSeconds"] = (
            int(grace or at(old, "spec", "terminationGracePeriodSeconds", default=30)) if graceful else 0
        )
        if finalizers:
            new["metadata"]["finalizers"] = finalizers
        if kind.kind == "Namespace" and not kind.group:
            new["status"] = {"phase": "Terminating"}
        return Answer(200, new if call.dry_run else self.store.put(kind.resource, new))


def _dry(call: Call) -> Call:
    return Call(
        call.method, call.path, call.user, {**call.query, "dryRun": "All"}, call.body, call.content_type, call.accept
    )
