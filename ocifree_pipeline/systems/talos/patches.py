"""Strategic merge patches, as Talos understands them.

Maps are merged, lists are appended, everything else is replaced. A few lists are replaced as a whole. A map that says
`$patch: delete` removes what it stands for. A patch for a document of its own kind finds it by kind and name, and adds
it where there is none; a patch without a kind is for the document `version: v1alpha1`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

Document = Mapping[str, Any]
Patch = Mapping[str, Any]

_WHOLE = frozenset({"podSubnets", "serviceSubnets", "auditPolicy"})
"""Half of an old value and half of a new one would be neither."""


def patched(documents: Iterable[Document], patches: Iterable[Patch]) -> tuple[Document, ...]:
    """The documents after every patch, in order. What came in is left as it is."""
    found: list[Document] = [deepcopy(dict(document)) for document in documents]
    for patch in patches:
        at = next((at for at, document in enumerate(found) if _identity(document) == _identity(patch)), None)
        if _deletes(patch):
            found = [document for number, document in enumerate(found) if number != at]
        elif at is None:
            found.append(_merged({}, patch))
        else:
            found[at] = _merged(found[at], patch)
    return tuple(found)


def _identity(document: Document) -> tuple[str, str]:
    return str(document.get("kind", "")), str(document.get("name", ""))


def _merged(base: Document, patch: Patch) -> Document:
    result = dict(base)
    for name, value in patch.items():
        before = result.get(name)
        if isinstance(value, Mapping):
            if _deletes(value):
                result.pop(name, None)
                continue
            keeps = isinstance(before, Mapping) and name not in _WHOLE
            result[name] = _merged(before if keeps and isinstance(before, Mapping) else {}, value)
        elif isinstance(value, list) and isinstance(before, list) and name not in _WHOLE:
            result[name] = [*before, *deepcopy(value)]
        else:
            result[name] = deepcopy(value)
    return result


def _deletes(patch: Patch) -> bool:
    return patch.get("$patch") == "delete"
