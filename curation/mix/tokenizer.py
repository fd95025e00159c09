"""The vocabulary of a model: a file of the ``tokenizers`` library and its end mark."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from curation.errors import RecipeError, ResourceError, needed
from curation.stage import attempt
from curation.store import read_json, replacing, write_json

if TYPE_CHECKING:
    import tokenizers

I32 = npt.NDArray[np.int32]

#: The one special token of a vocabulary that is trained here; it has the id 0.
END = "<|endoftext|>"
#: Marks by which tokenizers end a text where no file beside them says which one it is.
_KNOWN_ENDS = (END, "</s>", "<eos>", "<|end_of_text|>", "<|im_end|>", "[SEP]", "<end_of_turn>")
#: Byte values, each a token of its own, and the end mark.
LEAST_VOCABULARY = 257
#: Files beside tokenizer.json that belong to a tokenizer and are handed on as they are.
_BESIDE = ("special_tokens_map.json", "chat_template.jinja")


class Tokenizer:
    """A vocabulary of the ``tokenizers`` library and the token that ends a document.

    A text that contains the spelling of a special token, such as the end mark's, is encoded as the
    ordinary text that it is: a page cannot end its own document. Where none occurs the ids are
    those of transformers' AutoTokenizer without special tokens; where one does, they are its ids
    with ``split_special_tokens=True``.

    vocab_size   one more than the greatest id
    end_id       the token after each document
    fingerprint  16 hex digits of the vocabulary, its rules and the end mark
    """

    def __init__(self, written: str, end: str | int = END, beside: Mapping[str, str] = {}) -> None:
        """Make a tokenizer of the text of a tokenizer.json.

        end     the end mark: its spelling or its id
        beside  name → text of the files that were found with it
        """
        read, error = attempt(needed("tokenizers", "train").Tokenizer.from_str, written)
        if error is not None:
            raise ResourceError(
                "a tokenizer.json cannot be read.",
                found=str(error)[:200],
                remedy="a file that the tokenizers library has saved",
            )
        self._inner: tokenizers.Tokenizer = read
        self._inner.no_truncation()
        self._inner.no_padding()
        self._inner.encode_special_tokens = True
        self._beside = dict(beside)
        self.vocab_size = max(self._inner.get_vocab().values(), default=-1) + 1
        found = end if isinstance(end, int) else self._inner.token_to_id(end)
        if found is None or not 0 <= found < self.vocab_size:
            raise ResourceError(
                "the tokenizer does not know its end mark.",
                found=repr(end),
                remedy="name one of its tokens as eos_token in its tokenizer_config.json",
            )
        self.end_id = int(found)
        self._written: str = self._inner.to_str()
        identity = f"{self.end_id} {self._written}"
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"Tokenizer {self.fingerprint} of {self.vocab_size:,} tokens"

    def __reduce__(self) -> tuple[object, ...]:
        return Tokenizer, (self._written, self.end_id, self._beside)

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
        """Return a byte-level BPE of these texts; a small corpus can yield fewer tokens than asked.

        source   Sennrich et al. 2016, arXiv:1508.07909; on bytes as in Radford et al. 2019 (GPT-2)
        """
        if vocab_size < LEAST_VOCABULARY:
            raise RecipeError(
                "a byte-level vocabulary holds every byte and the end mark.",
                found=f"vocab_size={vocab_size}",
                remedy=f"vocab_size={LEAST_VOCABULARY} or more",
            )
        library = needed("tokenizers", "train")
        made = library.Tokenizer(library.models.BPE())
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[END],
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        made.train_from_iterator(texts, trainer)
        return cls(made.to_str())

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, end: str | int | None = None) -> Tokenizer:
        """Open the tokenizer of a checkpoint's folder, or a tokenizer.json itself.

        end  the end mark; None for what the files beside it say, or else the first of the usual
             marks that it knows
        """
        file = Path(path)
        file = file / "tokenizer.json" if file.is_dir() else file
        if not file.is_file():
            raise ResourceError(
                f"there is no tokenizer at {path}.",
                found="a folder without tokenizer.json" if Path(path).is_dir() else "no such file",
                remedy="a checkpoint's folder with its tokenizer.json, or that file itself",
            )
        names = ("tokenizer_config.json", *_BESIDE)
        found = [file.with_name(name) for name in names if file.with_name(name).is_file()]
        beside = {path.name: path.read_text() for path in found}
        written = file.read_text()
        mark = _end_mark(file.parent, beside, written) if end is None else end
        return cls(written, mark, beside)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json and what transformers needs beside it; each file is renamed last."""
        into = Path(folder)
        into.mkdir(parents=True, exist_ok=True)
        end = self._inner.id_to_token(self.end_id)
        config = json.loads(self._beside.get("tokenizer_config.json", "{}"))
        if not config:
            # a model begins a text after the end of another, so the mark is the beginning too
            marks = dict.fromkeys(("bos_token", "eos_token", "pad_token"), end)
            config = {"clean_up_tokenization_spaces": False, **marks}
        config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
        config.setdefault("eos_token", end)
        for name, text in {**self._beside, "tokenizer.json": self._written}.items():
            if name != "tokenizer_config.json":
                with replacing(into / name) as temporary:
                    temporary.write_text(text)
        write_json(into / "tokenizer_config.json", config)

    def encode(self, texts: Sequence[str]) -> list[I32]:
        """Return the ids of each text, no special token added."""
        encoded = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(found.ids, dtype=np.int32) for found in encoded]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, special tokens as they are spelt."""
        return str(self._inner.decode([int(i) for i in ids], skip_special_tokens=False))


def _end_mark(folder: Path, beside: Mapping[str, str], written: str) -> str | int:
    """Return what a checkpoint ends a document with: as one of its files says, or a usual mark."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        mark = json.loads(beside.get(name, "{}")).get("eos_token")
        if mark:
            return str(mark["content"] if isinstance(mark, dict) else mark)
    for name in ("generation_config.json", "config.json"):
        mark = (read_json(folder / name) or {}).get("eos_token_id")
        mark = mark[0] if isinstance(mark, list) and mark else mark
        if isinstance(mark, int):
            return mark
    return next((mark for mark in _KNOWN_ENDS if json.dumps(mark) in written), END)
