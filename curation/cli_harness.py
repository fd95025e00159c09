"""The commands that train, measure and compare.

They are tokenize, train, evaluate, ablate, verdict and predict.
"""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from curation.console import DEFAULT_STORE, PASS_ON, StorePath, interrupt, progress, say

#: What the function in the file of a command returns.
MAKES = {"train": "Base", "ablate": "Ablation"}

FileName = Annotated[
    str, typer.Argument(metavar="FILE", help="FILE.py, FILE.py:FUNCTION or MODULE:FUNCTION.")
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes; default: one a GPU, or as many as the cores allow.", min=1),
]


def tokenize(
    tokenizer: Annotated[
        Path, typer.Argument(help="A tokenizer.json, or the folder of a checkpoint with one.")
    ],
    store: StorePath = DEFAULT_STORE,
    build: Annotated[
        str, typer.Option("--build", help="Fingerprint of a build; else the latest.")
    ] = "",
) -> None:
    """Write a build's text as packed tokens for training, once for each tokenizer.

    Where the recipe has a Mixture, each document stands in the set as often as it says. Ctrl-C
    stops; the same command goes on after the last finished shard.

    Example: curation tokenize models/base/tokenizer.json --store store
    """
    from curation.ablate.base import Workshop
    from curation.build import Build
    from curation.mix.tokenizer import Tokenizer
    from curation.store import Store

    words = Tokenizer.open(tokenizer)
    shown = progress()
    try:
        shop = Workshop(Store(store), progress=shown)
        made = shop.token_set(Build.open(store, build), words)
    finally:
        shown.close()
    size = made.tokens - made.documents
    say(
        f"{size:,} tokens and {made.documents:,} end marks, {made.text_bytes:,} bytes of text; "
        f"{made.skipped:,} rows without text"
    )
    say(f"in {made.folder}")


def train(
    context: typer.Context,
    file: FileName,
    store: StorePath = DEFAULT_STORE,
    workers: Workers = None,
    out: Annotated[
        Path | None, typer.Option(help="Copy the checkpoint into this folder as well.")
    ] = None,
) -> None:
    """Train a small model that experiments start from. One that is there is not trained again.

    FILE has a function that returns a Base; its keywords are flags.

    Example: curation train pipelines/base.py --texts 'text/*.jsonl.zst' --tokens 3000000
    """
    from curation.ablate.base import Base, Workshop, prepare_base
    from curation.recipe_file import load
    from curation.store import Store

    base = load(file, context.args, Base)
    signal.signal(signal.SIGTERM, interrupt)
    shown = progress()
    shop = Workshop(Store(store), workers, shown)
    try:
        with shop.alone():
            made = prepare_base(base, shop)
    finally:
        shown.close()
    facts = made.facts
    say(f"model      {facts['model']}, {facts['parameters']:,} parameters")
    if "tokens" in facts:
        say(f"trained    {facts['tokens']:,} tokens in {facts['seconds']:,.0f} s")
    say(f"checkpoint {made.folder}")
    if out is not None:
        import shutil

        shutil.copytree(made.folder, out, dirs_exist_ok=True)
        say(f"copied to  {out}")


def evaluate(  # noqa: PLR0913  a command's options
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a causal language model.")],
    texts: Annotated[
        list[str] | None,
        typer.Option(help="JSON lines of held-out text, for bits per byte; may be repeated."),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="JSON lines with question, choices, answer; may be repeated."),
    ] = None,
    lm_eval: Annotated[
        list[str] | None,
        typer.Option(help="Task files (YAML) for lm-evaluation-harness; may be repeated."),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Tokenizer, where the checkpoint has none.")
    ] = None,
    context: Annotated[int, typer.Option(help="Tokens that the model sees at once.")] = 256,
    most_items: Annotated[
        int | None, typer.Option(help="Texts and task items to measure, each.", min=1)
    ] = None,
    by_source: Annotated[bool, typer.Option(help="A row for each source of the texts.")] = False,
) -> None:
    """Measure a checkpoint: bits per byte of texts, tasks by every continuous metric.

    Example: curation evaluate models/small --texts held-out.jsonl --tasks quiz.jsonl
    """
    from curation import Jsonl, Recipe
    from curation.ablate.run import some_documents
    from curation.evaluate.checkpoint import Wanted, describe, measure_checkpoint
    from curation.evaluate.panel import Texts

    with tempfile.TemporaryDirectory() as scratch:
        held_out = {}
        for path in texts or []:
            build = Recipe(source=Jsonl(path, source_field="source"), steps=[]).run(
                store=scratch, workers=0
            )
            unread = build.ledger().errors
            if unread:
                say(f"{path}: {unread:,} rows are in error and not measured")
            name = Path(path).name.partition(".")[0]
            held_out[name] = Texts(name, some_documents(build, most_items))
    wanted = Wanted(
        texts=held_out,
        tasks=tasks or [],
        lm_eval=lm_eval or [],
        context=context,
        most_items=most_items,
    )
    say(describe(measure_checkpoint(checkpoint, wanted, tokenizer=tokenizer), by_source=by_source))


