"""JSON patch (RFC 6902), merge patch (RFC 7386) and the strategic merge patch of built-in kinds."""

from typing import Any

from ocifree_pipeline.sandbox.kubernetes import statuses
from ocifree_pipeline.sandbox.kubernetes.schemas import Node
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, clone


def merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return clone(patch)
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merge(found.get(name), value)
    return found


# strategic ------------------------------------------------------------------------------------------------------------

DIRECTIVE, DELETE_VALUES, ORDER, RETAIN = "$patch", "$deleteFromPrimitiveList/", "$setElementOrder/", "$retainKeys"


def strategic(target: Any, patch: Any, node: Node) -> Any:
    if isinstance(patch, dict):
        return _strategic_object(target if isinstance(target, dict) else {}, patch, node)
    return clone(patch)


def _strategic_object(target: Tree, patch: Tree, node: Node) -> Tree:
    directive = patch.get(DIRECTIVE)
    if directive == "replace":
        return {name: clone(value) for name, value in patch.items() if name != DIRECTIVE}
    if directive == "delete":
        return {}
    found = dict(target)
    if RETAIN in patch:
        found = {name: value for name, value in found.items() if name in patch[RETAIN]}
    for name, value in patch.items():
        if name.startswith(DELETE_VALUES):
            bare = name.removeprefix(DELETE_VALUES)
            found[bare] = [one for one in found.get(bare) or [] if one not in value]
        elif name in {DIRECTIVE, RETAIN} or name.startswith(ORDER):
            continue
        elif value is None:
            found.pop(name, None)
        else:
            child = node.child(name)
            found[name] = _strategic_member(found.get(name), value, child) if child is not None else clone(value)
    return found


def _strategic_member(target: Any, patch: Any, node: Node) -> Any:
    if not isinstance(patch, list):
        return strategic(target, patch, node)
    if node.merge_key:
        return _strategic_list(target or [], patch, node)
    if node.merges_values:
        return [*(target or []), *(one for one in patch if one not in (target or []))]
    return clone(patch)


def _strategic_list(target: list[Any], patch: list[Any], node: Node) -> list[Any]:
    name, items = node.merge_key, node.items
    if {DIRECTIVE: "replace"} in patch:
        return [clone(one) for one in patch if one != {DIRECTIVE: "replace"}]
    found = list(target)
    for one in patch:
        if not isinstance(one, dict) or name not in one:
            raise statuses.bad_request(f"map: {one} does not contain declared merge key: {name}")
        index = next((number for number, other in enumerate(found) if other.get(name) == one[name]), None)
        if one.get(DIRECTIVE) == "delete":
            found = [other for other in found if other.get(name) != one[name]]
        elif index is None:
            found.append(_strategic_object({}, one, items))
        else:
            found[index] = _strategic_object(found[index], one, items)
    return found


# JSON patch -----------------------------------------------------------------------------------------------------------


def json_patch(target: Any, operations: Any) -> Any:
    if not isinstance(operations, list):
        raise statuses.bad_request("error decoding patch: json: cannot unmarshal object into Go value of type []patch")
    found = clone(target)
    for one in operations:
        found = _operate(found, one)
    return found


def _operate(tree: Any, operation: Tree) -> Any:
    kind, steps = operation.get("op"), _steps(operation.get("path", ""))
    if kind in {"add", "replace"}:
        return _put(tree, steps, clone(operation.get("value")), replaces=kind == "replace")
    if kind == "remove":
        return _take(tree, steps)[0]
    if kind in {"move", "copy"}:
        source = _steps(operation.get("from", ""))
        rest, value = _take(tree, source) if kind == "move" else (tree, clone(_look(tree, source)))
        return _put(rest, steps, value, replaces=False)
    if kind == "test":
        if _look(tree, steps) != operation.get("value"):
            raise _unprocessable(f"testing value {operation.get('path')} failed: test failed")
        return tree
    raise statuses.bad_request(f"Unexpected kind: {kind}")


def _steps(pointer: str) -> list[str]:
    return [one.replace("~1", "/").replace("~0", "~") for one in pointer.split("/")[1:]]


def _look(tree: Any, steps: list[str]) -> Any:
    for step in steps:
        tree = _member(tree, step, steps)
    return tree


def _member(tree: Any, step: str, steps: list[str]) -> Any:
    try:
        return tree[int(step)] if isinstance(tree, list) else tree[step]
    except (KeyError, IndexError, ValueError, TypeError):
        raise _unprocessable(f"missing path: /{'/'.join(steps)}: missing value") from None


def _put(tree: Any, steps: list[str], value: Any, *, replaces: bool) -> Any:
    if not steps:
        return value
    holder, last = _look(tree, steps[:-1]), steps[-1]
    if replaces:
        _member(holder, last, steps)
    if isinstance(holder, list):
        if replaces:
            holder[int(last)] = value
        else:
            holder.insert(len(holder) if last == "-" else int(last), value)
    elif isinstance(holder, dict):
        holder[last] = value
    else:
        raise _unprocessable(f"add operation does not apply: doc is missing path: /{'/'.join(steps)}")
    return tree


def _take(tree: Any, steps: list[str]) -> tuple[Any, Any]:
    holder, last = _look(tree, steps[:-1]), steps[-1]
    value = _member(holder, last, steps)
    del holder[int(last) if isinstance(holder, list) else last]
    return tree, value


def _unprocessable(message: str) -> statuses.Refusal:
    return statuses.Refusal(
        422, "Invalid", f"the server rejected our request due to an error in our request: {message}"
    )
