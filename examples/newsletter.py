"""The jobs of a newsletter: imported by those who enqueue them and by `wg worker newsletter`."""

from __future__ import annotations

from pathlib import Path

from wg_core import JobError, current_job, job

OUTBOX = Path("outbox.txt")


@job(queue="mail", max_retries=5, timeout=30)
def send_welcome(email: str) -> None:
    """Write one letter (a real one would go to a mail server)."""
    if "@" not in email:
        raise JobError.fatal(f"{email!r} is no address")
    with OUTBOX.open("a") as outbox:
        outbox.write(f"welcome {email} (job {current_job().id})\n")
