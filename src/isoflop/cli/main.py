"""`isoflop VERB ...`: the entry point. It knows the verbs and nothing of what they do.

Verb files import typer alone when loaded; everything else is imported when a verb runs, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from isoflop import __version__
from isoflop.cli import (
    audit,
    claim,
    compare,
    demo,
    export,
    figure,
    flops,
    imports,
    lab,
    names,
    plan,
    quietstar,
    report,
    reward,
    solve,
    study,
    table,
    timing,
    tree,
    watch,
)
from isoflop.cli.guard import DEBUG, guarded

# Options that may be followed by several values, as in `--strategies A B C`.
SPREADING = ("--strategies", "--model", "--reward", "--prompt", "--sampling", "--protocol", "--seeds")

app = typer.Typer(
    help="The instrument for compute-optimal LLM problem solving.",
    epilog="Start with: isoflop demo · isoflop list · isoflop solve --help · isoflop compare --help",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)
study_app = typer.Typer(help="Run a study file: problems x arms x seeds, resumable.", no_args_is_help=True)
study_app.command("run", epilog=study.EXAMPLES)(guarded(study.run))

app.command("demo", epilog=demo.EXAMPLES)(guarded(demo.demo))
app.command("solve", epilog=solve.EXAMPLES)(guarded(solve.solve))
app.command("compare", epilog=compare.EXAMPLES)(guarded(compare.compare))
app.add_typer(study_app, name="study")
app.add_typer(claim.app, name="claim")
app.add_typer(quietstar.app, name="quietstar")
app.add_typer(reward.app, name="reward")
app.add_typer(lab.app, name="lab")
app.command("table", epilog=table.EXAMPLES)(guarded(table.table))
app.command("tree", epilog=tree.EXAMPLES)(guarded(tree.tree))
app.command("figure", epilog=figure.EXAMPLES)(guarded(figure.figure))
app.command("report", epilog=report.EXAMPLES)(guarded(report.report))
app.command("export", epilog=export.EXAMPLES)(guarded(export.export))
app.command("watch", epilog=watch.EXAMPLES)(guarded(watch.watch))
app.command("flops", epilog=flops.EXAMPLES)(guarded(flops.flops))
app.command("plan", epilog=plan.EXAMPLES)(guarded(plan.plan))
app.command("time", epilog=timing.EXAMPLES)(guarded(timing.time))
app.command("audit", epilog=audit.EXAMPLES)(guarded(audit.audit))
app.command("import", epilog=imports.EXAMPLES)(guarded(imports.import_file))
app.command("list", epilog=names.EXAMPLES)(guarded(names.list_names))


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The instrument for compute-optimal LLM problem solving."""
    if debug:
        os.environ[DEBUG] = "1"


def run(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    app(args=prepared(sys.argv[1:] if arguments is None else arguments), prog_name="isoflop")


def prepared(arguments: Sequence[str]) -> list[str]:
    """The arguments as typer wants them: `--strategies A B` said twice, `--debug` first."""
    plain = [argument for argument in arguments if argument != "--debug"]
    found = ["--debug"] if len(plain) < len(arguments) else []
    if plain[:1] == ["compare"]:
        plain = spread(plain)
    elif plain[:2] in (["reward", "train"], ["reward", "eval"]):
        plain = spread(plain, ("--seeds", "--rewards"))
    return [*found, *plain]


def spread(arguments: Sequence[str], spreading: Sequence[str] = SPREADING) -> list[str]:
    """Repeat a spreading option before each value that follows it."""
    found: list[str] = []
    option = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("-"):
            option = name if name in spreading else ""
            found += [name, value] if option and equals else [] if option else [argument]
        else:
            found += [option, argument] if option else [argument]
    return found
