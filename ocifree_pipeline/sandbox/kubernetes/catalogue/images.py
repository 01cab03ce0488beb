"""What containers of known images do: those that run to an end, and those that answer requests."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from ocifree_pipeline.sandbox.kubernetes.catalogue import charts, releases
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.kubernetes.running import Here


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def name_of(image: str) -> str:
    """Without registry, tag and digest: ``cilium/cilium-cli``."""
    bare = image.partition("@")[0]
    head, slash, tail = bare.rpartition("/")
    tail = tail.partition(":")[0]
    parts = f"{head}{slash}{tail}".split("/")
    return "/".join(parts[1:] if len(parts) > 1 and ("." in parts[0] or ":" in parts[0]) else parts)


def run(here: "Here", pod: Tree, container: Tree) -> None:
    """Do what a container does that ends. Refusal is its failure; of an unknown image nothing is known to happen."""
    does = RUNS.get(name_of(container["image"]))
    if does is not None:
        does(here, pod, container)


def answer(pod: Tree, container: Tree, method: str, path: str) -> Reply:
    """What a server in a container says."""
    says = ANSWERS.get(name_of(container["image"]))
    if says is None:
        return Reply(501, f"the sandbox does not play the image {container['image']}\n".encode())
    return says(pod, container, method, path)


def _words(container: Tree) -> list[str]:
    return [*(container.get("command") or ()), *(container.get("args") or ())]


def _option(words: Iterable[str], name: str, default: str = "") -> str:
    listed = list(words)
    for index, word in enumerate(listed):
        head, equals, tail = word.partition("=")
        if head in {f"-{name}", f"--{name}"}:
            return tail if equals else listed[index + 1] if index + 1 < len(listed) else default
    return default


def _mounted(here: "Here", pod: Tree, container: Tree, file: str) -> str:
    """A file of a volume that a ConfigMap fills."""
    namespace = pod["metadata"]["namespace"]
    folder, _, name = file.rpartition("/")
    for mount in container.get("volumeMounts") or ():
        if mount["mountPath"].rstrip("/") != folder:
            continue
        for volume in pod["spec"].get("volumes") or ():
            if volume["name"] == mount["name"] and "configMap" in volume:
                found = here.client.get("v1/configmaps", namespace, volume["configMap"]["name"])
                text = at(found, "data", name)
                if text is not None:
                    return str(text)
    raise Refusal(500, "", f"open {file}: no such file or directory")


def _cilium_cli(here: "Here", pod: Tree, container: Tree) -> None:
    """``cilium install``, as the service account of the pod."""
    words = _words(container)
    if "install" not in words:
        raise Refusal(500, "", f"the sandbox plays only `cilium install`, not {' '.join(words)}")
    chart = charts.named("cilium")
    version = _option(words, "version").removeprefix("v")
    if chart is None or not chart.has(version):
        raise Refusal(500, "", f"Unable to install Cilium: chart version {version!r} not found")
    file = _option(words, "values") or _option(words, "f")
    values: Tree = yaml.safe_load(_mounted(here, pod, container, file)) if file else {}
    metadata, spec = pod["metadata"], pod["spec"]
    account = here.as_account(metadata["namespace"], spec.get("serviceAccountName", "default"))
    release = charts.Release("cilium", "kube-system", version, values or {})
    if releases.deployed(account, release.namespace, release.name) is not None:
        raise Refusal(500, "", "Unable to install Cilium: cannot re-use a name that is still in use")
    try:
        releases.install(here, account, chart, release, "helm")
    except Refusal as refusal:
        raise Refusal(500, "", f"Unable to install Cilium: {refusal.message}") from refusal


def _http_echo(_pod: Tree, container: Tree, _method: str, _path: str) -> Reply:
    text = _option(_words(container), "text", "hello world")
    return Reply(200, f"{text}\n".encode(), {"content-type": "text/plain; charset=utf-8", "x-app-name": "http-echo"})


RUNS: dict[str, Callable[["Here", Tree, Tree], None]] = {"cilium/cilium-cli": _cilium_cli}
ANSWERS: dict[str, Callable[[Tree, Tree, str, str], Reply]] = {"hashicorp/http-echo": _http_echo}
