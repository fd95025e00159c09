"""The command ``curation``: corpora here; the other commands are in the modules ``cli_…``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation import (
    cli_classifier,
    cli_correlate,
    cli_costs,
    cli_harness,
    cli_keywords,
    cli_mining,
)
from curation.cli_dry_run import tell
from curation.console import DEFAULT_STORE, PASS_ON, StorePath, interrupt, progress, say
from curation.errors import CurationError, RecipeError, RunStopped

if TYPE_CHECKING:
    from rich.console import Console

    from curation.build import Build
    from curation.engine.plan import Plan
    from curation.recipe import Recipe
    from curation.store import Store

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turn raw pages into a corpus for one domain, and keep a reason for every document "
    "that is dropped.",
)

#: Exit status of a run that Ctrl-C stopped, as shells have it.
INTERRUPTED = 130
#: More warnings than this are counted and not shown.
SHOWN_ALARMS = 10

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="FILE.py, FILE.py:FUNCTION or MODULE:FUNCTION.")
]
BuildName = Annotated[
    str, typer.Option("--build", help="Fingerprint of a build, or its beginning; else the latest.")
]
Limit = Annotated[
    int | None, typer.Option(help="Read the first so many rows only, for a quick look.", min=1)
]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"curation {version('curation')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Turn raw pages into a corpus for one domain, and keep a reason for every dropped document."""


@app.command(context_settings=PASS_ON)
def plan(
    context: typer.Context,
    recipe: RecipeName,
    store: StorePath = DEFAULT_STORE,
    limit: Limit = None,
) -> None:
    """Show what a run would do, and what the store holds already. Nothing is read.

    Example: curation plan pipelines/web.py --paths 'crawl/*.warc.gz'
    """
    from curation.store import Store

    compiled = _load(recipe, context.args).plan(limit=limit)
    _print_plan(compiled, Store(store))


@app.command(context_settings=PASS_ON)
def run(  # noqa: PLR0913  a command's options
    context: typer.Context,
    recipe: RecipeName,
    store: StorePath = DEFAULT_STORE,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; default: one a core.", min=0)
    ] = None,
    limit: Limit = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the corpus into this folder as well.")
    ] = None,
    format: Annotated[str, typer.Option(help="Format of --out: parquet or jsonl.")] = "parquet",
    columns: Annotated[
        str, typer.Option(help="Columns of --out, such as id,text,url; default: the usual ones.")
    ] = "",
    shard_mb: Annotated[
        int, typer.Option(help="Text per file of --out, in megabytes.", min=1)
    ] = 256,
    stall_limit: Annotated[
        float, typer.Option(help="Seconds without progress after which a worker is replaced.")
    ] = 300.0,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Tell what language models would be asked and take; ask nothing."
        ),
    ] = False,
    sample: Annotated[
        int | None, typer.Option(help="Of --dry-run: rows to try; default: 1000.", min=1)
    ] = None,
    tokens_per_second: Annotated[
        float | None, typer.Option(help="Of --dry-run: how fast the model writes.", min=0.001)
    ] = None,
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Of --dry-run: money for a million tokens of prompts and of replies."),
    ] = None,
) -> None:
    """Run a recipe. What the store holds already is not done again.

    The recipe's own flags follow its name; they are the keywords of its function. Ctrl-C stops
    cleanly; the same command goes on from there. With --dry-run nothing is sent to a model and
    nothing is stored: some rows are tried with models that count.

    Example: curation run pipelines/web.py --paths 'crawl/*.warc.gz' --out corpus
    """
    writer = _writer(out, format, columns, shard_mb)
    loaded = _load(recipe, context.args)
    if dry_run:
        tell(loaded, (store, limit), (sample, tokens_per_second, prices))
        return
    if (sample, tokens_per_second, prices) != (None, None, None):
        raise RecipeError(
            "--sample, --tokens-per-second and --prices are for a dry run.",
            remedy="add --dry-run, or leave them out",
        )
    signal.signal(signal.SIGTERM, interrupt)
    build = loaded.run(
        store=store, workers=workers, limit=limit, stall_s=stall_limit, progress=progress()
    )
    _print_funnel(build)
    if writer is not None:
        written = build.write(writer, progress=progress())
        say(
            f"wrote {written.rows:,} rows, {_size(written.text_bytes)} of text, to "
            f"{written.folder} (files: {len(written.paths)})"
        )
    else:
        say(
            f"The corpus is a view over {store}: write it with --out FOLDER, or open it in Python "
            f"with Build.open('{store}').documents()."
        )


