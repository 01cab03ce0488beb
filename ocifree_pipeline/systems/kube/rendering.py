"""A folder of manifests/ and the values of a deployment give objects. Equal values give equal objects.

`*.yaml` is taken as it is, `*.yaml.j2` is a Jinja template in which a name that nobody gave is an error. A name that
begins with `_` is a piece that templates include. The filter `yaml` writes any value so that it cannot break out of its
place.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ocifree_pipeline.deployment.errors import PreconditionMissing, Refused
from ocifree_pipeline.systems.kube.objects import Object, require_distinct

if TYPE_CHECKING:
    import jinja2

VERSIONS = "versions.yaml"


def manifest_folder() -> Path:
    """The shipped manifests: inside the package when installed, beside it in a checkout."""
    package = Path(str(files("ocifree_pipeline")))
    for candidate in (package / "manifests", package.parent / "manifests"):
        if (candidate / VERSIONS).exists():
            return candidate
    raise PreconditionMissing(
        "the manifests are missing from this installation",
        why="what runs on the cluster is made from them",
        fix="install ocifree again",
    )


def versions(folder: Path | None = None) -> Mapping[str, Any]:
    """What is pinned outside of the declaration."""
    text = ((folder or manifest_folder()) / VERSIONS).read_text("utf-8")
    found: Mapping[str, Any] = yaml.safe_load(text)
    return found


def render(part: str, values: Mapping[str, Any], folder: Path | None = None) -> tuple[Object, ...]:
    """The objects of one folder, file by file."""
    root = folder or manifest_folder()
    objects = tuple(thing for path in _sources(root / part) for thing in _parsed(render_file(path, values, root), path))
    require_distinct(objects, part)
    return objects


def render_file(path: Path, values: Mapping[str, Any], folder: Path | None = None) -> str:
    """The text of one file."""
    import jinja2

    root = folder or manifest_folder()
    if path.suffix != ".j2":
        return path.read_text("utf-8")
    try:
        return _environment(root).get_template(path.relative_to(root).as_posix()).render(values)
    except jinja2.TemplateError as error:
        raise Refused(
            f"manifests/{path.relative_to(root)} does not render",
            why=f"{type(error).__name__}: {error}",
            fix="this is a fault of ocifree, or of your copy of its manifests",
        ) from error


def _sources(folder: Path) -> list[Path]:
    found = sorted(path for pattern in ("*.yaml", "*.yaml.j2") for path in folder.glob(pattern))
    return [path for path in found if not path.name.startswith("_")]


def _parsed(text: str, path: Path) -> Iterator[Object]:
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise Refused(
            f"{path.parent.name}/{path.name} is no YAML once it is rendered",
            why=str(error).replace("\n", " "),
            fix="this is a fault of ocifree, or of your copy of its manifests",
        ) from error
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict) or not {"apiVersion", "kind", "metadata"} <= document.keys():
            raise Refused(
                f"{path.parent.name}/{path.name} holds something that is no Kubernetes object",
                why="an object has apiVersion, kind and metadata",
                fix="this is a fault of ocifree, or of your copy of its manifests",
            )
        yield document


@cache
def _environment(root: Path) -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(root),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML, never HTML; every value passes through `yaml`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["yaml"] = _quoted
    return environment


class _Dumper(yaml.SafeDumper):
    """Text always in quotes: it stands in places of every kind, and a comma or a colon means something in some."""


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def _quoted(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=sys.maxsize)
    return text.removesuffix("\n").removesuffix("\n...")
