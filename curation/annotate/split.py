"""The words and lines of a batch, cut once for all the stages that ask for them in turn.

Several stages of one pass look at the same column of text, and cutting it into words is the
dearest thing that most of them do. The latest batch's words are kept until another batch comes, in
memory that is used again for it. A batch is known by its memory, which Arrow never changes.
"""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import bytes_and_offsets
from curation.errors import RecipeError, ResourceError
from curation.stage import Annotator

if TYPE_CHECKING:
    from curation.kernels.lines import Lines
    from curation.kernels.words import WordArray, Words

I64 = npt.NDArray[np.int64]

#: What a word is; ``curation.kernels.words`` says how each rule cuts.
Rule = Literal["english", "unicode", "space"]
#: A rule and the path of a dictionary, or "".
Cut = tuple[Rule, str]

#: Words' memory that is kept for the next batch; a document of 50 MB takes more, and gives it back.
KEPT_BYTES = 128 << 20

_LATEST = threading.local()


@dataclass(frozen=True, kw_only=True)
class WordStage(Annotator):
    """The settings of the stages that cut a text into words."""

    #: english: as spaCy cuts English; unicode: by classes of characters; space: at white space.
    words: Rule = "english"
    #: A file of words, one a line, for text that puts no space between words (Thai, Chinese and
    #: others); without one it is cut into characters. For words="unicode".
    dictionary: str = ""

    def check(self) -> None:
        if self.dictionary and self.words != "unicode":
            raise RecipeError(
                f"{type(self).__name__} takes a dictionary with words='unicode'.",
                found=f"words={self.words!r}",
            )
        if self.dictionary and not os.path.isfile(self.dictionary):
            raise ResourceError(
                f"no file of words at {self.dictionary}.", remedy="check the path in the recipe"
            )
        if self.dictionary:
            _check_text(self.dictionary)

    def model_files(self) -> tuple[str, ...]:
        return (self.dictionary,) if self.dictionary else ()

    def cut(self, text: Split) -> Words:
        """Return a text's words by these settings."""
        return text.words(self.words, self.dictionary)


class Split:
    """A column of text with its words and lines, each cut when it is first asked for."""

    def __init__(self, text: pa.Array, rooms: dict[Cut, WordArray] | None = None) -> None:
        self._text = text
        self._words: dict[Cut, Words] = {}
        self._rooms = rooms or {}
        self.data, self.offset = bytes_and_offsets(text)

    def holds(self, text: pa.Array) -> bool:
        """Say whether a column is the very one that was cut."""
        return _place(text) == _place(self._text)

    def words(self, rule: Rule, dictionary: str = "") -> Words:
        """Return the words, as ``kernels.words`` defines them; ``dictionary`` is a file's path."""
        from curation.kernels.words import NO_DICTIONARY, split_words

        cut = (rule, dictionary)
        if cut not in self._words:
            entries = _entries(dictionary, *_stamp(dictionary)) if dictionary else NO_DICTIONARY
            room = self._rooms.pop(cut, None)
            self._words[cut] = split_words(self.data, self.offset, rule, entries, room)
        return self._words[cut]

    @cached_property
    def lines(self) -> Lines:
        """The lines between line feeds."""
        from curation.kernels.lines import split_lines

        return split_lines(self.data, self.offset)

    @cached_property
    def text_chars(self) -> I64:
        """int64[N]: code points."""
        from curation.kernels.lines import count_text_chars

        return count_text_chars(self.lines.offset, self.lines.line_L)

    def rooms(self) -> dict[Cut, WordArray]:
        """Give up the words, and return the memory they lie in."""
        made = {cut: words.room for cut, words in self._words.items()}
        return {cut: room for cut, room in made.items() if room.nbytes <= KEPT_BYTES}


def split(text: pa.Array) -> Split:
    """Return a column of text ready to be cut; the latest one, if it is the same."""
    latest: Split | None = getattr(_LATEST, "split", None)
    if latest is None or not latest.holds(text):
        latest = Split(text, None if latest is None else latest.rooms())
        _LATEST.split = latest
    return latest


@functools.lru_cache(maxsize=4)
def _entries(path: str, *_stamp: int) -> npt.NDArray[np.uint64]:
    """Return a file's words as a table; read again when the file's stamp is another."""
    from curation.kernels.words import dictionary

    try:
        with open(path, encoding="utf-8") as lines:
            return dictionary(line.strip() for line in lines)
    except UnicodeDecodeError as error:
        raise _no_text(path, error) from None


def _check_text(path: str) -> None:
    """Raise ResourceError where the first lines of a file are not UTF-8."""
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    try:
        (head if len(head) < 1 << 16 else head.rpartition(b"\n")[0]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _no_text(path, error) from None


def _no_text(path: str, error: UnicodeDecodeError) -> ResourceError:
    return ResourceError(
        f"{path} is no file of words in UTF-8.",
        error=str(error),
        remedy="convert it to UTF-8, one word a line",
    )


def _stamp(path: str) -> tuple[int, int]:
    facts = os.stat(path)
    return facts.st_mtime_ns, facts.st_size


def _place(text: pa.Array) -> tuple[object, ...]:
    places = [None if buffer is None else buffer.address for buffer in text.buffers()]
    return (text.type, len(text), text.offset, *places)
