"""What brings a model's own pretraining data nearer to a target: the dual gradient of a transport.

Other ranks ask whether a document is like the target. This one asks what the model lacks: where
the base data hold half of the target already, more of that half is worth little. The transport
from base to target is solved once between two samples; its potential extends to any vector, so
that a document's score depends on that document alone.

Trade-off: samples of a thousand or two, whose cost matrix fits in memory and whose solution takes
seconds; each document is compared with every example of the target. The gradient holds for a
small step: it says what to add first, and not in which amounts a large selection should be mixed.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.lists import Stamp, stamp
from curation.arrow import to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.score.examples import check_embed, embedded, example_rows, pool_vectors
from curation.stage import Annotator

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

#: Mass that the plan may still put in the wrong place, and the most rounds to get there.
TOLERANCE = 1e-6
ITERATIONS = 5000
#: Rows of a batch looked at at a time.
_BLOCK_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class TransportGain(Annotator):
    """Score a document by how much more of its kind brings the base data nearer to the target.

        HashedEmbedding(),
        TransportGain(base="pile.jsonl.zst", target="seeds.jsonl", embed=HashedEmbedding()),
        keep_best("transport_score", tokens=10_000_000, because="brings the target no nearer"),

    The distance is entropic optimal transport at a cost of 1 - cosine. With f its dual potential on
    the base's side, the score of a document is the mean of f over the base less f at the
    document: the rate at which the distance falls as mass moves from all of the base to there.
    Above 0 the document helps more than the base's own mean. The paper solves the transport for
    the candidates as a stand-in for the base; here the base is given, and candidates take no part.

    With ``contrast`` the same of a target to stay away from is taken off: toward one, away from
    the other. The paper's regularisation is not at hand; epsilon is ours.

    base      path of a sample of what the model was pretrained on
    target    path of examples of what it is to be good at
    embed     the stage that wrote ``embedding``, which embeds both samples too
    contrast  path of examples of what it is to move away from; "" for none
    epsilon   of the entropy, in units of cost; the less, the sharper and the slower
    sample    most texts of each file, drawn by a hash of their id
    seed      of that draw

    reads    embedding        large_list<item: float32>  null allowed
    writes   transport_score  float32  null where the row has no vector
    source   Kang et al. 2024, arXiv:2405.02774 (GOT-D); Cuturi 2013, arXiv:1306.0895 (Sinkhorn)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("embedding",)
    writes: ClassVar[pa.Schema] = columns("transport_score")

    base: str
    target: str
    embed: Annotator
    contrast: str = ""
    epsilon: float = 0.02
    sample: int = 1000
    seed: int = 0

    def check(self) -> None:
        check_embed("TransportGain", self.embed)
        if not 1e-3 <= self.epsilon <= 10 or self.sample < 2 or self.seed < 0:
            raise RecipeError(
                "TransportGain takes an epsilon of 0.001 to 10, a sample of 2 or more, and a seed "
                "of 0 or more.",
                found=f"epsilon={self.epsilon}, sample={self.sample}, seed={self.seed}",
                remedy="epsilon=0.02, sample=1000",
            )

    def model_files(self) -> tuple[str, ...]:
        from curation.score.target import target_files

        paths = (self.base, self.target, *([self.contrast] if self.contrast else []))
        return tuple(file for path in paths for file in target_files(path))

    def examples(self) -> pa.RecordBatch | None:
        return example_rows(self.embed)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        toward = self._potential(self.target)
        row_M, unit_MD = pool_vectors("TransportGain", batch["embedding"], toward.dims)
        gain_M = toward.gain(unit_MD)
        if self.contrast:
            gain_M = gain_M - self._potential(self.contrast).gain(unit_MD)
        known_N, gain_N = np.zeros(len(batch), np.bool_), np.zeros(len(batch), np.float32)
        known_N[row_M], gain_N[row_M] = True, gain_M
        return pa.RecordBatch.from_arrays([to_column(gain_N, known_N)], schema=self.writes)

    def _potential(self, path: str) -> Potential:
        return _solved(self, path, stamp(*self.model_files()))


@dataclass(frozen=True)
class Potential:
    """The dual solution between the base and a target, as far as a document's score needs it.

    whole_MD     float32[M, D]  the target's vectors, in whole numbers
    potential_M  float64[M]     the potential on the target's side
    mean         mean of the potential on the base's side
    epsilon      of the entropy
    """

    whole_MD: F32
    potential_M: F64
    mean: float
    epsilon: float

    @classmethod
    def between(cls, base_ND: F32, target_MD: F32, epsilon: float) -> Potential:
        """Solve the transport between two samples of unit vectors, each row of equal mass."""
        from curation.kernels.semantic import whole
        from curation.kernels.transport import sinkhorn

        whole_ND, whole_MD = whole(base_ND), whole(target_MD)
        mass_N, mass_M = (np.full(len(rows), 1 / len(rows)) for rows in (base_ND, target_MD))
        cost_NM = costs(whole_ND, whole_MD)
        first_N, second_M, wrong = sinkhorn(cost_NM, mass_N, mass_M, epsilon, TOLERANCE, ITERATIONS)
        if wrong > TOLERANCE:
            warnings.warn(
                f"TransportGain: after {ITERATIONS:,} rounds {wrong:.1e} of the mass is not where "
                f"it belongs; a larger epsilon than {epsilon} is solved sooner.",
                stacklevel=2,
            )
        return cls(whole_MD, second_M, math.fsum(first_N) / len(first_N), epsilon)

    @property
    def dims(self) -> int:
        return int(self.whole_MD.shape[1])

    def gain(self, unit_MD: F32) -> F64:
        """Return float64[M]: the fall of the distance for mass at each vector."""
        from curation.kernels.semantic import whole
        from curation.kernels.transport import soft_minima

        count = len(self.potential_M)
        logs_M = np.full(count, -math.log(count))
        gain_M = np.empty(len(unit_MD))
        for start in range(0, len(unit_MD), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            cost_RM = costs(whole(unit_MD[part]), self.whole_MD)
            found_R = soft_minima(cost_RM, self.potential_M, logs_M, self.epsilon)
            gain_M[part] = self.mean - found_R
        return gain_M


def costs(left_ND: F32, right_MD: F32) -> F64:
    """Return float64[N, M]: 1 - cosine of vectors in whole numbers, whose products are exact."""
    norm_N, norm_M = (
        np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1)) for rows in (left_ND, right_MD)
    )
    cosine_NM = (left_ND @ right_MD.T) / norm_N[:, None] / norm_M
    cost_NM: F64 = 1.0 - cosine_NM
    return cost_NM


@lru_cache(maxsize=4)
def _solved(stage: Any, path: str, files: Stamp) -> Potential:
    """Solve the transport from a stage's base to a target.

    files  state of both samples' files, so that one that has changed is read again
    """
    base_ND = embedded(stage.base, stage.embed, most=stage.sample, seed=stage.seed)
    target_MD = embedded(path, stage.embed, most=stage.sample, seed=stage.seed)
    if base_ND.shape[1] != target_MD.shape[1]:
        raise RecipeError(
            "TransportGain cannot compare the base with the target.",
            found=f"vectors of {base_ND.shape[1]:,} and of {target_MD.shape[1]:,} numbers",
            remedy="an embedding that gives every text as many numbers",
        )
    return Potential.between(base_ND, target_MD, stage.epsilon)
