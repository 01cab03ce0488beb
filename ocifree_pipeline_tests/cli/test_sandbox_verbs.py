"""`ocifree sandbox` as a person types it; one sandbox serves the module."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ocifree_pipeline.cli.app import app
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.deployment.sections.site import Site
from ocifree_pipeline.sandbox import process
from ocifree_pipeline.sandbox.profiles import Profile, limits_of

Verb = Callable[..., Result]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("cli") / "sandbox"
    yield home
    running = process.find(home)
    if running is not None:
        running.stop()


@pytest.fixture
def sandbox(directory: Path) -> Verb:
    """The verb, on a sandbox that runs and is as new."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["sandbox", *words], env={"OCIFREE_SANDBOX": str(directory)})

    process.ensure_running(directory).call("POST", "reset", {})
    return run


def told(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_up_is_the_same_twice_and_down_keeps_the_world(sandbox, directory):
    before = json.loads(told(sandbox("status", "--json")))
    assert json.loads(told(sandbox("up", "--json")))["pid"] == before["pid"]
    assert "runs already" in told(sandbox("up"))
    assert str(directory) in told(sandbox("down"))
    assert "No sandbox runs" in told(sandbox("down"))
    again = json.loads(told(sandbox("up", "--mode", "manual", "--json")))
    assert again["pid"] != before["pid"]
    assert again["tenancy"] == before["tenancy"]
    assert again["clock"]["mode"] == "manual"
    told(sandbox("clock", "mode", "immediate"))


@pytest.mark.parametrize("words", [["status"], ["env"], ["reset"], ["clock", "show"], ["fault", "list"]])
def test_without_a_sandbox_the_next_command_is_named(tmp_path, words):
    result = CliRunner().invoke(app, ["sandbox", *words, "--directory", str(tmp_path)])
    assert result.exit_code == Exit.NOT_READY
    assert "ocifree sandbox up" in result.stderr
    assert result.stdout == ""


def test_status_shows_where_it_is_and_what_it_holds(sandbox, directory):
    text = told(sandbox("status"))
    running = process.find(directory)
    assert running is not None
    for part in (running.proxy, running.endpoint, str(directory), "1 compartment", "uk-london-1", "free"):
        assert part in text


@pytest.mark.parametrize(
    ("words", "limit", "free"),
    [
        ([], 2, 1500),
        (["--a1-ocpus", "4"], 4, 1500),
        (["--allowance", "always-free-2025"], 4, 3000),
        (["--allowance", "always-free-2025", "--a1-ocpus", "2"], 2, 3000),
    ],
)
def test_a_limit_above_the_allowance_is_no_gift(sandbox, words, limit, free):
    told(sandbox("reset", "--allowance", "always-free-2026"))
    a1 = json.loads(told(sandbox("reset", *words, "--json")))["a1"]
    assert (a1["ocpus"], a1["freeOcpuHours"], a1["freeMemoryGbHours"]) == (limit, free, free * 6)
    assert f"{free} OCPU hours" in told(sandbox("status"))


def test_an_unknown_allowance_is_refused_with_the_known_ones(sandbox):
    refused = sandbox("reset", "--allowance", "always-free-1999")
    assert refused.exit_code == Exit.USAGE
    assert "always-free-2026" in refused.stderr


def test_the_first_tenancy_has_the_allowance_in_force():
    assert Profile(**limits_of(Site.model_fields["allowance"].default, "free")) == Profile()


def test_reset_takes_another_profile(sandbox):
    shown = json.loads(told(sandbox("reset", "--account", "payg", "--region", "us-phoenix-1", "--seed", "4", "--json")))
    assert (shown["account"], shown["region"], shown["seed"]) == ("payg", "us-phoenix-1", 4)
    refused = sandbox("reset", "--account", "rich")
    assert refused.exit_code == Exit.FAILED
    assert "free or payg" in refused.stderr
    told(sandbox("reset", "--account", "free", "--region", "uk-london-1", "--seed", "0"))


@pytest.mark.parametrize(("by", "seconds"), [("90", 90), ("15m", 900), ("6h", 21600), ("1.5d", 129600)])
def test_the_clock_is_moved_by_durations(sandbox, by, seconds):
    from ocifree_pipeline.sandbox.clock import parse

    told(sandbox("clock", "mode", "manual"))
    before = parse(json.loads(told(sandbox("clock", "show", "--json")))["now"])
    after = parse(json.loads(told(sandbox("clock", "advance", by, "--json")))["now"])
    assert (after - before).total_seconds() == seconds
    assert "mode seconds, rate 60" in told(sandbox("clock", "mode", "seconds", "--rate", "60"))
    told(sandbox("clock", "mode", "immediate"))


@pytest.mark.parametrize(
    ("words", "exit_code", "says"),
    [
        (["clock", "advance", "soon"], Exit.USAGE, "15m"),
        (["clock", "mode", "sometimes"], Exit.FAILED, "immediate, seconds, manual"),
        (["fault", "add", "X", "--moment", "never"], Exit.FAILED, "before"),
        (["fault", "clear", "77"], Exit.FAILED, "no fault rule 77"),
        (["restore", "/nonexistent/file"], Exit.FAILED, "No such file"),
        (["record", "show", "--limit", "0"], Exit.USAGE, "limit"),
    ],
)
def test_wrong_words_are_answered_with_right_ones(sandbox, words, exit_code, says):
    result = sandbox(*words)
    assert result.exit_code == exit_code
    assert says in result.stderr


def test_faults_and_records_over_a_real_client(sandbox, directory):
    assert "429 TooManyRequests" in told(
        sandbox("fault", "add", "List*", "--status", "429", "--code", "TooManyRequests", "--retry-after", "7")
    )
    script = (
        "import oci\nonce = oci.retry.NoneRetryStrategy()"
        "\nc = oci.identity.IdentityClient(oci.config.from_file(), retry_strategy=once)"
        "\ntry: c.list_regions()\nexcept oci.exceptions.ServiceError as e: print(e.status, e.headers['retry-after'])"
        "\nprint(len(c.list_regions().data) > 10)"
    )
    exports = [line.removeprefix("export ") for line in told(sandbox("env")).splitlines()]
    variables = dict(shlex.split(line)[0].split("=", 1) for line in exports)
    assert variables == json.loads(told(sandbox("env", "--json")))
    client = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert client.stdout.split() == ["429", "7", "True"]
    assert told(sandbox("fault", "list")).splitlines()[1].split()[-1] == "1"
    shown = told(sandbox("record", "show", "--operation", "ListRegions"))
    assert "2 of 2 requests" in shown
    assert "TooManyRequests" in shown
    assert "2 requests, 1 with a good signature" in told(sandbox("record", "count"))
    assert json.loads(told(sandbox("record", "count", "--status", "200", "--json")))["count"] == 1
    told(sandbox("record", "clear"))
    told(sandbox("fault", "clear"))
    assert len(told(sandbox("fault", "list")).splitlines()) == 1
    assert json.loads(told(sandbox("record", "show", "--json")))["entries"] == []


def test_capacity_is_described_in_a_file(sandbox, tmp_path):
    assert told(sandbox("capacity")) == "process plenty\n"
    file = tmp_path / "trace.json"
    file.write_text('[{"ad": "*AD-2", "from": 3600, "to": 7200, "ocpus": 2}]')
    assert "*AD-2" in told(sandbox("capacity", str(file)))
    assert json.loads(told(sandbox("capacity", "--json")))["windows"][0]["to"] == 7200
    file.write_text("[")
    assert sandbox("capacity", str(file)).exit_code == Exit.USAGE
    file.write_text('{"process": "luck"}')
    refused = sandbox("capacity", str(file))
    assert refused.exit_code == Exit.FAILED
    assert "process" in refused.stderr


def test_the_outbox_is_empty_at_first(sandbox):
    assert told(sandbox("outbox")).split() == ["at", "to", "subject"]
    assert json.loads(told(sandbox("outbox", "--json"))) == {"messages": []}


def test_a_snapshot_is_restored(sandbox, tmp_path):
    file = tmp_path / "world.tar.gz"
    before = json.loads(told(sandbox("status", "--json")))["tenancy"]
    assert str(file) in told(sandbox("snapshot", str(file)))
    assert json.loads(told(sandbox("reset", "--seed", "11", "--json")))["tenancy"] != before
    assert json.loads(told(sandbox("restore", str(file), "--json")))["tenancy"] == before


def test_the_hand_looks_at_machines_and_links_and_refuses_what_is_not_there(sandbox):
    assert json.loads(told(sandbox("machine", "list", "--json"))) == {"machines": []}
    assert "Every link is whole" in told(sandbox("link", "list"))
    for words in (
        ("machine", "power", "10.9.9.9", "off"),
        ("machine", "clock", "nobody", "--ahead", "5"),
        ("link", "cut", "10.9.9.9", "10.9.9.8"),
    ):
        result = sandbox(*words)
        assert result.exit_code != 0
        assert "no machine of the sandbox" in result.stderr
