"""The model that arms start from: trained here on some general text, or a checkpoint folder.

What is made is kept in the store under a name that holds everything that it comes from: a token set
under its build and tokenizer, a model under its token sets, mixture and settings. The same base is
never trained twice.

    STORE/tokenizers/<fingerprint>/tokenizer.json
    STORE/tokens/<fingerprint>/             a build's text as token shards
    STORE/models/<fingerprint>/model/  log.jsonl  model.json
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation.engine.progress import Progress
from curation.errors import RecipeError, nearest
from curation.mix.budget import MAX_EPOCHS, salted_hash_of_ids
from curation.mix.schedule import Schedule
from curation.recipe import Recipe
from curation.stage import content_hash
from curation.store import Store, canonical_json, read_json, write_json
from curation.train.settings import Training

if TYPE_CHECKING:
    from curation.build import Build
    from curation.mix.budget import Beyond
    from curation.mix.stream import Batches
    from curation.mix.tokens import DocumentIds, Tokenizer, TokenSet

#: A run keeps so many states in its course, from which it goes on after a kill.
STATES = 10
#: States are never nearer to each other than this, in steps.
LEAST_STEPS = 20

#: Counts up when something outside the settings changes what a run yields.
VERSION = 1


def digest_of(facts: object) -> str:
    """Return a name for facts that JSON can hold: 24 hexadecimal digits."""
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:24]


@dataclass(frozen=True, kw_only=True)
class Base:
    """A model that arms start from: trained here, or a checkpoint folder.

    checkpoint    folder of any causal language model that transformers reads; "" to train one
    tokenizer     folder or file of its tokenizer, where the checkpoint's folder has none
    preset        size of the model that is trained here, a name in ``train.model.PRESETS``
    vocab_size    of the byte-level BPE tokenizer, which is trained on the same text
    context       tokens that the model sees at once
    data          name → recipe of the text
    schedule      mixture of it over time; by default the only set
    training      tokens, batches, learning rates
    tokenizer_bytes  text that the tokenizer is trained on, about, taken evenly from the sets
    """

    checkpoint: str = ""
    tokenizer: str = ""
    preset: str = "1M"
    vocab_size: int = 2048
    context: int = 256
    data: Mapping[str, Recipe] = field(default_factory=dict)
    schedule: Schedule | None = None
    training: Training | None = None
    tokenizer_bytes: int = 8_000_000

    def __post_init__(self) -> None:
        if self.checkpoint:
            if self.data:
                raise RecipeError(
                    "a base is a checkpoint, or trained here on data, and not both.",
                    found=f"checkpoint={self.checkpoint!r}, data={', '.join(self.data)}",
                )
            return
        if not self.data or self.training is None:
            raise RecipeError(
                "a base needs text and training settings, or a checkpoint.",
                remedy="Base(data={'general': recipe}, training=Training(tokens=…)), or "
                "Base(checkpoint='FOLDER')",
            )
        if self.training.sequence_length > self.context:
            raise RecipeError(
                "the base is trained on sequences that are longer than its context.",
                found=f"sequence_length={self.training.sequence_length}, context={self.context}",
            )
        self.mixture.validate(self.data, who="the base")

    @property
    def mixture(self) -> Schedule:
        """The schedule, or the only set where none is given."""
        if self.schedule is not None:
            return self.schedule
        if len(self.data) != 1:
            raise RecipeError(
                "a base on several sets of text needs a schedule.",
                present=", ".join(self.data),
                remedy="such as schedule=Schedule.mixed({'news': 0.5, 'books': 0.5})",
            )
        return Schedule.plain(next(iter(self.data)))


@dataclass(frozen=True)
class BaseModel:
    """A base that is on disk.

    folder       its checkpoint: weights and configuration
    tokenizer    file or folder of its tokenizer
    fingerprint  of everything that it comes from
    facts        model, parameters, tokens, context, seconds of training; unknown ones are left out
    """

    folder: Path
    tokenizer: Path
    fingerprint: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Workshop:
    """Where things are made and kept, and who is told.

    store     column groups, token sets, models and results
    workers   processes for recipes and runs; None for one a core
    progress  what a person sees
    """

    store: Store
    workers: int | None = None
    progress: Progress = field(default_factory=Progress)

    def alone(self) -> AbstractContextManager[None]:
        """Hold the store's experiments; ResourceError where another process holds them."""
        told = f"another process trains in the store {self.store.path}."
        return self.store.held("experiments.lock", told)

    def build(self, recipe: Recipe) -> Build:
        """Run a recipe, or take what the store holds."""
        return recipe.run(store=self.store.path, workers=self.workers, progress=self.progress)

    def token_set(
        self, build: Build, tokenizer: Tokenizer, document_ids: DocumentIds = "none"
    ) -> TokenSet:
        """Write a build's text as tokens, unless it is there."""
        from curation.mix.tokens import write_tokens

        name = digest_of([VERSION, build.fingerprint, tokenizer.fingerprint, document_ids])
        return write_tokens(
            build,
            tokenizer,
            self.store.path / "tokens" / name,
            fingerprint=name,
            document_ids=document_ids,
            progress=self.progress,
        )


