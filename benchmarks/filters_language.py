"""Language identification: the same labels as the packages, how many are right, how much faster.

Issue 3 asks for an accuracy table on udhr paragraphs of lid.176 and of the default model, and for
at least twice the throughput of a loop over the same model through its own Python package, on one
core.

    python -m benchmarks.filters_language            all paragraphs and documents: three minutes
    python -m benchmarks.filters_language --quick    one in eight
    python -m benchmarks.filters_language --check    exit 1 if a figure falls short

Peers: fasttext-numpy2's ``predict(text.replace("\\n", " "))`` and py3langid's ``classify`` with
``norm_probs``, a row at a time. Ours is the whole stage ``Language``, script and columns included,
on Arrow batches of the engine's size. Labels and probabilities are compared first, row by row.
Seconds are the process's own (CPU), the median of interleaved turns.

Accuracy: a paragraph is right if the model's label means its ISO 639-3 code (the table below). A
macrolanguage's label is right for its members, except for those that the model has a label of their
own for: ``zh`` is right for Hakka, and wrong for Wu. Languages for which a model has no label are
left out of its figures, and how many there are is stated; its share of right languages is the mean
over languages, so that those with many translations count once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from benchmarks.measure import DATA, PIECE_CHARS, records
from curation.annotate.language import Language, MixedLanguage
from curation.stage import BATCH_BYTES, BATCH_ROWS, Annotator

LID = DATA / "models" / "lid.176.ftz"
WANTED_RATIO = 2.0
TURNS = 3

#: Label → ISO 639-3 codes, where they differ. Two letters are ISO 639-1; members of macrolanguages
#: are those of the standard that the paragraphs have. lid.176 names four by Wikipedia's codes:
#: als (Alemannic, not ISO's Tosk Albanian), bh, eml and nah.
MEANS = {
    label: frozenset(codes.split("+"))
    for label, _, codes in (
        entry.partition(":")
        for entry in """
