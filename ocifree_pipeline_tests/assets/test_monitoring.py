"""Monitoring in the real graph: a cluster with its controllers, a stack of Grafana Cloud, a clock that never waits."""

from __future__ import annotations

import asyncio
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ocifree_pipeline.automation.own_metrics import own_metrics
from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.telemetry import exporters
from ocifree_pipeline.deployment.telemetry.exposition import Sample
from ocifree_pipeline.record.tenancy import PlanFacts
from ocifree_pipeline.sandbox import outbox
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.grafana import alerting, boards, metrics, promql, stack
from ocifree_pipeline.sandbox.kubernetes import certificates
from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes.server import serve
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.sandbox.grafana import monitored
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running
from ocifree_pipeline_tests.sandbox.kubernetes.served import authority
from ocifree_pipeline_tests.systems.kube.conftest import kubeconfig

ALLOY, DASHBOARDS, RULES = "monitoring/alloy", "monitoring/dashboards", "monitoring/alert_rules"
EVERYTHING = (ALLOY, DASHBOARDS, RULES)


DRAWN: dict[str, dg.Definitions] = {}


class Lab(Deployment):
    """The graph, and the stack that hears of it."""

    def __post_init__(self) -> None:
        """Drawing the graph takes longer than most of what is done with it here."""
        declared = str(self.blueprint.declaration.monitoring)
        self.definitions = DRAWN.get(declared) or DRAWN.setdefault(declared, definitions_for(self.blueprint))

    def writes(self) -> list[str]:
        """What was changed, at Grafana Cloud and in the cluster."""
        return [one.operation for one in self.sandbox.recorder.query(mutating=True)]

    def told(self, *keys: str) -> dict[str, Any]:
        (error,) = self.errors(self.materialize(*keys, good=False)).values()
        return error

    def drift(self, key: str) -> tuple[bool, str, dg.AssetCheckSeverity]:
        """What the daily comparison says of an asset. It writes nothing."""
        before = len(self.writes())
        (found,) = self.only_checks(key, "drift")().get_asset_check_evaluations()
        assert len(self.writes()) == before
        return found.passed, found.description or "", found.severity

    def only_checks(self, key: str = ALLOY, *names: str) -> Callable[[], dg.ExecuteInProcessResult]:
        """A run of checks alone: all of the asset, or those with these names."""
        asset = dg.AssetKey(key.split("/"))
        selection: dg.AssetSelection = dg.AssetSelection.checks_for_assets(asset)
        if names:
            selection = dg.AssetSelection.checks(*(dg.AssetCheckKey(asset, name) for name in names))
        job = dg.define_asset_job("checked", selection=selection)
        picked = dg.Definitions(
            assets=self.definitions.assets, asset_checks=self.definitions.asset_checks, jobs=[job]
        ).resolve_job_def("checked")
        return lambda: picked.execute_in_process(instance=self.instance, raise_on_error=False)

    def mails(self) -> list[str]:
        return [one["subject"] for one in self.sandbox.inside(outbox.messages)]


@dataclass
class Ground:
    """A sandbox with a cluster of three nodes whose API is served. `bare` has no monitoring, `whole` has all of it."""

    sandbox: RunningSandbox
    port: int
    bare: dict[str, Any]
    whole: dict[str, Any]
    facts: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with running(tmp_path_factory.mktemp("monitoring"), mode="manual") as sandbox:
        drawn = monitored.declared(sandbox.inside(stack.offered), "talos-native")
        sandbox.inside(lambda world: monitored.cluster_in(world, drawn))
        bare = sandbox.inside(lambda world: world.to_json())
        pair = authority()
        context = certificates.context(pair.certificate, pair.key, ["10.0.1.10"])
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)

        async def serving() -> Any:
            return await serve(clusters.find_existing(sandbox.sandbox.world, "lab"), listening, context)

        server = asyncio.run_coroutine_threadsafe(serving(), sandbox.loop).result(timeout=10)
        found = Ground(sandbox, listening.getsockname()[1], bare, {}, {})
        try:
            with pytest.MonkeyPatch.context() as patch:
                folder = tmp_path_factory.mktemp("first")
                with standing(found, found.bare, folder, patch) as lab:
                    lab.materialize(*EVERYTHING)
                    found.facts = {key: lab.facts(key) for key in EVERYTHING}
                    found.whole = sandbox.inside(lambda world: world.to_json())
            yield found
        finally:

            async def closed() -> None:
                server.close()
                await server.wait_closed()

            asyncio.run_coroutine_threadsafe(closed(), sandbox.loop).result(timeout=10)
            listening.close()


