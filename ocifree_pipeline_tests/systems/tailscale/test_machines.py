"""What is done on a machine that joins, and how its program is understood."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified, PreconditionMissing
from ocifree_pipeline.systems.ssh.dialer import Result
from ocifree_pipeline.systems.tailscale.tailnet import KEY_FILE, Joining, install, join, membership

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n'


class Machine:
    """Remembers what was run and what it was given."""

    def __init__(self, answer: Callable[[list[str]], Result] = lambda words: Result(0, "", "")) -> None:
        self.answer, self.ran, self.given = answer, list[list[str]](), dict[str, str]()

    def __call__(self, argv: Sequence[str], timeout: float = 0, given: SecretStr | None = None) -> Result:
        self.ran.append(list(argv))
        if given is not None:
            self.given[argv[-1]] = given.get_secret_value()
        return self.answer(list(argv))


def test_the_key_is_in_a_file_while_it_is_needed_and_in_no_command() -> None:
    machine = Machine()
    join(machine, Joining("lab-bastion", ("tag:a", "tag:b"), ("10.20.0.0/16",)), SecretStr("tskey-auth-secret"))
    assert machine.given == {KEY_FILE: "tskey-auth-secret"}
    assert "tskey" not in str(machine.ran)
    assert machine.ran[-1] == ["rm", "-f", KEY_FILE]
    assert {"--hostname=lab-bastion", "--advertise-tags=tag:a,tag:b", "--advertise-routes=10.20.0.0/16"} <= set(
        machine.ran[1]
    )


def test_the_key_goes_even_when_joining_fails() -> None:
    machine = Machine(lambda words: Result(1 if words[0] == "tailscale" else 0, "", "backend error: invalid key\n"))
    with pytest.raises(NotVerified, match="join lab-bastion") as failed:
        join(machine, Joining("lab-bastion", ("tag:a",)), SecretStr("tskey-auth-secret"))
    assert failed.value.why == "backend error: invalid key"
    assert machine.ran[-1] == ["rm", "-f", KEY_FILE]


@pytest.mark.parametrize(
    ("told", "state", "address", "is_in"),
    [
        ({"BackendState": "Running", "TailscaleIPs": ["fd7a::1", "100.64.0.9"]}, "Running", "100.64.0.9", True),
        ({"BackendState": "NeedsLogin", "TailscaleIPs": None}, "NeedsLogin", None, False),
        ({"BackendState": "Stopped", "TailscaleIPs": ["100.64.0.9"]}, "Stopped", "100.64.0.9", False),
    ],
)
def test_only_one_that_runs_and_has_an_address_is_in(
    told: dict[str, Any], state: str, address: str | None, is_in: bool
) -> None:
    found = membership(Machine(lambda _: Result(0, json.dumps(told), "")), "bastion")
    assert (found.state, found.address, found.is_in) == (state, address, is_in)


def test_a_daemon_that_does_not_run_is_named() -> None:
    with pytest.raises(NotVerified, match="does not answer") as failed:
        membership(Machine(lambda _: Result(1, "", "failed to connect to local tailscaled\n")), "bastion")
    assert failed.value.why == "failed to connect to local tailscaled"


def test_it_is_installed_from_the_repository_of_the_system() -> None:
    machine = Machine(lambda words: Result(0, DEBIAN if words[0] == "cat" else "", ""))
    install(machine, "bastion")
    assert "https://pkgs.tailscale.com/stable/debian/trixie.noarmor.gpg" in machine.ran[1]
    (source,) = machine.given.values()
    assert source.endswith("/stable/debian trixie main\n")
    assert machine.ran[-1][-1] == "tailscale"


def test_a_system_that_is_not_known_is_left_to_a_person() -> None:
    machine = Machine(lambda _: Result(0, 'ID="ol"\nPRETTY_NAME="Oracle Linux 9"\n', ""))
    with pytest.raises(PreconditionMissing, match="bastion has no Tailscale"):
        install(machine, "bastion")
    assert len(machine.ran) == 1
