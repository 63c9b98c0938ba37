"""What wg is tested with, shipped for those who test with it: `pip install "wg-core[testing]"`.

* `contract`: the conformance suite of backends; its docstring shows how a plug-in author runs it.
* `faults`: `FaultyBackend` makes any backend fail the way stores fail.
* `clock`: a clock to move by hand.
* `history_checker`: finds lost and doubled jobs in a log that producers and handlers wrote.
* `servers`: private servers to start, kill, pause and restart.
"""
