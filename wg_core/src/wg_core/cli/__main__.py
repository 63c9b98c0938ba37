"""`python -m wg_core.cli` is `wg` for a given interpreter, also where no script was installed."""

from wg_core.cli import main

main()
