"""Custom resource definitions: the kinds that they add, and whether they are sound."""

from collections.abc import Iterable

from ocifree_pipeline.sandbox.kubernetes import schemas
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind, Scale
from ocifree_pipeline.sandbox.kubernetes.statuses import Cause
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"
APPROVAL = "api-approved.kubernetes.io"


def kinds_of(definition: Tree) -> Iterable[Kind]:
    """The kinds that a definition serves, its preferred version first."""
    spec = definition["spec"]
    names = spec["names"]
    for version in sorted(spec["versions"], key=lambda one: _priority(one["name"])):
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        scale = subresources.get("scale")
        yield Kind(
            group=spec["group"],
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            namespaced=spec["scope"] == "Namespaced",
            short=tuple(names.get("shortNames") or ()),
            status="status" in subresources,
            scale=Scale(scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", ""))
            if scale
            else None,
            categories=tuple(names.get("categories") or ()),
            custom=schemas.custom(at(version, "schema", "openAPIV3Schema", default={})),
        )


def _priority(version: str) -> tuple[int, int, int, str]:
    """v2 before v1 before v1beta2 before v1alpha1 before anything else."""
    head, _, tail = version.removeprefix("v").partition("beta") if "beta" in version else version[1:].partition("alpha")
    if not version.startswith("v") or not head.isdigit():
        return (3, 0, 0, version)
    stage = 1 if "beta" in version else 2 if "alpha" in version else 0
    return (stage, -int(head), -int(tail or 0), version)


def problems(definition: Tree) -> list[Cause]:
    spec = definition.get("spec") or {}
    names = spec.get("names") or {}
    causes: list[Cause] = []
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if definition["metadata"]["name"] != wanted:
        causes.append(
            Cause(
                "FieldValueInvalid",
                f'Invalid value: "{definition["metadata"]["name"]}": must be spec.names.plural+"."+spec.group',
                "metadata.name",
            )
        )
    group = str(spec.get("group") or "")
    annotations = definition["metadata"].get("annotations") or {}
    if group.endswith((".k8s.io", ".kubernetes.io")) and APPROVAL not in annotations:
        causes.append(
            Cause(
                "FieldValueRequired",
                f'Required value: protected groups must have approval annotation "{APPROVAL}", see '
                "https://github.com/kubernetes/enhancements/pull/1111",
                f"metadata.annotations[{APPROVAL}]",
            )
        )
    versions = spec.get("versions") or []
    if sum(bool(one.get("storage")) for one in versions) != 1:
        causes.append(
            Cause(
                "FieldValueInvalid",
                "Invalid value: must have exactly one version marked as storage version",
                "spec.versions",
            )
        )
    for index, one in enumerate(versions):
        place = f"spec.versions[{index}].schema.openAPIV3Schema"
        schema = at(one, "schema", "openAPIV3Schema")
        if not schema:
            causes.append(Cause("FieldValueRequired", "Required value: schemas are required", place))
        elif schema.get("type") != "object":
            causes.append(Cause("FieldValueRequired", "Required value: must not be empty at the root", f"{place}.type"))
    return causes


def established(definition: Tree, now: str) -> Tree:
    """The status that makes clients believe that the kinds are served."""
    spec = definition["spec"]
    names = {
        "singular": spec["names"].get("singular") or spec["names"]["kind"].lower(),
        "listKind": spec["names"].get("listKind") or f"{spec['names']['kind']}List",
    } | spec["names"]
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
        }
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    storage = next(one["name"] for one in spec["versions"] if one.get("storage"))
    return {"acceptedNames": names, "conditions": conditions, "storedVersions": [storage]}
