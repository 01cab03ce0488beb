"""Stands in for packer: the same commands and lines, an image that is a copy of its source, and faults on demand.

It runs as a program, without the packages of the project. scenario.json beside it:
{"version": ..., "faults": {"init|validate|build": {"kind": ..., ...}}}
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

TYPE_CHECKING = False  # it is started hundreds of times, and what it imports takes most of its time
if TYPE_CHECKING:
    from typing import Any

HERE = Path(__file__).parent


def emit(target: str, kind: str, *data: str) -> None:
    escaped = [one.replace(",", "%!(PACKER_COMMA)").replace("\r", "\\r").replace("\n", "\\n") for one in data]
    print(",".join([str(int(time.time())), target, kind, *escaped]), flush=True)


def note(**what: Any) -> None:
    with (HERE / "calls.jsonl").open("a", encoding="utf-8") as target:
        target.write(json.dumps(what) + "\n")


def break_down(fault: dict[str, Any], only: str, work: Path) -> None:
    kind = fault["kind"]
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        qemu = HERE / "qemu-system-x86_64"
        import subprocess

        child = subprocess.Popen([str(qemu), "hang", f"file={work}/output/image.qcow2"])
        note(hanging=os.getpid(), child=child.pid)
        if fault.get("stubborn"):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            emit("", "ui", "say", f"==> {only}: Waiting for SSH to become available...")
            time.sleep(600)
        except KeyboardInterrupt:
            note(interrupted=True)
            raise SystemExit(1) from None
    if kind == "error":
        for line in fault.get("told", ()):
            emit("", "ui", "error", f"==> {only}: {line}")
        print(fault.get("stderr", ""), file=sys.stderr)
        if "error" in fault:
            emit("", "ui", "error", f"Build '{only}' errored after 1 second: {fault['error']}")
            emit(only, "error", fault["error"])
            emit("", "error-count", "1")
        raise SystemExit(fault.get("code", 1))


def build(fault: dict[str, Any], only: str, given: dict[str, Any]) -> None:
    work = Path(given["work_directory"])
    output = work / "output"
    (work / "console.log").write_text("Booting\n", "utf-8")
    Path(os.environ["PACKER_LOG_PATH"]).write_text("[INFO] Packer\n", "utf-8")
    emit("", "ui", "say", f"==> {only}: Starting VM, booting disk image")
    output.mkdir()
    (output / "image.qcow2").write_bytes(b"half an image")
    emit("", "ui", "say", f"==> {only}: Connected to SSH!")
    for step in ("updates", "ssh"):
        emit("", "ui", "say", f"==> {only}: step {step}")
        emit("", "ui", "say", f"==> {only}: Unpacking a package ...")
        emit("", "ui", "error", f"==> {only}: W: a step said this on its error output, as many do")
    if fault.get("kind") in ("die", "hang", "error"):
        break_down(fault, only, work)
    if fault.get("kind") == "nothing":
        shutil.rmtree(output)
        return
    if fault.get("kind") == "other":
        (output / "image.qcow2").write_bytes(bytes.fromhex(fault["hex"]) * 1000)
    else:
        shutil.copyfile(given["source_url"], output / "image.qcow2")
        with (output / "image.qcow2").open("ab") as image:
            image.truncate(image.tell() + fault.get("more", 0))
    listed = ("openssh-server\t1:10.0p1-7\tamd64\tDebian OpenSSH", "tailscale\t1.98.4\tamd64\tTailscale Inc")
    (work / "packages.tsv").write_text("\n".join(listed) + "\n", "utf-8")
    emit(only, "artifact", "0", "builder-id", "transcend.qemu")
    emit(only, "artifact", "0", "file", "0", str(output / "image.qcow2"))
    emit(only, "artifact", "0", "end")


def main() -> None:
    path = HERE / "scenario.json"
    scenario = json.loads(path.read_text("utf-8")) if path.exists() else {}
    command = sys.argv[1]
    if command == "version":
        print(scenario.get("version", "Packer v1.14.2"))
        return
    given: dict[str, Any] = {}
    only = next((one.partition("=")[2] for one in sys.argv if one.startswith("-only=")), "")
    for argument in sys.argv:
        if argument.startswith("-var-file="):
            given = json.loads(Path(argument.partition("=")[2]).read_text("utf-8"))
            key_mode = Path(given["ssh_private_key_file"]).stat().st_mode & 0o777
            note(given=given, key_mode=key_mode)
    note(argv=sys.argv[1:], env=dict(os.environ), folder=str(Path.cwd()))
    fault = scenario.get("faults", {}).get(command, {})
    if command == "build":
        build(fault, only, given)
    elif fault:
        break_down(fault, only, Path.cwd())
    else:
        print("Installed plugin github.com/hashicorp/qemu v1.1.4")


if __name__ == "__main__":
    main()
