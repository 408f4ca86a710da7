"""One page that holds a whole run: a single file, opened from an e-mail, that asks no network for anything.

    write_report(Run.open("runs/first"), "report.html")

Model text is hostile. It travels as compressed data, is only ever set as text, and the page's policy lets nothing run
but two scripts, named by their hashes (ours and Plotly's), and lets nothing load or leave. Needs the extra `report`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from isoflop.errors import MissingExtraError, StoreError
from isoflop.report.budget import Prices
from isoflop.report.page_data import Attempts, page_summary
from isoflop.report.problem_blobs import problem_blobs
from isoflop.report.table import Table, finite
from isoflop.studies.run import Run

MOST_BYTES = 25_000_000
NEEDED = "the page needs the packages of the extra 'report'; install them: pip install 'isoflop[report]'"
# In this order: each script uses what stands before it.
SCRIPTS = (
    *("dom", "format", "source", "theme", "marks", "answer", "charts", "tables", "problems", "problem"),
    *("tree_layout", "tree", "main"),
)
_FEW_BYTES = 100_000  # kept free for what the template itself says


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: `without_trees` counts the problems whose trees did not fit."""

    path: Path
    size_bytes: int
    problems: int
    without_trees: int


def write_report(
    run: Run, path: str | Path, *, prices: Prices | None = None, most_bytes: int = MOST_BYTES, title: str = ""
) -> Written:
    """The run as it stands, finished or not. Raises MissingExtraError, or StoreError where the file cannot be made."""
    page, problems, without = report_page(run, prices=prices, most_bytes=most_bytes, title=title)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StoreError(f"{path}: the page cannot be written ({error.strerror}); choose another file") from None
    return Written(path, len(page.encode()), problems, without)


def report_page(run: Run, *, prices: Prices | None, most_bytes: int, title: str = "") -> tuple[str, int, int]:
    """The page, how many problems it holds, and of how many it had to leave the trees out."""
    plotly = plotly_script()
    attempts = Attempts.of(run)
    summary = page_summary(run, Table.of(run), attempts, prices)
    head = zipped(json.dumps(finite(summary), ensure_ascii=False, allow_nan=False))
    chart = zipped(plotly)
    room = most_bytes - len(head) - len(chart) - len(own_script()) - _FEW_BYTES
    arms = {label: place for place, label in enumerate(run.study.labels)}
    blobs = problem_blobs(run.problems, attempts.by_problem, arms, room)
    config = {"live": False, "withoutTrees": blobs.without_trees}
    page = shell(summary, config, {"summary": head}, blobs.packed, chart, title)
    return page, len(blobs.packed), blobs.without_trees


def shell(
    summary: Mapping[str, Any],
    config: Mapping[str, Any],
    parts: Mapping[str, str],
    problems: Sequence[str],
    plotly: str,
    title: str = "",
) -> str:
    """The page around its data; a live one brings no data and fetches it from where it came from."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_asset("page.html.jinja"))
    answer = next((axis["answers"][-1] for axis in summary.get("axes", ()) if axis["answers"]), None)
    script = own_script()
    return template.render(
        policy=policy([script, plotly_script()], live=bool(config["live"])),
        title=title or f"{summary['study']['name']}: isoflop",
        heading=summary["study"]["heading"],
        sentence=answer["sentence"] if answer else "Nothing can be compared yet.",
        config=json.dumps(config).replace("<", "\\u003c"),
        parts=parts,
        problems=problems,
        plotly=plotly,
        style=_asset("page.css"),
        script=script,
    )


def policy(scripts: Sequence[str], *, live: bool) -> str:
    """The page's content policy: these scripts and no other, no network (a live page: its own server), no eval."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    rules = {
        "default-src": "'none'",
        "script-src": hashes,
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "'self'" if live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def zipped(text: str) -> str:
    """Gzip as base64: a page unpacks it with what browsers have built in."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "backslashreplace"), 9, mtime=0)).decode()


@cache
def own_script() -> str:
    """Our scripts as one, in a scope of their own."""
    parts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n{{\n{parts}\n}}\n'


@cache
def plotly_script() -> str:
    """The script that Plotly's package carries."""
    try:
        import plotly
    except ImportError:
        raise MissingExtraError(NEEDED) from None
    return (resources.files(plotly) / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _asset(name: str) -> str:
    return (resources.files("isoflop.report") / "assets" / name).read_text(encoding="utf-8")
