"""Plain Python: enqueue one job per argument, and run them in this process until nothing is left.

A real application leaves the running to `wg worker newsletter`.
"""

from __future__ import annotations

import sys

import wg_core
from newsletter import send_welcome


def main(emails: list[str]) -> None:
    """Send, then work."""
    for email in emails:
        handle = send_welcome.enqueue(email)
        print(f"enqueued {handle.id} for {email}")
    with wg_core.WorkerPool(handlers=[send_welcome], threads=2) as pool:
        pool.run_until_idle(timeout=30)


if __name__ == "__main__":
    main(sys.argv[1:])