@contextmanager
def standing(
    ground: Ground, state: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch, **monitoring: Any
) -> Iterator[Lab]:
    sandbox = ground.sandbox
    pickled = pickle.dumps(state)  # several times as quick as a deep copy
    sandbox.inside(lambda world: world.load_json(pickle.loads(pickled)))  # noqa: S301
    sandbox.faults.clear()
    sandbox.recorder.clear()
    offered = sandbox.inside(stack.offered)
    drawn = monitored.declared(offered, "talos-native", **monitoring)
    assert sandbox.sandbox.home is not None
    for name, value in {
        "DAGSTER_HOME": str(folder / "home"),
        "HTTPS_PROXY": f"http://127.0.0.1:{sandbox.sandbox.proxy_port}",
        "REQUESTS_CA_BUNDLE": str(sandbox.sandbox.home.ca_file),
        "NO_PROXY": "localhost,127.0.0.1",
        "GRAFANA_CLOUD_TOKEN": offered["token"],
        "GRAFANA_SERVICE_ACCOUNT_TOKEN": offered["service_account_token"],
    }.items():
        patch.setenv(name, value)
    patch.setattr("ocifree_pipeline.record.definition.RETRY_SECONDS", 0)
    patch.setattr("ocifree_pipeline.systems.ssh.forward.forwarded", lambda *_: _here(ground.port))
    patch.setattr("ocifree_pipeline.record.platform.way_to", lambda *_: (None, "node-1"))
    patch.setattr("ocifree_pipeline.checks.monitoring.now", lambda: _now(sandbox))
    patch.setattr(time, "sleep", sandbox.advance)
    with dg.DagsterInstance.ephemeral() as instance:
        found = Lab(sandbox, drawn, instance)
        found.pretend("tenancy/plan", **PlanFacts.of(drawn.plan).model_dump(mode="json"))
        for key, facts in ground.facts.items() if state is ground.whole else ():
            found.pretend(key, **facts)
        vault_of(drawn.declaration.name).put({"talos/kubeconfig": kubeconfig()})
        yield found


