"""Who lists once and then watches knows at every moment what another list would say."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes.calls import MERGE_PATCH, Call, User
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.world import World

ADMIN = User("admin", ("system:masters",))
PATH = "/api/v1/namespaces/default/configmaps"
names = st.sampled_from(["a", "b"])
labels = st.sampled_from(["yes", "no"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("POST"), names, labels),
        st.tuples(st.just("PATCH"), names, labels),
        st.tuples(st.just("DELETE"), names, st.none()),
    ),
    max_size=15,
)


def ask(cluster: clusters.Cluster, method: str, path: str, body: Any = None, **query: str) -> Any:
    kind = MERGE_PATCH if method == "PATCH" else "application/json"
    return cluster.api.answer(Call(method, path, ADMIN, query, body, kind))


def versions(items: list[dict[str, Any]]) -> dict[str, str]:
    return {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in items}


@settings(max_examples=40, deadline=None)
@given(before=steps, after=steps)
@example(before=[("POST", "a", "no")], after=[("PATCH", "a", "yes"), ("PATCH", "a", "no")])
def test_a_list_and_a_watch_are_worth_another_list(
    before: list[tuple[str, str, str | None]], after: list[tuple[str, str, str | None]]
) -> None:
    world = World(Path("unused"), seed=1, mode="manual")
    cluster = clusters.create(world, "lab")

    def do(done: list[tuple[str, str, str | None]]) -> None:
        for method, name, label in done:
            body = None if label is None else {"metadata": {"name": name, "labels": {"chosen": label}}}
            # What is there already or is not there is refused, and nobody who watches may see that.
            with contextlib.suppress(Refusal):
                ask(cluster, method, PATH if method == "POST" else f"{PATH}/{name}", body)

    do(before)
    listed = ask(cluster, "GET", PATH, labelSelector="chosen=yes").body
    known = versions(listed["items"])
    version = listed["metadata"]["resourceVersion"]
    do(after)
    watch = ask(cluster, "GET", PATH, labelSelector="chosen=yes", watch="true", resourceVersion=version).watch
    assert watch.first == []
    last = int(version)
    for change in cluster.store.since(watch.after, watch.resource):
        event = watch.event(change)
        if event is None:
            continue
        metadata = event["object"]["metadata"]
        assert int(metadata["resourceVersion"]) > last, "events come in order"
        last = int(metadata["resourceVersion"])
        if event["type"] == "ADDED":
            assert metadata["name"] not in known
        else:
            assert metadata["name"] in known
        if event["type"] == "DELETED":
            del known[metadata["name"]]
        else:
            known[metadata["name"]] = metadata["resourceVersion"]
    assert known == versions(ask(cluster, "GET", PATH, labelSelector="chosen=yes").body["items"])