@app.command()
def show(store: StorePath = DEFAULT_STORE, build: BuildName = "") -> None:
    """Show a build: rows, documents and bytes left after each step, and every reason.

    Example: curation show --store store
    """
    from curation.build import Build

    _print_funnel(Build.open(store, build))


@app.command()
def why(
    row_id: Annotated[
        str, typer.Argument(metavar="[ID]", help="Id of a row, FILE#PLACE; else --because.")
    ] = "",
    because: Annotated[
        str, typer.Option(help="Take the first row that was dropped for this reason.")
    ] = "",
    store: StorePath = DEFAULT_STORE,
    build: BuildName = "",
) -> None:
    """Tell one row's whole path: where it came from, its values, what dropped it, its relatives.

    Example: curation why 'a.warc.gz#20481', or curation why --because 'too short'
    """
    from curation.build import Build

    opened = Build.open(store, build)
    if bool(row_id) == bool(because):
        raise RecipeError(
            "why takes the id of a row, or a reason.",
            reasons=", ".join(opened.reasons()),
            remedy="curation why ID, or curation why --because REASON",
        )
    if because:
        row_id = opened.dropped(because=because).select("id").head(1).collect().item()
    print(opened.why(row_id))


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="A build: STORE, STORE:BUILD or BUILD of --store.")],
    second: Annotated[str, typer.Argument(help="The build to compare it with.")],
    store: StorePath = DEFAULT_STORE,
    rows: Annotated[int, typer.Option(help="How many rows to list; 0 for the counts only.")] = 20,
) -> None:
    """Compare two builds: rows in one and not in the other, and why.

    Example: curation diff 3f2a 9c1b, or curation diff old-store new-store
    """
    from curation.audit import diff as compare

    found = compare(_build_named(first, store), _build_named(second, store))
    counts = found.group_by("only_in", "because", maintain_order=True).len()
    for row in counts.iter_rows(named=True):
        other = "second" if row["only_in"] == "first" else "first"
        say(f"{row['len']:>10,} only in the {row['only_in']}; in the {other}: {row['because']}")
    if found.is_empty():
        say("The two corpora hold the same rows.")
    for row in found.head(rows).iter_rows(named=True):
        say(f"  {row['only_in']:<6} {row['id']}  {row['because']}")
    if len(found) > rows > 0:
        say(f"  … and {len(found) - rows:,} more; --rows shows more")


@app.command()
def index(store: StorePath = DEFAULT_STORE, build: BuildName = "") -> None:
    """Write an index of what a build kept, for later builds to find copies of it.

    The build's recipe must have MinHashSketch. A later recipe finds the copies with
    NearDuplicates(against=("STORE",)).

    Example: curation index --store store
    """
    from curation.build import Build
    from curation.dedup.index import open_index

    folder = Build.open(store, build).write_index(progress=progress())
    made = open_index(str(folder))
    size = sum(made.facts["bytes"].values())
    say(f"index of {made.count:,} rows, {_size(size)}, in {folder}")


