"""DataMan's questions about a document: fourteen grades and one domain.

The names are those of the judge's rubric, as columns are called; a grade is 1 to 5, and more is
better. Names and scales are all that a classifier has to know.

source  Peng et al. 2025, arXiv:2502.19363 (DataMan), section 3
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.classifier_targets import flat
from curation.annotate.rubrics import DATAMAN_CRITERIA, DATAMAN_DOMAINS
from curation.errors import RecipeError, nearest

#: What is graded, in the paper's order.
CRITERIA = tuple(DATAMAN_CRITERIA)
#: The column of the domain, and the domains in the paper's order.
DOMAIN, DOMAINS = "domain", DATAMAN_DOMAINS
#: Least and greatest grade.
LEAST, MOST = 1, 5


def dataman_heads(table: pa.Table) -> dict[str, pa.Array]:
    """Return the heads of one classifier for all of DataMan's questions, for ``train_classifier``.

    table  a column for each of CRITERIA with grades, and DOMAIN; null where nothing is known

    Raises RecipeError for a column that is not there, a grade beyond the scale, or a domain that is
    none of DOMAINS (capitals aside).
    """
    for name in (*CRITERIA, DOMAIN):
        if name not in table.column_names:
            raise RecipeError(
                f"a table for DataMan's classifier has no column '{name}'.",
                present=", ".join(table.column_names),
                remedy=nearest(name, table.column_names) or "a column for each criterion",
            )
    domain = pc.utf8_lower(flat(table[DOMAIN]).cast(pa.large_string()))
    strange = [name for name in domain.unique().to_pylist() if name not in (None, *DOMAINS)]
    if strange:
        raise RecipeError(
            f"'{strange[0]}' is no domain of DataMan's.",
            known=", ".join(DOMAINS),
            remedy=nearest(strange[0], DOMAINS) or "'other' for what fits none",
        )
    heads = {name: _grades(name, flat(table[name])) for name in CRITERIA}
    return {DOMAIN: domain, **heads}


def _grades(name: str, column: pa.Array) -> pa.Array:
    grade = column.cast(pa.float64())
    least, most = pc.min_max(grade).values()
    if least.is_valid and not LEAST <= least.as_py() <= most.as_py() <= MOST:
        raise RecipeError(
            f"grades of '{name}' leave DataMan's scale.",
            found=f"{least} to {most}",
            wanted=f"{LEAST} to {MOST}, null where there is none",
        )
    return grade