af:afr als:gsw am:amh an:arg ar:arb as:asm av:ava az:azj+azb ba:bak be:bel bg:bul bh:bho+mag bn:ben
bo:bod br:bre bs:bos ca:cat ce:che co:cos cs:ces cv:chv cy:cym da:dan de:deu dv:div dz:dzo el:ell
eml:rgn+egl en:eng eo:epo es:spa et:ekk eu:eus fa:pes+prs fi:fin fo:fao fr:fra fy:fry ga:gle gd:gla
gl:glg gn:gug+gnw gu:guj gv:glv ha:hau he:heb hi:hin hr:hrv ht:hat hu:hun hy:hye ia:ina id:ind
ie:ile ig:ibo io:ido is:isl it:ita ja:jpn jv:jav ka:kat kk:kaz km:khm kn:kan ko:kor ku:kmr+ckb
kv:kpv+koi kw:cor ky:kir la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lv:lvs mg:plt+buc mk:mkd
ml:mal mn:khk mr:mar ms:zlm mt:mlt my:mya nah:nhn ne:npi nl:nld nn:nno no:nob oc:oci om:gaz or:ory
os:oss pa:pan pl:pol ps:pbu pt:por
qu:que+qug+quh+qul+quy+quz+qva+qvc+qvh+qvm+qvn+qwh+qxn+qxu
rm:roh ro:ron ru:rus rw:kin sa:san sc:src sd:snd se:sme sh:hrv+srp+bos+cnr si:sin sk:slk sl:slv
sn:sna so:som sq:als sr:srp st:sot su:sun sv:swe sw:swh ta:tam te:tel tg:tgk th:tha tk:tuk tl:tgl
tr:tur tt:tat ug:uig uk:ukr ur:urd uz:uzn vi:vie vo:vol wa:wln xh:xho yi:ydd yo:yor
zh:cmn+gan+hak+hsn+cjy+nan zu:zul
""".split()
    )
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--quick", action="store_true", help="one paragraph and document in eight")
    options.add_argument("--check", action="store_true", help="exit 1 if a figure falls short")
    asked = options.parse_args()
    if not LID.exists():
        print(f"no model at {LID}: nothing measured")
        return 1 if asked.check else 0
    step = 8 if asked.quick else 1
    rows = records("labels/udhr.jsonl.zst")
    accuracy(rows[::step])
    news = [row["text"][:PIECE_CHARS] for row in records("text/wikinews.jsonl.zst")[::step]]
    short = speed({"udhr": [row["text"] for row in rows[::step]], "wikinews": news})
    print("\n" + ("fell short: " + "; ".join(short) if short else "nothing fell short"))
    return 1 if asked.check and short else 0


# ---------------------------------------------------------------- models


def stages() -> dict[str, Language]:
    """Return the stage with each model."""
    return {"lid.176.ftz": Language(model=str(LID)), "py3langid (default)": Language()}


def labels_of(name: str) -> frozenset[str]:
    """Return the labels that a model knows."""
    from curation.annotate.fasttext_model import load_model
    from curation.annotate.langid_model import load_langid

    model = load_model(str(LID)) if name == "lid.176.ftz" else load_langid()
    return frozenset(model.labels)


def packages() -> dict[str, Callable[[str], tuple[str, float]]]:
    """Return each model through its own Python package."""
    import fasttext
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    fast = fasttext.load_model(str(LID))
    langid = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def predict(text: str) -> tuple[str, float]:
        (label,), (prob,) = fast.predict(text.replace("\n", " "))
        return label.removeprefix("__label__"), min(float(prob), 1.0)

    return {"lid.176.ftz": predict, "py3langid (default)": langid.classify}


def batches(texts: Sequence[str]) -> list[pa.RecordBatch]:
    """Cut texts into batches as the engine does."""
    made: list[pa.RecordBatch] = []
    rows: list[str] = []
    size = 0
    for text in texts:
        rows.append(text)
        size += len(text.encode())
        if size >= BATCH_BYTES or len(rows) == BATCH_ROWS:
            made.append(pa.record_batch({"text": pa.array(rows, pa.large_string())}))
            rows, size = [], 0
    return [*made, pa.record_batch({"text": pa.array(rows, pa.large_string())})]


def told(stage: Annotator, parts: Sequence[pa.RecordBatch]) -> list[dict[str, Any]]:
    """Return what a stage says of each row."""
    return [row for part in parts for row in stage.annotate(part).to_pylist()]


# ---------------------------------------------------------------- accuracy


def accuracy(rows: Sequence[dict[str, Any]]) -> None:
    """Print the share of right labels by model, for all languages it knows and for brief texts."""
    print(
        "| model | labels | languages | paragraphs | right | right of languages that both know |"
        " right under 100 characters | mean over languages | lowest |\n" + "|---" * 9 + "|"
    )
    parts = batches([row["text"] for row in rows])
    known = {name: labels_of(name) for name in stages()}
    shared = {row["label"] for row in rows}
    for labels in known.values():
        shared = {code for code in shared if meanings(code, labels)}
    for name, stage in stages().items():
        right: dict[str, list[bool]] = defaultdict(list)
        brief = []
        for row, found in zip(rows, told(stage, parts), strict=True):
            wanted = meanings(row["label"], known[name])
            if wanted:
                right[row["label"]].append(found["language"] in wanted)
                brief += [found["language"] in wanted] * (len(row["text"]) < 100)
        print(f"| {name} | {len(known[name])} | {cells(right, shared, brief)} |", flush=True)


def cells(right: dict[str, list[bool]], shared: set[str], brief: list[bool]) -> str:
    """Return the figures of a model as table cells."""
    every = [is_right for found in right.values() for is_right in found]
    both = [is_right for code in shared for is_right in right[code]]
    by_language = {label: statistics.mean(found) for label, found in right.items()}
    lowest = sorted(by_language, key=by_language.__getitem__)[:6]
    shown = (
        f"{len(right)}",
        f"{len(every)}",
        f"{statistics.mean(every):.4f}",
        f"{statistics.mean(both):.4f} of {len(both)}",
        f"{statistics.mean(brief):.4f} of {len(brief)}",
        f"{statistics.mean(by_language.values()):.4f}",
        ", ".join(f"{label} {by_language[label]:.2f}" for label in lowest),
    )
    return " | ".join(shown)


def meanings(code: str, labels: frozenset[str]) -> set[str]:
    """Return a model's labels that are right for an ISO 639-3 code: its own, or else a group's."""
    means = {label: MEANS.get(label, frozenset({label})) for label in labels}
    right = {label for label in labels if code in means[label]}
    own = {label for label in right if len(means[label]) == 1}
    return own or right


# ---------------------------------------------------------------- speed


def speed(sets: dict[str, list[str]]) -> list[str]:
    """Compare the labels, then the seconds; print both and return what fell short."""
    short = []
    print(
        "\n| model | texts | MB | ours MB/s (rows/s) | package MB/s | times as fast (2 or more) |"
        " labels that differ | probabilities apart |\n|---|---|---|---|---|---|---|---|"
    )
    for name, package in packages().items():
        stage = stages()[name]
        for label, texts in sets.items():
            parts = batches(texts)
            unlike, apart = differences(told(stage, parts), [package(text) for text in texts])
            mine, theirs = seconds(
                lambda stage=stage, parts=parts: [stage.annotate(part) for part in parts],
                lambda package=package, texts=texts: [package(text) for text in texts],
            )
            size = sum(len(text.encode()) for text in texts) / 1e6
            print(
                f"| {name} | {label} | {size:.1f} | {size / mine:.1f} ({len(texts) / mine:,.0f}) |"
                f" {size / theirs:.1f} | {theirs / mine:.1f} | {unlike} | {apart:.1e} |",
                flush=True,
            )
            if theirs / mine < WANTED_RATIO:
                short.append(f"{name} on {label}: {theirs / mine:.2f} times the package's speed")
            if unlike or apart > 1e-4:
                short.append(f"{name} on {label}: {unlike} labels differ, {apart:.1e} apart")
    also(sets["wikinews"])
    return short


def differences(
    rows: Sequence[dict[str, Any]], wanted: Sequence[tuple[str, float]]
) -> tuple[int, float]:
    """Return how many labels differ and how far probabilities lie apart; nulls are left out."""
    pairs = [
        (row, label, prob)
        for row, (label, prob) in zip(rows, wanted, strict=True)
        if row["language"] is not None
    ]
    unlike = sum(row["language"] != label for row, label, _ in pairs)
    return unlike, max(abs(row["language_prob"] - prob) for row, _, prob in pairs)


def seconds(ours: Callable[[], object], package: Callable[[], object]) -> tuple[float, float]:
    """Return the median CPU seconds of each, measured in turn."""
    mine, theirs = [], []
    for _ in range(TURNS):
        mine.append(cpu(ours))
        theirs.append(cpu(package))
    return statistics.median(mine), statistics.median(theirs)


def cpu(function: Callable[[], object]) -> float:
    begun = time.process_time()
    function()
    return time.process_time() - begun


def also(texts: Sequence[str]) -> None:
    """Print the speed of the settings that have no peer."""
    parts = batches(texts)
    size = sum(len(text.encode()) for text in texts) / 1e6
    print("\n| stage | wikinews MB/s |\n|---|---|")
    for stage in (
        Language(model=str(LID), max_bytes=1000),
        Language(max_bytes=1000),
        MixedLanguage(model=str(LID)),
        MixedLanguage(),
    ):
        told(stage, parts)
        mine = statistics.median(
            cpu(lambda stage=stage: [stage.annotate(part) for part in parts]) for _ in range(TURNS)
        )
        shown = str(stage).replace(str(LID), LID.name)
        print(f"| {shown} | {size / mine:.1f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