@app.command()
def contamination(
    evals: Annotated[
        str, typer.Argument(metavar="EVAL", help="Evaluation sets: a file, a folder or a pattern.")
    ],
    build: Annotated[
        str, typer.Argument(metavar="[BUILD]", help="STORE, STORE:BUILD or BUILD of --store.")
    ] = "",
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Report, task by task, which evaluation items a build's corpus holds.

    An item is found by runs of 13 words, by 70 % of its runs of 8 words, or by its question with
    its answer. Evaluation sets are JSON lines with question, choices, answer, context or text.

    Example: curation contamination 'evals/*.jsonl' store
    """
    from rich.console import Console

    from curation.build import Build
    from curation.dedup.contamination import report, rich_table
    from curation.dedup.decontaminate import Decontaminate

    opened = _build_named(build, store) if build else Build.open(store)
    found = report(opened, Decontaminate(evals=(evals,)))
    Console(width=None if sys.stdout.isatty() else 220, highlight=False).print(rich_table(found))


@app.command(context_settings=PASS_ON)
def check(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="RECIPE|STORE", help="A recipe to check, or a store folder.")
    ],
) -> None:
    """Check a recipe (its columns, and the contract on each of its stages) or a store (its parts).

    Example: curation check pipelines/web.py --paths 'crawl/*.warc.gz', or curation check store
    """
    from curation.store import Store

    if Path(target).is_dir():
        _check_store(Store(target))
    else:
        _check_recipe(_load(target, context.args))


_COMMANDS = (
    cli_classifier,
    cli_correlate,
    cli_keywords,
    cli_costs,
    cli_mining,
    cli_harness,
)
for module in _COMMANDS:
    module.register(app)


# ---------------------------------------------------------------- parts of the commands


def _load(name: str, words: list[str]) -> Recipe:
    from curation.recipe_file import load_recipe

    return load_recipe(name, words)


def _help_of_recipe(words: list[str]) -> None:
    """After the help of a command, show the flags of the recipe that it was given."""
    name = next((word for word in words[1:] if not word.startswith("-")), "")
    recipes = dict.fromkeys(("plan", "run", "check"), "Recipe")
    makes = {**recipes, **cli_mining.MAKES, **cli_harness.MAKES}
    kind = makes.get(words[0] if words else "", "")
    if name and kind and {"-h", "--help"} & set(words):
        import curation
        from curation.recipe_file import describe_flags, find_function

        function = find_function(name, getattr(curation, kind))
        say(f"\n{name}: {(function.__doc__ or '').strip()}\n\n{describe_flags(function)}")


def _writer(out: Path | None, kind: str, columns: str, shard_mb: int) -> Any:
    from curation.errors import nearest
    from curation.writers import JsonlFiles, ParquetFiles, check_folder

    kinds = {"parquet": ParquetFiles, "jsonl": JsonlFiles}
    if kind not in kinds:
        raise RecipeError(
            f"there is no format '{kind}'.", present=", ".join(kinds), remedy=nearest(kind, kinds)
        )
    if out is None:
        return None
    check_folder(out)
    names = tuple(name.strip() for name in columns.split(",") if name.strip()) or None
    return kinds[kind](out, columns=names, shard_bytes=shard_mb * 1_000_000)


def _build_named(name: str, store: Path) -> Build:
    from curation.build import Build

    folder, _, fingerprint = name.partition(":")
    if Path(folder).is_dir():
        return Build.open(folder, fingerprint)
    return Build.open(store, name)


def _print_plan(compiled: Plan, store: Store) -> None:
    from curation.engine.plan import step_facts
    from curation.recipe import step_name

    size = sum(shard.bytes for shard in compiled.shards)
    files = {span.path for shard in compiled.shards for span in shard.spans}
    say(f"recipe  {compiled.recipe.origin}")
    say(f"input   {len(files):,} files, {_size(size)}, {len(compiled.shards):,} shards")
    say(f"  step  0  {step_name(compiled.source)}")
    for phase in compiled.phases:
        last = phase.groups[-1]
        done = sum(store.part(last, key).exists() for key in compiled.keys)
        state = "done" if done == len(compiled.keys) else f"{done} of {len(compiled.keys)} shards"
        for step in phase.steps:
            facts = step_facts(step)
            scored = sum(
                store.part(step.group, key).exists() for key in compiled.keys if step.group
            )
            kept = f", {scored} scored before" if scored and state != "done" else ""
            say(f"  step {facts['step']:>2}  {facts['title']}  [{state}{kept}]")


def _print_funnel(build: Build) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("step", "what", "rows", "documents", "bytes", "gone", "because", box=None)
    for column in table.columns[2:6]:
        column.justify = "right"
    for row in build.funnel().iter_rows(named=True):
        gone = row["dropped"] + row["errors"]
        because = row["because"] if row["dropped"] else ""
        if row["errors"]:
            because = ", ".join(filter(None, [because, f"{row['errors']:,} in error"]))
        table.add_row(
            str(row["step"]),
            row["title"] if row["step"] else row["name"],
            f"{row['rows']:,}",
            f"{row['documents']:,}",
            _size(row["bytes"]),
            f"{gone:,}" if gone else "",
            because,
        )
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(table)
    ledger = build.ledger()
    made = f" + {ledger.made:,} made" if ledger.made else ""
    gone = sum(ledger.dropped.values())
    balance = "balances" if ledger.balances else "DOES NOT BALANCE"
    console.print(
        f"{ledger.rows_in:,} rows in{made} = {ledger.rows_out:,} out + {gone:,} dropped + "
        f"{ledger.errors:,} in error: the ledger {balance}"
    )
    _print_mixture(build, console)
    console.print(f"build {build.fingerprint} of {build.facts['recipe']} in {build.store.path}")
    _print_alarms(build)


def _print_mixture(build: Build, console: Console) -> None:
    from rich.table import Table

    from curation.mix.mixture import mixture_table

    mixed = any(step["name"] == "Mixture" for step in build.facts["steps"])
    notes = build.notes().get("Mixture") if mixed else None  # manifests are long to read
    if notes is None:
        return
    table = Table("group", "tokens", "share", "epochs", "documents", "tokens there were", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in mixture_table(notes).iter_rows(named=True):
        table.add_row(
            row["group"] or "(none)",
            f"{row['tokens']:,}",
            f"{row['share']:.1%}",
            f"{row['epochs']:.2f}",
            f"{row['documents']:,}",
            f"{row['pool_tokens']:,}",
        )
    console.print(table)


def _print_alarms(build: Build) -> None:
    from curation.alarms import summarize

    lines = summarize(build.alarms())
    for line in lines[:SHOWN_ALARMS]:
        say(line)
    if len(lines) > SHOWN_ALARMS:
        say(f"… and {len(lines) - SHOWN_ALARMS} more warnings: Build.open(…).alarms() lists all")


def _check_store(store: Store) -> None:
    from curation.audit import check_store

    checked = wrong = 0
    for what, problem in check_store(store):
        checked += 1
        if problem:
            wrong += 1
            say(f"{what}: {problem}")
    if not checked:
        raise RecipeError(
            f"{store.path} is not a store: it holds no finished column group.",
            remedy="name the folder that was given to run as --store",
        )
    say(f"{checked} groups and builds checked, {wrong} wrong")
    if wrong:
        raise typer.Exit(1)


def _check_recipe(recipe: Recipe) -> None:
    from curation.engine.compiling import CompileNotice
    from curation.recipe import step_name
    from curation.stage import Annotator, Reducer, Rewriter
    from curation.testing import ContractError, check_stage

    recipe.plan()
    wrong, notice = 0, CompileNotice()
    for number, step in enumerate(recipe.steps, start=1):
        verdict = "columns and types fit"
        if isinstance(step, Annotator | Reducer | Rewriter):
            try:
                with notice:
                    check_stage(step)
                verdict += ", contract kept"
            except ContractError as error:
                wrong += 1
                verdict = f"contract broken: {error}"
        say(f"  step {number:>2}  {step_name(step)}: {verdict}")
    if wrong:
        raise typer.Exit(1)


def _size(count: int) -> str:
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def main() -> None:
    """Run the command; an error of the package is a message and an exit status."""
    try:
        try:
            app()
        finally:
            _help_of_recipe(sys.argv[1:])
    except RunStopped as error:
        print(f"\n{error}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        print("\nstopped.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except CurationError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
