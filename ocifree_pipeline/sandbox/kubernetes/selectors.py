"""Label selectors and field selectors."""

import re
from collections.abc import Mapping

from ocifree_pipeline.sandbox.kubernetes import statuses
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

_SET_BASED = re.compile(r"\s*(\S+)\s+(in|notin)\s+\(([^()]*)\)\s*")
_EQUALITY = re.compile(r"\s*([^!=\s]+)\s*(==|=|!=)\s*([^!=\s]*)\s*")
_SPLIT = re.compile(r",(?![^(]*\))")

FIELDS = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
    "spec.nodeName": ("spec", "nodeName"),
    "spec.schedulerName": ("spec", "schedulerName"),
    "spec.unschedulable": ("spec", "unschedulable"),
    "status.phase": ("status", "phase"),
    "type": ("type",),
    "reason": ("reason",),
    "involvedObject.name": ("involvedObject", "name"),
    "involvedObject.namespace": ("involvedObject", "namespace"),
    "involvedObject.kind": ("involvedObject", "kind"),
    "involvedObject.uid": ("involvedObject", "uid"),
}


def labels_match(selector: str, labels: Mapping[str, str]) -> bool:
    """A selector in the language of queries: ``app=web,tier in (a, b),!legacy``."""
    return all(_one_matches(one, labels) for one in _SPLIT.split(selector) if one.strip())


def _one_matches(requirement: str, labels: Mapping[str, str]) -> bool:
    if found := _SET_BASED.fullmatch(requirement):
        values = {one.strip() for one in found[3].split(",")}
        inside = labels.get(found[1]) in values if found[1] in labels else False
        return inside if found[2] == "in" else not inside
    if found := _EQUALITY.fullmatch(requirement):
        equal = labels.get(found[1]) == found[3]
        return not equal if found[2] == "!=" else equal
    name = requirement.strip()
    if not re.fullmatch(r"!?[A-Za-z0-9./_-]+", name):
        raise statuses.bad_request(f"unable to parse requirement: {requirement.strip()}")
    return name[1:] not in labels if name.startswith("!") else name in labels


def fields_match(selector: str, tree: Tree) -> bool:
    for one in selector.split(","):
        if not one.strip():
            continue
        found = _EQUALITY.fullmatch(one)
        if found is None:
            raise statuses.bad_request(f"invalid selector: '{one}'; can't understand '{one}'")
        if found[1] not in FIELDS:
            raise statuses.bad_request(f"field label not supported: {found[1]}")
        value = at(tree, *FIELDS[found[1]], default="")
        equal = (str(value).lower() if isinstance(value, bool) else str(value)) == found[3]
        if equal == (found[2] == "!="):
            return False
    return True


def selects(selector: Tree | None, labels: Mapping[str, str]) -> bool:
    """A ``LabelSelector`` object; an empty one selects everything, none nothing."""
    if selector is None:
        return False
    for name, value in (selector.get("matchLabels") or {}).items():
        if labels.get(name) != value:
            return False
    for one in selector.get("matchExpressions") or ():
        name, values, present = one["key"], one.get("values") or [], one["key"] in labels
        verdict = {
            "In": present and labels.get(name) in values,
            "NotIn": not present or labels.get(name) not in values,
            "Exists": present,
            "DoesNotExist": not present,
        }[one["operator"]]
        if not verdict:
            return False
    return True


def text_of(selector: Tree | None) -> str:
    """A ``LabelSelector`` in the language of queries."""
    if not selector:
        return ""
    parts = [f"{name}={value}" for name, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        values = ",".join(one.get("values") or ())
        parts.append(
            {
                "In": f"{one['key']} in ({values})",
                "NotIn": f"{one['key']} notin ({values})",
                "Exists": one["key"],
                "DoesNotExist": f"!{one['key']}",
            }[one["operator"]]
        )
    return ",".join(parts)