def prepare_base(base: Base, shop: Workshop) -> BaseModel:
    """Train a base, or return the one that the store holds, or look at a checkpoint folder."""
    from curation.train.model import PRESETS

    if base.checkpoint:
        return _opened(base)
    if base.preset not in PRESETS:
        raise RecipeError(
            f"there is no preset '{base.preset}'.",
            present=", ".join(PRESETS),
            remedy=nearest(base.preset, PRESETS),
        )
    builds = {name: shop.build(recipe) for name, recipe in sorted(base.data.items())}
    tokenizer = _tokenizer(base, builds, shop)
    sets = {name: shop.token_set(build, tokenizer) for name, build in builds.items()}
    assert base.training is not None
    batches = batches_of(sets, base.mixture, base.training, key="base")
    settings = [base.preset, base.context, base.training.identity()]
    fingerprint = digest_of([VERSION, *settings, tokenizer.fingerprint, batches.fingerprint])
    folder = shop.store.path / "models" / fingerprint
    facts = read_json(folder / "model.json")
    if facts is None:
        facts = _train(base, tokenizer, batches, folder, shop)
    return BaseModel(folder / "model", folder / "model", fingerprint, facts)


def batches_of(
    sets: Mapping[str, TokenSet],
    schedule: Schedule,
    training: Training,
    *,
    key: str,
    max_epochs: float = MAX_EPOCHS,
    beyond: Beyond = "error",
) -> Batches:
    """Return the batches of a run; documents are drawn by ``key``, their order by the seed."""
    from curation.mix.stream import Batches

    return Batches(
        {name: sets[name] for name in schedule.names},
        schedule,
        tokens=training.tokens,
        sequence_length=training.sequence_length,
        batch_sequences=training.batch_sequences,
        seed=training.seed,
        key=key,
        max_epochs=max_epochs,
        beyond=beyond,
    )


def with_states(training: Training) -> Training:
    """Return the settings with states in the course of a run, where they do not say how many."""
    every = max(LEAST_STEPS, training.tokens // training.batch_tokens // STATES)
    return dataclasses.replace(training, checkpoint_every=training.checkpoint_every or every)


def _tokenizer(base: Base, builds: Mapping[str, Build], shop: Workshop) -> Tokenizer:
    from curation.mix.tokens import Tokenizer

    facts = [build.fingerprint for build in builds.values()]
    name = digest_of([VERSION, facts, base.vocab_size, base.tokenizer_bytes])
    folder = shop.store.path / "tokenizers" / name
    if not (folder / "tokenizer.json").exists():
        shop.progress.say(f"training a tokenizer of {base.vocab_size:,} tokens")
        share = base.tokenizer_bytes // len(builds)
        texts = (text for build in builds.values() for text in _sample(build, share))
        Tokenizer.train(texts, vocab_size=base.vocab_size).save(folder)
    return Tokenizer.open(folder)


def _sample(build: Build, most_bytes: int) -> Iterator[str]:
    """Yield about so many bytes of texts, chosen by a hash of their ids."""
    total = build.facts["funnel"][-1]["bytes"]
    share = min(1.0, most_bytes / max(1, total))
    for _, _, rows in build.reader(build.outcomes[-1]).batches(["id", "text"]):
        chosen = salted_hash_of_ids(rows["id"], "tokenizer") <= share * float(2**64 - 1)
        yield from filter(None, rows["text"].filter(pa.array(chosen)).to_pylist())


def _train(
    base: Base, tokenizer: Tokenizer, batches: Batches, folder: Path, shop: Workshop
) -> dict[str, Any]:
    from curation.train.loop import train
    from curation.train.model import new_model, parameter_count

    assert base.training is not None
    model = new_model(
        base.preset,
        vocab_size=tokenizer.vocab_size,
        context=base.context,
        seed=base.training.seed,
        end_id=tokenizer.end_id,
    )
    began = time.monotonic()
    shop.progress.say(f"training a base of {parameter_count(model):,} parameters in {folder}")
    trained = train(
        model,
        batches,
        with_states(base.training),
        folder=folder,
        tokenizer=tokenizer,
        progress=shop.progress,
    )
    facts = {
        "model": base.preset,
        "parameters": parameter_count(model),
        "tokens": trained.tokens,
        "context": base.context,
        "seconds": round(time.monotonic() - began, 1),
        "data": batches.manifest(),
    }
    write_json(folder / "model.json", facts)
    return facts


def _opened(base: Base) -> BaseModel:
    from curation.train.model import open_checkpoint, parameter_count

    model, tokenizer = open_checkpoint(base.checkpoint, tokenizer=base.tokenizer or None)
    context = getattr(model.config, "max_position_embeddings", base.context)
    facts = {
        "model": Path(base.checkpoint).name,
        "parameters": parameter_count(model),
        "context": min(context, base.context),
    }
    fingerprint = digest_of([VERSION, content_hash(base.checkpoint), tokenizer.fingerprint])
    where = Path(base.checkpoint)
    return BaseModel(where, Path(base.tokenizer or where), fingerprint, facts)
