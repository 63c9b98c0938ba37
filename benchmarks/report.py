"""How figures are shown: line by line as they come, as Markdown for docs/benchmarks.md, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from benchmarks.measure import RAW, Figure

HEAD = f"{'store':8} {'what':42} {'wg':>10} {'reference':>10} {'ratio':>6} {'spread':>6}  goal"


def line(figure: Figure) -> str:
    """Return one line of the table on the terminal."""
    reference = f"{figure.raw:10,.4g}" if figure.raw is not None else " " * 10
    ratio = f"{figure.ratio:6.2f}" if figure.ratio is not None else " " * 6
    spread = f"{figure.spread:6.2f}" if figure.spread else " " * 6
    against = f"(against {figure.against})" if figure.against != RAW else ""
    return (
        f"{figure.store:8} {figure.what:42} {_number(figure.wg):>10} {reference} {ratio} {spread}  "
        f"{figure.unit} {figure.goal} {against}".rstrip()
    )


def as_json(figures: Iterable[Figure]) -> str:
    """Return all figures with their ratios."""
    return json.dumps([asdict(figure) | {"ratio": figure.ratio} for figure in figures], indent=1)


def as_markdown(figures: Sequence[Figure]) -> str:
    """Return a table for each kind of reference: stores side by side, each value with its ratio."""
    references = dict.fromkeys(figure.against for figure in figures if figure.store != "-")
    return "\n\n".join(_table([one for one in figures if one.against == name], name) for name in references)


def _table(figures: Sequence[Figure], against: str) -> str:
    stores = list(dict.fromkeys(figure.store for figure in figures if figure.store != "-"))
    title, ratio = ("", "of raw") if against == RAW else (f"against {against}", "ratio")
    rows = [[title, *(cell for store in stores for cell in (store, ratio)), "aim"]]
    rows.append(["---"] * len(rows[0]))
    for what in dict.fromkeys(figure.what for figure in figures):
        of_store = {figure.store: figure for figure in figures if figure.what == what}
        cells = [cell for store in stores for cell in _cells(of_store.get(store))]
        rows.append([what, *cells, "; ".join(dict.fromkeys(one.goal for one in of_store.values() if one.goal))])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows).replace("|  |", "| |").replace("|  |", "| |")


def _cells(figure: Figure | None) -> tuple[str, str]:
    if figure is None:
        return "", ""
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    return f"{_number(figure.wg)}{'' if figure.unit == '/s' else ' '}{figure.unit}", ratio


def _number(value: float) -> str:
    """Return three figures: more would promise what a benchmark cannot hold."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
