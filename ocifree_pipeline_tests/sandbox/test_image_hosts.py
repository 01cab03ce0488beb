"""The image factory and the mirror, spoken to by an ordinary HTTP client through the proxy door."""

import hashlib
from typing import Any

import pytest
import requests
import yaml

from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.image_hosts import factory, mirror
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

VANILLA = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
GUEST_AGENT = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"
FACTORY = f"https://{factory.HOST}"


class Client:
    def __init__(self, sandbox: RunningSandbox) -> None:
        assert sandbox.sandbox.home is not None
        self.options: dict[str, Any] = {
            "proxies": {"https": f"http://127.0.0.1:{sandbox.sandbox.proxy_port}"},
            "verify": str(sandbox.sandbox.home.ca_file),
        }

    def __call__(self, method: str, url: str, **more: Any) -> requests.Response:
        return requests.request(method, url, timeout=20, **self.options, **more)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with running(tmp_path_factory.mktemp("hosts")) as here:
        yield here


@pytest.fixture
def ask(sandbox) -> Client:
    sandbox.faults.clear()
    sandbox.recorder.clear()
    return Client(sandbox)


def image(schematic: str, name: str = "oracle-arm64.qcow2", version: str = "v1.13.9") -> str:
    return f"{FACTORY}/image/{schematic}/{version}/{name}"


@pytest.mark.parametrize(
    ("schematic", "name"),
    [
        ({}, VANILLA),
        ({"customization": {}}, VANILLA),
        ({"customization": {"extraKernelArgs": []}}, VANILLA),
        ({"customization": {"systemExtensions": {"officialExtensions": ["siderolabs/qemu-guest-agent"]}}}, GUEST_AGENT),
    ],
)
def test_compositions_get_the_names_that_the_real_factory_gives(ask, sandbox, schematic, name):
    reply = ask("POST", f"{FACTORY}/schematics", data=yaml.safe_dump(schematic))
    assert (reply.status_code, reply.json()) == (201, {"id": name})
    assert ask("GET", image(name)).status_code == 200
    (posted,) = sandbox.recorder.query(operation="CreateSchematic")
    assert (posted.service, posted.mutating) == ("imagefactory", True)


@pytest.mark.parametrize(
    "body", ["customization: [", "- 1", "owner: me", "customization: {kernel: x}", b"\xff\xfe\x00",
             "customization: {systemExtensions: {officialExtensions: [nonsense]}}"],
)  # fmt: skip
def test_a_composition_that_makes_no_sense_is_refused(ask, body):
    assert ask("POST", f"{FACTORY}/schematics", data=body).status_code == 400


@pytest.mark.parametrize(
    "url",
    [
        image("f" * 64),
        image(VANILLA, "metal-arm64.qcow2"),
        image(VANILLA, "oracle-arm64.raw.xz"),
        image(VANILLA, version="v2"),
        f"{FACTORY}/",
        f"https://{mirror.HOST}/v1/other.qcow2",
    ],
)
def test_what_is_not_there_is_404(ask, url):
    assert ask("GET", url).status_code == 404


def test_every_composition_release_platform_and_architecture_is_another_image(ask):
    ask("POST", f"{FACTORY}/schematics", data="customization: {extraKernelArgs: [console=ttyAMA0]}")
    other = factory.identity({"customization": {"extraKernelArgs": ["console=ttyAMA0"]}})
    urls = [image(VANILLA), image(other), image(VANILLA, version="v1.13.8"), image(VANILLA, "nocloud-arm64.qcow2")]
    assert len({hashlib.sha256(ask("GET", url).content).digest() for url in urls}) == 4


def test_the_mirror_has_what_it_says_and_says_the_same_in_every_world(ask):
    for one in mirror.offered().values():
        assert hashlib.sha256(ask("GET", one.url).content).hexdigest() == one.sha256
    # Declarations carry these checksums. Who changes the images has to give them another address too.
    assert mirror.offered()["proxmox_ampere"].sha256.startswith("b4d83ead8ac42207")


def test_parts_of_files(ask):
    url = mirror.offered()["proxmox_ampere"].url
    whole = ask("GET", url)
    tag, content = whole.headers["etag"], whole.content

    def part(wanted: str, **headers: str) -> requests.Response:
        return ask("GET", url, headers={"range": wanted} | headers)

    middle = part("bytes=10-19")
    assert (middle.status_code, middle.content) == (206, content[10:20])
    assert middle.headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert part("bytes=100-", **{"if-range": tag}).content == content[100:]
    changed = part("bytes=100-", **{"if-range": '"other"'})
    assert (changed.status_code, changed.content) == (200, content)
    beyond = part(f"bytes={len(content)}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")
    assert part("lines=1-2").status_code == 200
    head = ask("HEAD", url)
    assert (head.headers["content-length"], head.content) == (str(len(content)), b"")
    assert ask("DELETE", url).status_code == 405


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        (Rule(service="imagemirror", status=503), 503),
        (Rule(service="imagemirror", moment="after", status=502), 502),
        (Rule(service="imagemirror", moment="slow", delay=0.01), 200),
        (Rule(service="imagemirror", moment="truncate"), 0),
        (Rule(service="imagemirror", moment="reset"), 0),
        (Rule(service="imagemirror", moment="drop"), 0),
    ],
)
def test_faults_strike_here_too(ask, sandbox, rule, status):
    sandbox.faults.add(rule)
    url = mirror.offered()["proxmox_ampere"].url
    if status:
        assert ask("GET", url).status_code == status
    else:
        with pytest.raises(requests.exceptions.RequestException):
            ask("GET", url)
    assert len(sandbox.faults.fired) == 1
    assert ask("GET", url).status_code == 200
