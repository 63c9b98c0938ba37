"""`wg worker`: run jobs, under a supervisor."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import click

from wg_core._stderr_log import log_to_stderr
from wg_core.cli._options import Command, StoreAddress, duration, names, store_options
from wg_core.registry import redact
from wg_core.settings import WorkerSettings
from wg_core.supervisor import Supervisor

LOG_LEVELS = ("debug", "info", "warning", "error")

_DEFAULTS = WorkerSettings()


def _setting(name: str, help: str, **attributes: Any) -> Callable[[Command], Command]:  # noqa: A002 - click's word
    """Return the flag of one worker setting, with its environment variable and its default in the help."""
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        envvar=f"WG_WORKER_{name.upper()}",
        show_envvar=True,
        default=getattr(_DEFAULTS, name),
        show_default=True,
        help=help,
        **attributes,
    )


@click.command()
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@_setting("processes", "Worker processes.", type=int)
@_setting("threads", "Jobs at once in each process.", type=int)
@click.option(
    "--queues",
    type=names,
    multiple=True,
    envvar="WG_WORKER_QUEUES",
    show_envvar=True,
    help="Served strictly in this order; commas or several times. Without it: every queue, in turn.",
)
@_setting("burst", "Stop when nothing is ready, due or running.", is_flag=True)
@_setting("shutdown_timeout", "How long running jobs may go on after a stop.", type=duration)
@_setting("fetch_timeout", "The longest wait for a wake-up.", type=duration)
@_setting("scheduler_interval", "How often scheduled jobs are looked for.", type=duration)
@_setting("retrier_interval", "How often due retries are looked for.", type=duration)
@_setting("batch_size", "The most jobs moved at once.", type=int)
@_setting("lease", "How long a silent worker keeps its jobs.", type=duration)
@_setting("heartbeat", "How often the lease is renewed.", type=duration)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    default="info",
    show_default=True,
    envvar="WG_WORKER_LOG_LEVEL",
    show_envvar=True,
    help="What is worth a line on stderr.",
)
@store_options
def worker(
    *, store: StoreAddress, modules: tuple[str, ...], queues: tuple[tuple[str, ...], ...], log_level: str, **values: Any
) -> None:
    """Run jobs with the handlers that each MODULE (as in `import shop.jobs`) defines.

    The current directory is importable. The first SIGTERM or Ctrl-C stops fetching and lets running jobs finish for
    --shutdown-timeout; the second gives them back at once.
    """
    served = tuple(name for part in queues for name in part) if queues else None
    settings = WorkerSettings.of(queues=served, **values)
    store.open().close()  # a wrong URL or option is told before anything else
    log_to_stderr(log_level.upper())
    click.echo(_banner(store, settings, modules), err=True)
    supervisor = Supervisor(store.url, namespace=store.namespace, settings=settings, modules=modules)
    click.get_current_context().exit(supervisor.run())


def _banner(store: StoreAddress, settings: WorkerSettings, modules: tuple[str, ...]) -> str:
    queues = "every queue" if settings.queues is None else f"queues {', '.join(settings.queues)}"
    return (
        f"wg {importlib.metadata.version('wg-core')} worker on {redact(store.url)} namespace {store.namespace}\n"
        f"{queues}, processes {settings.processes}, threads {settings.threads}, "
        f"modules {', '.join(modules) or 'none: no job has a handler here'}"
    )