def ablate(
    context: typer.Context,
    file: FileName,
    store: StorePath = DEFAULT_STORE,
    workers: Workers = None,
    leave_one_rule_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-rule-out",
            help="Compare the reference arm with itself without each of its rules in turn.",
        ),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show arms and mixtures, run nothing.")
    ] = False,
) -> None:
    """Train on several sets from one base, measure, and say which helps and how sure that is.

    FILE has a function that returns an Ablation; its keywords are flags. Sets, bases and arms that
    the store holds are not made again. Ctrl-C stops; the same command goes on from there.

    Example: curation ablate pipelines/ablation.py --domain law.jsonl --general 'news/*.jsonl'
    """
    from curation.ablate.arms import Ablation
    from curation.ablate.arms import leave_one_rule_out as without_each
    from curation.ablate.run import run_ablation
    from curation.recipe_file import load

    ablation = load(file, context.args, Ablation)
    if leave_one_rule_out:
        ablation = without_each(ablation)
    if plan:
        say(ablation.describe())
        return
    signal.signal(signal.SIGTERM, interrupt)
    say(str(run_ablation(ablation, store=store, workers=workers, progress=progress())))


def verdict(
    store: StorePath = DEFAULT_STORE,
    name: Annotated[
        str, typer.Argument(metavar="[ABLATION]", help="Its fingerprint, or the beginning of it.")
    ] = "",
    all_measures: Annotated[
        bool, typer.Option("--all", help="Every measure, and not the primary ones alone.")
    ] = False,
) -> None:
    """Show what an ablation found: the latest, or the one that is named.

    Example: curation verdict --store store
    """
    from curation.ablate.results import open_outcome

    outcome = open_outcome(store, name)
    say(outcome.describe(all_measures=all_measures))


def predict(
    store: StorePath = DEFAULT_STORE,
    arms: Annotated[
        str, typer.Option(help="Arms to fit, as a pattern; they differ in nothing but the share.")
    ] = "*",
    domain: Annotated[
        str, typer.Option(help="Measure of the domain, where there are several.")
    ] = "",
    general: Annotated[
        str, typer.Option(help="Measure of general text, where there are several.")
    ] = "",
    general_rise: Annotated[
        float, typer.Option(help="Share by which the loss of general text may rise.")
    ] = 0.03,
    tables: Annotated[
        Path | None, typer.Option(help="Write the tables of perplexity correlation here (CSV).")
    ] = None,
) -> None:
    """Fit the laws of mixtures to what was trained in a store; give the best share of the domain.

    The runs have to differ in the share of domain text, as those of pipelines/ratios.py do.

    Example: curation predict --store store --arms 'share *' --general-rise 0.03
    """
    from fnmatch import fnmatch

    from curation.ablate.correlations import correlation_tables
    from curation.ablate.predict import predict as fit
    from curation.ablate.prediction import Question
    from curation.ablate.results import LOSS, models, read_results
    from curation.ablate.verdict import BASE

    if tables is not None:
        correlation_tables(models(store)).write(tables)
        say(f"tables in {tables}")
    results = read_results(store)
    wanted = [arm for arm in results["arm"].unique() if arm == BASE or fnmatch(arm, arms)]
    losses = results["arm"].is_in(wanted) & results["measure"].str.ends_with(LOSS)
    question = Question(domain=domain, general=general, general_rise_frac=general_rise)
    progress().say("fitting the laws, and again for each draw of the interval: a minute or two")
    say(str(fit(results.filter(losses), question)))


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (tokenize, train, evaluate, ablate, verdict, predict):
        makes = PASS_ON if command.__name__ in MAKES else {}
        app.command(context_settings=makes)(command)
