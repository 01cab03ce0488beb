"""The whole of manifests/ onto a cluster: compared and applied, and compared once more, beside a bare client."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.platform import manifest_values, parts_for_flux
from ocifree_pipeline.record.bootstrap import CILIUM, bootstrap_urls, cilium_installer
from ocifree_pipeline.systems.kube.api import Api, api_at
from ocifree_pipeline.systems.kube.delivery import apply, plan_for
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
from ocifree_pipeline.systems.kube.objects import Object, labelled, ordered, ref_of
from ocifree_pipeline.systems.kube.rendering import render, versions
from ocifree_pipeline_tests.bench.report import Line, as_markdown
from ocifree_pipeline_tests.sandbox.kubernetes.served import NODE, served
from ocifree_pipeline_tests.systems.kube.conftest import kubeconfig

ROUNDS = 5


def measure() -> list[Line]:
    blueprint = blueprint_of(parse(example("talos-native")))
    values = manifest_values(blueprint, versions())
    parts = {part: render(part, values) for part in ("cilium", *parts_for_flux(blueprint))}
    times: dict[str, list[float]] = {"bare": [], "first": [], "second": []}
    for _ in range(ROUNDS):
        with cluster(blueprint) as api:
            times["bare"].append(_seconds(lambda: _bare(api, parts)))
        with cluster(blueprint) as api:
            times["first"].append(_seconds(lambda: _ours(api, parts)))
            times["second"].append(_seconds(lambda: _ours(api, parts)))
    middle = {name: round(statistics.median(taken), 3) for name, taken in times.items()}
    count = sum(map(len, parts.values()))
    beside = "the same objects by a bare client"
    return [
        Line(f"apply {count} objects of manifests/", middle["first"], "s", beside, middle["bare"], "<= 3 s"),
        Line("find that nothing differs", middle["second"], "s", beside, middle["bare"], ""),
    ]


@contextmanager
def cluster(blueprint: Blueprint) -> Iterator[Api]:
    """With the kinds of Flux, Cilium and Gateway API."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as here:
        here.inside(lambda found: found.add_node("node-1", NODE))
        urls = bootstrap_urls(blueprint).values()
        here.inside(lambda found: found.bootstrap({CILIUM: cilium_installer(blueprint)}, urls))
        here.inside(lambda found: found.settle())
        with api_at(("127.0.0.1", here.port), credentials_of(kubeconfig())) as api:
            api.version()
            yield api


def _ours(api: Api, parts: dict[str, tuple[Object, ...]]) -> None:
    for part, objects in parts.items():
        apply(api, plan_for(api, part, objects), lambda line: None)


def _bare(api: Api, parts: dict[str, tuple[Object, ...]]) -> None:
    headers = {"Content-Type": "application/apply-patch+yaml"}
    for part, objects in parts.items():
        for thing in ordered(objects):
            resource = api.require(str(thing["apiVersion"]), str(thing["kind"]))
            body = json.dumps(labelled(thing, part)).encode()
            path = f"{resource.path(ref_of(thing))}?fieldManager=bare"
            answer = api.pool.request("PATCH", path, body=body, headers=headers, retries=False)
            assert answer.status in {200, 201}, answer.data


def _seconds(work: object) -> float:
    begun = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - begun


if __name__ == "__main__":
    print("\n".join(as_markdown(measure())))
