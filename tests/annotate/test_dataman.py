from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.annotate.classifier import Classifier
from curation.annotate.classifier_fit import ClassifierSettings, train_classifier
from curation.annotate.dataman import CRITERIA, DOMAIN, DOMAINS, dataman_heads
from curation.errors import RecipeError
from curation.testing import check_stage


def table(count: int = 60, **changed: Any) -> pa.Table:
    draw = np.random.default_rng(0)
    names = {name: [float(g) for g in draw.integers(1, 6, count)] for name in CRITERIA}
    names[DOMAIN] = [["Law", "medicine"][n % 2] for n in range(count)]
    names["text"] = [f"{['court', 'patient'][n % 2]} number {n}" for n in range(count)]
    return pa.table({**names, **changed})


def test_there_are_as_many_questions_as_the_paper_has() -> None:
    """A criterion left out would be missing from every document for good."""
    assert (len(set(CRITERIA)), len(set(DOMAINS))) == (14, 15)


def test_all_questions_are_one_annotator(tmp_path: Path) -> None:
    """Fifteen models would read every text fifteen times."""
    pytest.importorskip("sklearn", reason="scikit-learn trains linear classifiers")
    rows = table()
    model = train_classifier(
        rows["text"], dataman_heads(rows), settings=ClassifierSettings(buckets=1 << 10)
    )
    model.save(tmp_path / "dataman")
    stage = Classifier(model=str(tmp_path / "dataman"))
    wanted = [DOMAIN, f"{DOMAIN}_prob", *(f"{name}_score" for name in CRITERIA)]
    assert stage.writes.names == wanted
    check_stage(stage)
    batch = pa.record_batch({"text": pa.array(["the court", "a patient"], pa.large_string())})
    assert stage.annotate(batch)[DOMAIN].to_pylist() == ["law", "medicine"]


def test_a_table_that_does_not_fit_is_told(tmp_path: Path) -> None:
    """Grades of another scale would be learnt as they stand."""
    with pytest.raises(RecipeError, match="no column 'overall'"):
        dataman_heads(table().drop_columns(["overall"]))
    with pytest.raises(RecipeError, match="'sports' is no domain"):
        dataman_heads(table(2, domain=["law", "sports"]))
    with pytest.raises(RecipeError, match="grades of 'coherence' leave"):
        dataman_heads(table(2, coherence=[0.0, 5.0]))
    assert dataman_heads(table(2, coherence=[None, 5.0]))["coherence"].null_count == 1
