"""Which documents of a token set are trained on, in which order, and how often.

A draw takes documents in the order of a hash of their id, a key and the epoch, so that it does not
depend on how the set lies on disk, and another key is another draw from the same pool: the spread
over keys is the part of an experiment's error that seeds alone do not show.

D documents of the set, K drawn documents
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from curation.arrow import bytes_and_offsets
from curation.errors import RecipeError

if TYPE_CHECKING:
    import pyarrow as pa

    from curation.mix.tokens import TokenSet

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

#: Repeating data up to so many times costs little (Muennighoff et al. 2023, arXiv:2305.16264).
MAX_EPOCHS = 4.0

#: Any odd number with as many ones as zeros: what it is added to is hashed again.
_NEXT_COPY = np.uint64(0x9E3779B97F4A7C15)

Beyond = Literal["cap", "error", "repeat"]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Documents in the order in which a run meets them; the last one may be cut.

    document_K      int64[K]    documents of the set; each epoch is complete before the next begins
    start_K1        int64[K+1]  tokens before each, and of all
    tokens          how many of the stream's tokens are drawn; at most start_K1[K]
    pool_documents  documents that take part
    pool_tokens     their tokens: one epoch
    """

    document_K: I64
    start_K1: I64
    tokens: int
    pool_documents: int
    pool_tokens: int

    @property
    def epochs(self) -> float:
        """How often the documents that take part are gone through."""
        return self.tokens / self.pool_tokens

    @property
    def unique_tokens(self) -> int:
        """Drawn tokens, repetitions not counted."""
        return min(self.tokens, self.pool_tokens)

    @property
    def documents(self) -> int:
        """Different documents that are drawn."""
        return min(len(self.document_K), self.pool_documents)


def draw(
    token_set: TokenSet,
    *,
    tokens: int,
    key: str,
    unique_tokens: int | None = None,
    max_epochs: float = MAX_EPOCHS,
    beyond: Beyond = "error",
) -> Draw:
    """Draw documents until there are so many tokens, beginning anew as often as is needed.

    key            equal keys draw equal documents from equal sets
    unique_tokens  the documents that reach so many tokens take part and no others: a subset for
                   several epochs. Subsets of one key are nested. How often it is repeated is then
                   the caller's choice, and max_epochs is not looked at
    max_epochs     how often all documents may be gone through
    beyond         what happens where that is not enough: ``error`` raises RecipeError, ``cap``
                   draws fewer tokens than asked, ``repeat`` goes on all the same. It also says
                   what happens where the set has fewer than unique_tokens
    """
    _check(tokens, unique_tokens, max_epochs, beyond)
    if not token_set.documents:
        raise RecipeError(
            f"nothing can be drawn from {token_set.folder}.", found="a set without a document"
        )
    hash_D, count_D = _hashes(token_set), token_set.count_D
    everything = np.arange(token_set.documents, dtype=np.int64)
    pool = _in_order(token_set, everything, hash_D, _salt(key, 0))
    chosen = unique_tokens is not None and unique_tokens <= token_set.tokens
    if unique_tokens is not None and chosen:
        pool = pool[: int(np.searchsorted(np.cumsum(count_D[pool]), unique_tokens)) + 1]
    pool_tokens = int(count_D[pool].sum())
    most = max(1, int(max_epochs * pool_tokens))
    if unique_tokens is not None and not chosen and beyond == "error":
        raise _too_small(token_set, f"a subset of {unique_tokens:,} tokens", max_epochs)
    if not chosen and tokens > most and beyond == "error":
        raise _too_small(token_set, f"{tokens:,} tokens", max_epochs)
    if not chosen and beyond == "cap":
        tokens = min(tokens, most)
    epochs = -(-tokens // pool_tokens)
    later = (_in_order(token_set, pool, hash_D, _salt(key, e)) for e in range(1, epochs))
    document_K = np.concatenate([pool, *later])
    start_K1 = np.concatenate([[0], np.cumsum(count_D[document_K])])
    used = int(np.searchsorted(start_K1, tokens))
    return Draw(
        document_K=document_K[:used],
        start_K1=start_K1[: used + 1],
        tokens=tokens,
        pool_documents=len(pool),
        pool_tokens=pool_tokens,
    )


def salted(*facts: object) -> np.uint64:
    """Return 64 bits that stand for facts, the same in every process."""
    digest = hashlib.sha256("\0".join(map(str, facts)).encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def _salt(key: str, epoch: int) -> np.uint64:
    return salted("draw", epoch, key)


def _check(tokens: int, unique_tokens: int | None, max_epochs: float, beyond: str) -> None:
    laws = {
        "tokens are 1 or more": tokens >= 1,
        "unique_tokens are 1 or more": unique_tokens is None or unique_tokens >= 1,
        "max_epochs is above 0": max_epochs > 0,
        "beyond is cap, error or repeat": beyond in ("cap", "error", "repeat"),
    }
    found = f"tokens={tokens}, unique_tokens={unique_tokens}, {max_epochs=}, {beyond=}"
    for law, kept in laws.items():
        if not kept:
            raise RecipeError(f"a draw's {law}.", found=found)


def _too_small(token_set: TokenSet, asked: str, max_epochs: float) -> RecipeError:
    return RecipeError(
        f"the budget is larger than the data: {asked} are asked of {token_set.folder}.",
        found=f"{token_set.tokens:,} tokens of {token_set.documents:,} documents",
        allowed=f"max_epochs={max_epochs:g}: {int(max_epochs * token_set.tokens):,} tokens",
        remedy="lower tokens, raise max_epochs, or beyond='cap' (fewer tokens) or 'repeat'",
    )


def salted_hash_of_ids(ids: pa.Array, *facts: object) -> U64:
    """Return uint64[D]: a hash of each id, other ones for other facts."""
    from curation.kernels.hashing import hash_bytes
    from curation.kernels.packing import scattered

    return scattered(hash_bytes(*bytes_and_offsets(ids)), salted(*facts))


def _hashes(token_set: TokenSet) -> U64:
    """Return uint64[D]: a hash of each id, another one for each copy of a document."""
    from curation.kernels.hashing import hash_bytes

    hash_D = hash_bytes(*bytes_and_offsets(token_set.ids))
    order = np.argsort(hash_D, kind="stable")
    in_order = hash_D[order]
    copy_D = np.arange(len(order)) - np.searchsorted(in_order, in_order)
    hash_D[order] = in_order + copy_D.astype(np.uint64) * _NEXT_COPY
    return hash_D


def _in_order(token_set: TokenSet, documents: I64, hash_D: U64, salt: np.uint64) -> I64:
    """Return documents in the order of their salted hashes; ids decide between equal ones."""
    from curation.kernels.packing import scattered

    value = scattered(hash_D[documents], salt)
    order = np.argsort(value, kind="stable")
    ordered, value = documents[order], value[order]
    equal = np.flatnonzero(value[1:] == value[:-1])
    for run in np.split(equal, np.flatnonzero(np.diff(equal) > 1) + 1) if len(equal) else ():
        tied = slice(int(run[0]), int(run[-1]) + 2)
        names = token_set.ids.take(ordered[tied]).to_pylist()
        ordered[tied] = ordered[tied][sorted(range(len(names)), key=names.__getitem__)]
    return ordered