@pytest.fixture
def lab(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """In which everything stands."""
    with standing(ground, ground.whole, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def bare(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with standing(ground, ground.bare, tmp_path, monkeypatch) as found:
        yield found


@contextmanager
def _here(port: int) -> Iterator[tuple[str, int]]:
    yield "127.0.0.1", port


def _now(sandbox: RunningSandbox) -> float:
    return sandbox.inside(lambda world: world.clock.now().timestamp())


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {one.check_name: (one.passed, one.description or "") for one in result.get_asset_check_evaluations()}


def test_all_of_it_stands_and_a_second_run_changes_nothing(lab: Lab) -> None:
    found = verdicts(lab.materialize(*EVERYTHING))
    assert {name for name, (passed, _) in found.items() if passed} == {
        "drift", "data_arrives", "metrics_arrive", "logs_arrive", "traces_arrive", "series_budget", "logs_budget",
    }, found  # fmt: skip
    assert lab.writes() == []
    assert lab.metadata(ALLOY)["plan"] == "nothing to do"
    assert 300 < lab.metadata(ALLOY)["series planned"] < 8000
    assert "kube_pod" in str(lab.metadata(ALLOY)["evidence"])


def test_a_node_that_dies_is_mailed_with_what_to_do(lab: Lab) -> None:
    began = _now(lab.sandbox)
    lab.sandbox.inside(lambda world: clusters.find_existing(world, "lab").set_node_ready("node-3", False))
    while not lab.mails() and _now(lab.sandbox) - began < 600:
        lab.sandbox.advance(20)
    assert lab.mails() == ["[FIRING:1] NodeDown (node-3)"]
    assert _now(lab.sandbox) - began <= 300


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        ("revoked", "AuthFailed", "monitoring.grafana_cloud.token"),
        ("scopes", "Forbidden", "metrics:read and metrics:write"),
        ("user", "AuthFailed", "user numbers"),
        ("silent", "Transient", "does not answer"),
        ("limit", "Throttled", "free plan"),
    ],
)
def test_credentials_are_tried_before_anything_is_delivered(
    bare: Lab, monkeypatch: pytest.MonkeyPatch, spoil: str, error: str, words: str
) -> None:
    def change(world: World) -> str | None:
        if spoil == "revoked":
            stack.revoke(world, stack.offered(world)["token"])
        elif spoil == "scopes":
            return stack.make_token(world, stack.Token("access policy", ["logs:read"]))
        elif spoil == "user":
            stack.change(world, users={"metrics": "77"})
        return None

    given = bare.sandbox.inside(change)
    if given:
        monkeypatch.setenv("GRAFANA_CLOUD_TOKEN", given)
    if spoil == "silent":
        bare.sandbox.faults.add(Rule(service="grafanacloud", operation="metrics:read", moment="drop", times=None))
    if spoil == "limit":
        bare.sandbox.faults.add(
            Rule(service="grafanacloud", operation="metrics:read", status=429, message="too many", times=None)
        )
    told = bare.told(ALLOY)
    assert told["error"] == error
    assert words in told["what"] + told["why"] + told["fix"]
    assert "glc_" not in str(told)
    assert bare.writes() == []


def test_more_series_than_the_budget_are_refused_before_anything_is_delivered(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing(ground, ground.bare, tmp_path, monkeypatch, series_budget=500) as lab:
        told = lab.told(ALLOY)
        assert told["error"] == "LimitReached"
        assert "of monitoring.series_budget" in told["what"]
        assert "the largest: kube_pod" in told["why"]
        assert lab.writes() == []


def test_401_and_429_and_nothing_are_three_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocifree_pipeline.checks.monitoring.DEADLINE_SECONDS", 60)
    job = lab.only_checks()
    token = lab.sandbox.inside(lambda world: stack.make_token(world, stack.Token("access policy", ["metrics:read"])))
    with monkeypatch.context() as patch:
        patch.setenv("GRAFANA_CLOUD_TOKEN", "glc_wrong")
        assert verdicts(job())["metrics_arrive"][1].startswith("the token is not accepted: ")
        patch.setenv("GRAFANA_CLOUD_TOKEN", token)
        found = verdicts(job())
        assert found["metrics_arrive"][1].startswith("the token lacks a scope: send metrics")
        assert found["traces_arrive"][1].startswith("the token lacks a scope: send a trace")
    lab.sandbox.inside(lambda world: stack.change(world, limits={"samples_per_second": 0}))
    assert verdicts(job())["metrics_arrive"][1].startswith("a limit of the free plan is reached: ")
    lab.sandbox.inside(lambda world: stack.change(world, limits={"samples_per_second": 10_000}))
    lab.sandbox.inside(_break_the_agents)
    lab.sandbox.advance(360)
    found = verdicts(job())
    assert found["metrics_arrive"] == (False, found["metrics_arrive"][1])
    assert "our own sample arrives, so the stores are well" in found["metrics_arrive"][1]
    assert found["logs_arrive"][0] is False


def _break_the_agents(world: World) -> None:
    client = clusters.find_existing(world, "lab").api.client
    for name in ("alloy-cluster", "alloy-node"):
        client.patch("v1/configmaps", "monitoring", name, {"data": {"config.alloy": "broken {"}})


def test_a_metric_that_was_renamed_is_missed_by_name(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = exporters.node_exporter

    def renamed(landscape: Any, node: Any) -> Iterator[Sample]:
        for one in shown(landscape, node):
            old = one.labels["__name__"] == "node_load5"
            yield Sample({**one.labels, "__name__": "node_load_5m"}, one.value) if old else one

    monkeypatch.setattr(exporters, "node_exporter", renamed)
    lab.sandbox.advance(400)
    passed, words = verdicts(lab.materialize(DASHBOARDS))["data_arrives"]
    assert not passed
    assert words == (
        "asked for and absent: node_load5, for dashboard Nodes. Has an exporter renamed it, or does it not run?"
    )


def test_budgets_are_what_grafana_cloud_counts(lab: Lab) -> None:
    job = lab.only_checks()
    lab.sandbox.inside(lambda world: stack.facts(world).update(logBytes=[[_time(world), 300 * 20_000]]))
    found = verdicts(job())
    assert found["series_budget"][0] is True
    passed, words = found["logs_budget"]
    assert (passed, words.partition(".")[0]) == (False, "51"), words


def _time(world: World) -> float:
    return world.clock.now().timestamp()


def test_what_a_person_saved_is_kept_unless_told_otherwise(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = lab.facts(DASHBOARDS)["dashboards"]["Nodes (lab)"]
    lab.sandbox.inside(lambda world: boards.edit_as_person(world, uid, title="Nodes, as I like them"))
    passed, said, severity = lab.drift(DASHBOARDS)
    assert (passed, severity) == (False, dg.AssetCheckSeverity.WARN), "it is theirs: nothing mends it"
    assert "keep dashboard Nodes (lab)" in said
    lab.materialize(DASHBOARDS)
    assert lab.drift(DASHBOARDS)[0], "taken note of"
    assert lab.facts(DASHBOARDS)["kept"] == ["Nodes (lab)"]
    assert "1 kept as a person saved them" in lab.metadata(DASHBOARDS)["summary"]
    assert lab.sandbox.inside(lambda world: boards.board(world, uid)["spec"]["title"]) == "Nodes, as I like them"
    assert lab.writes() == []
    monkeypatch.setenv("OCIFREE_OVERWRITE_DASHBOARDS", "1")
    lab.materialize(DASHBOARDS)
    assert lab.sandbox.inside(lambda world: boards.board(world, uid)["spec"]["title"]) == "Nodes (lab)"
    assert lab.facts(DASHBOARDS)["kept"] == []


@pytest.mark.parametrize("moment", ["before", "after", "reset"])
def test_a_reply_that_is_lost_makes_nothing_twice(bare: Lab, moment: Any) -> None:
    """The first writing call of each kind goes wrong; the step tries again and finds what is there."""
    for operation in ("grafana:POST", "grafana:PUT"):
        bare.sandbox.faults.add(Rule(service="grafanacloud", operation=operation, moment=moment, status=502))
    bare.materialize(DASHBOARDS, RULES)
    assert len(bare.sandbox.faults.fired) == 2
    folders = bare.sandbox.inside(boards.folders)
    assert [one["title"] for one in folders.values()] == ["ocifree lab"]
    assert len(bare.sandbox.inside(boards.boards)) == 6
    assert len(bare.sandbox.inside(alerting.contact_points)) == 1
    assert len(bare.sandbox.inside(lambda world: alerting.policy(world)["routes"])) == 1
    bare.sandbox.recorder.clear()
    bare.materialize(DASHBOARDS, RULES)
    assert bare.writes() == []


def test_the_older_api_is_as_good(bare: Lab) -> None:
    bare.sandbox.inside(lambda world: stack.facts(world).update(newApi=False))
    bare.materialize(DASHBOARDS)
    assert len(bare.sandbox.inside(boards.boards)) == 6
    bare.sandbox.recorder.clear()
    bare.materialize(DASHBOARDS)
    assert bare.writes() == []


def test_a_dashboard_that_is_no_longer_declared_goes(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing(ground, ground.whole, tmp_path, monkeypatch, dashboards=["kubernetes"]) as lab:
        lab.materialize(DASHBOARDS)
        titles = {one["spec"]["title"] for one in lab.sandbox.inside(boards.boards).values()}
        assert titles == {"Kubernetes (lab)", "Network (lab)", "Cost and capacity (lab)"}


def test_a_rule_that_somebody_changed_is_written_again_and_other_peoples_stay(lab: Lab) -> None:
    folder = lab.facts(RULES)["folder"]

    def tamper(world: World) -> None:
        group = alerting.groups(world)[f"{folder}/nodes"]
        group["rules"][0]["data"][0]["model"]["expr"] = "vector(0)"
        other = {**group["rules"][0], "uid": "mine", "title": "Mine"}
        alerting.put_group(world, folder, "mine", {"rules": [other], "interval": 60}, provenance="")

    lab.sandbox.inside(tamper)
    passed, said, severity = lab.drift(RULES)
    assert (passed, severity) == (False, dg.AssetCheckSeverity.ERROR), "mended in place"
    assert "write 6 rules `nodes`" in said
    lab.materialize(RULES)
    assert lab.drift(RULES)[0]
    assert lab.metadata(RULES)["plan"] == "- write 6 rules `nodes`"
    assert lab.sandbox.inside(lambda world: f"{folder}/mine" in alerting.groups(world))


def test_what_is_gone_from_the_stack_is_drift_and_comes_back(lab: Lab) -> None:
    uid = lab.facts(DASHBOARDS)["dashboards"]["Nodes (lab)"]

    def lose(world: World) -> None:
        boards.boards(world).pop(uid)
        alerting.contact_points(world)[:] = []

    lab.sandbox.inside(lose)
    assert "create dashboard Nodes (lab)" in lab.drift(DASHBOARDS)[1]
    assert "create contact point ocifree-lab" in lab.drift(RULES)[1]
    lab.materialize(DASHBOARDS, RULES)
    assert (lab.drift(DASHBOARDS)[0], lab.drift(RULES)[0]) == (True, True)


def test_no_secret_is_in_the_record(lab: Lab) -> None:
    offered = lab.sandbox.inside(stack.offered)
    lab.materialize(*EVERYTHING)
    events = [str(event) for event in lab.instance.all_logs(lab.instance.get_runs()[0].run_id)]
    for secret in (offered["token"], offered["service_account_token"]):
        assert not [event for event in events if secret in event]


def test_the_pipeline_sends_its_own_numbers_and_is_alerted_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocifree_pipeline.automation.own_metrics.time.time", lambda: _now(lab.sandbox))
    (sensor,) = own_metrics(lab.blueprint)
    lab.instance.report_runless_asset_event(
        dg.AssetMaterialization(asset_key=["assurance", "cost_report"], metadata={"cost": 0.25, "seconds": 3.5})
    )

    def tick() -> str:
        (said,) = sensor.evaluate_tick(
            dg.build_sensor_context(instance=lab.instance, definitions=lab.definitions)
        ).skip_message.splitlines()
        return str(said)

    assert tick().startswith("sent ")
    value = lab.sandbox.inside(lambda world: _value(world, 'ocifree_cost{deployment="lab"}'))
    assert value == [0.25]
    assert lab.sandbox.inside(lambda world: _value(world, "ocifree_machines_missing")) == [
        len(lab.blueprint.plan.machines)
    ]
    seconds = lab.sandbox.inside(lambda world: _value(world, 'ocifree_asset_seconds{asset="assurance/cost_report"}'))
    assert seconds == [3.5]
    lab.sandbox.advance(120)
    assert "[FIRING:1] CostNotZero ()" in lab.mails()
    assert "summary: Oracle charged 0.25\n" in str(lab.sandbox.inside(outbox.messages)[0]["text"])
    monkeypatch.setenv("GRAFANA_CLOUD_TOKEN", "glc_wrong")
    assert tick().startswith("not sent: send metrics: Grafana Cloud answered 401")


def _value(world: World, query: str) -> list[float]:
    value = promql.instant(metrics.stored(world), query, int(_time(world) * 1000))
    assert isinstance(value, list)
    return [number for _, number in value]
