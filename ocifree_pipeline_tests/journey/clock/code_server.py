"""Dagster's code server. While a server of gRPC starts it waits for this very moment, by the clock of the kernel."""

import os
import runpy
from typing import Any

import grpc._server

_start = grpc._server._start


def _start_now(state: Any) -> None:
    os.environ["OCIFREE_LIFE_PAUSED"] = ""
    try:
        _start(state)
    finally:
        del os.environ["OCIFREE_LIFE_PAUSED"]


grpc._server._start = _start_now
runpy.run_module("dagster", run_name="__main__", alter_sys=True)
