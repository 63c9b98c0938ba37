"""`python run_supervisor.py URL NAMESPACE SETTINGS EVENTS MODULE…`: a supervisor whose events go to a file."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys

from wg_core import _children
from wg_core.settings import WorkerSettings
from wg_core.supervisor import Supervisor, WorkerEvent


def main(url: str, namespace: str, settings: str, events: str, *modules: str) -> int:
    file = os.open(events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(event: WorkerEvent) -> None:
        os.write(file, json.dumps(dataclasses.asdict(event)).encode() + b"\n")

    supervisor = Supervisor(
        url, namespace=namespace, settings=WorkerSettings.of(**json.loads(settings)), modules=modules, on_event=write
    )
    _children.STOPPED_PATIENCE_SECONDS = float(
        os.environ.get("WG_TEST_STOPPED_PATIENCE", _children.STOPPED_PATIENCE_SECONDS)
    )
    code = supervisor.run()
    forbidden = {"supervised_jobs", "click"}.intersection(sys.modules)
    assert not forbidden, f"the supervisor imported {forbidden}"
    return code


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("wg.supervisor").setLevel(logging.DEBUG)  # every call that failed, not only the first one
    sys.exit(main(*sys.argv[1:]))
