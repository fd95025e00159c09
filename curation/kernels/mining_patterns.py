"""AdaptLLM's patterns: pairs of sentences that a connective joins, definitions and topics.

The patterns (Cheng et al. 2024, arXiv:2309.09530, as its code has them) are regular expressions
that are searched for in a document, without regard to case, from left to right and without overlap:

    joined      ([.!?]+\\s+)(S)(\\s+)(VERB)(\\s*,\\s+)(S)(\\s+)     S = [^.!?\\n…]{50,}[.!?]+
    effect      ([.!?]+\\s+)(S)(\\s+)(VERB)(\\s+)(S)(\\s+)
    definition  (\\s+)([^.!?,;\\s"]{10,})(\\s+)(VERB)(\\s+)(D)(\\s+)   D = [^.!?\\n]{20,}[.!?]+
    topic       ([.!?]+\\s+)([^.!?,;\\n]{20,})(\\s+)(VERB)(\\s+)(D)(\\s+)

What makes one walk enough. A class that leaves out . ! ? ends at the first character that it leaves
out, and that has to be a whole run of . ! ?; so every S and D is settled by where it begins. What
is left of backtracking is that white space before a sentence, line feeds aside, may be given to it
to reach its least length. A match begins with a whole run of . ! ?, and one attempt a run decides
it. White space at the end of a match is consumed, so the next match begins with a later run. A
topic's subject is greedy: of all places in its sentence where the rest fits, the last one wins.

``\\s`` is what ``str.isspace`` says, lengths are code points. Case is folded for ASCII alone: the
long s and the Kelvin sign, which ``re`` takes for s and k, are not.

B bytes of all documents laid end to end, N documents, M matches, K bytes of all verbs, V verbs
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf
from curation.kernels.unicode import before
from curation.kernels.words import space_width

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: What a match is, in the order of its numbers.
RELATIONS = (
    "entail",
    "contradict",
    "neutral",
    "cause_effect",
    "effect_cause",
    "similar",
    "different",
    "definition",
    "topic",
)
ENTAIL, CONTRADICT, NEUTRAL, CAUSE, EFFECT, SIMILAR, DIFFERENT, DEFINITION, TOPIC = range(9)

_THUS = (ENTAIL, CAUSE)
_BUT = (CONTRADICT, DIFFERENT)
#: Connectives after a sentence's end, and the relations that each makes. A full stop in one stands
#: for any character but a line feed, as in the published pattern.
CONNECTIVES: dict[str, tuple[int, ...]] = {
    "yes": (ENTAIL,),
    **dict.fromkeys(("therefore", "thus", "accordingly", "hence", "for this reason"), _THUS),
    **dict.fromkeys(("no", "however", "but", "on the contrary", "in contrast", "whereas"), _BUT),
    **dict.fromkeys(
        ("maybe", "also", "furthermore", "secondly", "additionally", "moreover", "in addition"),
        (NEUTRAL,),
    ),
    **dict.fromkeys(
        (
            "in other words",
            "in other word",
            "namely",
            "that is to say",
            "i.e.",
            "scilicet",
            "similarly",
            "equally",
        ),
        (SIMILAR,),
    ),
    **dict.fromkeys(("due to", "on account of", "owing to"), (EFFECT,)),
}
#: Verbs within a sentence, each with the relation and the place of its letter that is looked for.
_INNER = (
    ("is defined as", DEFINITION, 5),
    ("'s definition is", DEFINITION, 5),
    ("was about", TOPIC, 5),
    ("talks about", TOPIC, 7),
    ("is about", TOPIC, 4),
    ("'s topic is", TOPIC, 5),
)
#: Least code points of a joined sentence, of a definition or topic, of a subject, of a term.
_SENTENCE, _STATEMENT, _SUBJECT, _TERM = 50, 20, 20, 10

_VERBS = tuple(sorted(CONNECTIVES))
_VERB_K = np.frombuffer("".join(_VERBS).encode(), dtype=np.uint8)
_VERB_AT = np.cumsum([0, *map(len, _VERBS)])
_JOINS_V = np.array([sum(1 << r for r in CONNECTIVES[verb]) for verb in _VERBS], dtype=np.int64)
#: First verb that begins with a byte, in lower case; the verbs are sorted.
_FIRST_VERB = np.array([sum(verb.encode()[0] < b for verb in _VERBS) for b in range(257)])
_INNER_K = np.frombuffer("".join(verb for verb, _, _ in _INNER).encode(), dtype=np.uint8)
_INNER_AT = np.cumsum([0, *(len(verb) for verb, _, _ in _INNER)])
_INNER_RELATION = np.array([relation for _, relation, _ in _INNER])
_INNER_ANCHOR = np.array([place for _, _, place in _INNER])

_PLAIN, _MARK, _BAR, _ANCHOR = 0, 1, 2, 3
_CLASS = np.zeros(256, dtype=np.uint8)
_CLASS[[0x2E, 0x21, 0x3F]] = _MARK  # . ! ?
_CLASS[[0x2C, 0x3B, 0x0A]] = _BAR  # , ; line feed: what a subject may not hold
_CLASS[[0x42, 0x62, 0x46, 0x66, 0x50, 0x70]] = _ANCHOR  # b f p: aBout, deFin…, toPic
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[0x41:0x5B] += 0x20

# State of a walk: where the last match of each relation ended, then these.
_RUN, _RUN_END, _OPEN = 9, 10, 11  # the last marks that white space follows, -1 for none; its end
_BARRED, _NEXT_STOP = 12, 13  # first of , ; and line feed since then, or -1; see _statement
_ROW, _FIRST, _STOP, _COUNT = 14, 15, 16, 17  # the document, and how many matches there are
_STATE = 18
#: Columns of a match: document, relation, first and second part from and to.
FIELDS = 6
#: At most so many matches are noted in one step.
_A_STEP = 4


@numba.njit(cache=True, nogil=True)
def mine(data_B: U8, first_N: I64, stop_N: I64) -> I64:
    """Find what the patterns match.

    data_B   uint8[B]     UTF-8, all documents laid end to end
    first_N  int64[N]     document n is data_B[first_N[n]:stop_N[n]]
    returns  int64[M, 6]  document; relation, an index into RELATIONS; first and last byte, the
                          latter excluded, of the first and of the second part (an effect comes
                          before its cause; a term or a subject before what is said of it).
                          Documents in order, and within one the matches of a relation
    """
    found_M6 = np.empty((256, FIELDS), dtype=np.int64)
    state = np.zeros(_STATE, dtype=np.int64)
    topic = np.empty(FIELDS + 1, dtype=np.int64)
    topic[0] = -1
    for n in range(first_N.size):
        at, stop, count = first_N[n], stop_N[n], state[_COUNT]
        state[:] = at
        state[_ROW], state[_STOP], state[_COUNT] = n, stop, count
        state[_RUN] = state[_BARRED] = -1
        while at < stop:
            if state[_COUNT] + _A_STEP > found_M6.shape[0]:
                found_M6 = np.concatenate((found_M6, np.empty_like(found_M6)))
            at = _step(data_B, at, state, topic, found_M6)
        _settle_topic(topic, state, found_M6)
    return found_M6[: state[_COUNT]]


@leaf
def _step(data_B: U8, at: int, state: I64, topic: I64, found_M6: I64) -> int:
    """Go on to the next place of interest and settle it; return the place after it."""
    stop = state[_STOP]
    while at < stop and _CLASS[data_B[at]] == _PLAIN:
        at += 1
    if at == stop:
        return at
    kind = _CLASS[data_B[at]]
    if kind == _MARK:
        _settle_topic(topic, state, found_M6)
        return _past_run(data_B, at, state, found_M6)
    if kind == _BAR:
        if state[_BARRED] < 0:
            state[_BARRED] = at
        return at + 1
    for v in range(_INNER_RELATION.size):
        verb = at - _INNER_ANCHOR[v]
        # one byte before the anchor tells most places apart
        if verb <= state[_FIRST] or data_B[at - 1] | 0x20 != _INNER_K[_INNER_AT[v] + at - verb - 1]:
            continue
        end = _matched(data_B, verb, stop, _INNER_K, _INNER_AT[v], _INNER_AT[v + 1])
        if end < 0:
            continue
        if _INNER_RELATION[v] == DEFINITION:
            _definition(data_B, verb, end, state, found_M6)
        else:
            _topic(data_B, verb, end, state, topic)
    return at + 1


@leaf
def _past_run(data_B: U8, at: int, state: I64, found_M6: I64) -> int:
    """Settle the run of . ! ? at ``at``; return the place after it and after white space."""
    stop, after = state[_STOP], at + 1
    while after < stop and _CLASS[data_B[after]] == _MARK:
        after += 1
    following = skip_white(data_B, after, stop)
    if following == after:
        state[_RUN] = -1  # what follows belongs to no sentence that a pattern knows
    else:
        if following < stop and state[_RUN] >= 0:
            _joined(data_B, at, after, following, state, found_M6)
        state[_RUN], state[_RUN_END], state[_OPEN] = at, after, following
    state[_BARRED] = -1
    return following


@leaf
def _joined(data_B: U8, run: int, run_end: int, verb: int, state: I64, found_M6: I64) -> None:
    """Note the matches whose connective begins at ``verb``, after the marks of ``run``."""
    lowered = _LOWER[data_B[verb]]
    for v in range(_FIRST_VERB[lowered], _FIRST_VERB[lowered + 1]):
        gap = _matched(data_B, verb, state[_STOP], _VERB_K, _VERB_AT[v], _VERB_AT[v + 1])
        if gap >= 0 and not _JOINS_V[v] >> EFFECT & 1:
            gap = _past_comma(data_B, gap, state[_STOP])
        if gap < 0:
            continue
        for relation in range(DIFFERENT + 1):
            if _JOINS_V[v] >> relation & 1 and state[_RUN] >= state[relation]:
                _join(data_B, run, run_end, gap, relation, state, found_M6)


@leaf
def _join(
    data_B: U8, run: int, run_end: int, gap: int, relation: int, state: I64, found_M6: I64
) -> None:
    """Note a match if the sentences before ``run`` and after ``gap`` fit the relation.

    gap  the place after the connective and its comma, where white space has to stand
    """
    stop = state[_STOP]
    bars = 2 if relation == EFFECT else (1 if relation < EFFECT else 0)
    if _until(data_B, state[_OPEN], run, bars) != run:
        return
    begin = _first_place(data_B, state[_RUN_END], state[_OPEN], run, _SENTENCE)
    open_ = skip_white(data_B, gap, stop)
    if begin < 0 or open_ == gap:
        return
    close = _until(data_B, open_, stop, bars)
    second = _first_place(data_B, gap, open_, close, _SENTENCE)
    last = _closed(data_B, close, stop)
    if second >= 0 and last >= 0:
        _put(found_M6[state[_COUNT]], state[_ROW], relation, begin, run_end)
        _put_second(found_M6[state[_COUNT]], second, last)
        state[_COUNT] += 1
        state[relation] = skip_white(data_B, last, stop)


@leaf
def _past_comma(data_B: U8, at: int, stop: int) -> int:
    """Return the place after a comma that at most white space comes before; -1 without one."""
    at = skip_white(data_B, at, stop)
    return at + 1 if at < stop and data_B[at] == 0x2C else -1


@leaf
def _definition(data_B: U8, verb: int, verb_end: int, state: I64, found_M6: I64) -> None:
    first = state[_FIRST]
    term_end = white_before(data_B, first, verb)
    if term_end == verb:
        return
    term, chars = term_end, 0
    while term > first:
        here = before(data_B, term, first)
        byte = data_B[here]
        if byte == 0x22 or byte == 0x2C or byte == 0x3B or _CLASS[byte] == _MARK:  # " , ;
            return
        if white_width(data_B, here, term) > 0:
            break
        term, chars = here, chars + 1
    if chars < _TERM or term <= max(first, state[DEFINITION]):
        return
    second, last = _statement(data_B, verb_end, state)
    if second >= 0:
        _put(found_M6[state[_COUNT]], state[_ROW], DEFINITION, term, term_end)
        _put_second(found_M6[state[_COUNT]], second, last)
        state[_COUNT] += 1
        state[DEFINITION] = skip_white(data_B, last, state[_STOP])


@leaf
def _topic(data_B: U8, verb: int, verb_end: int, state: I64, topic: I64) -> None:
    """Note a topic, to be settled at the sentence's end: a later one would take its place."""
    if state[_RUN] < state[TOPIC] or state[_RUN] < 0:
        return
    gap = white_before(data_B, state[_RUN_END], verb)
    if gap == verb:
        return
    subject_end = gap
    while subject_end < verb and data_B[subject_end] != 0x0A:
        subject_end += 1
    if subject_end == verb:  # all white space but the last belongs to the subject
        subject_end = before(data_B, verb, gap)
    if 0 <= state[_BARRED] < subject_end:
        return
    open_ = min(state[_OPEN], subject_end)
    begin = _first_place(data_B, state[_RUN_END], open_, subject_end, _SUBJECT)
    if begin < 0:
        return
    second, last = _statement(data_B, verb_end, state)
    if second >= 0:
        _put(topic, state[_ROW], TOPIC, begin, subject_end)
        _put_second(topic, second, last)
        topic[FIELDS] = skip_white(data_B, last, state[_STOP])


@leaf
def _settle_topic(topic: I64, state: I64, found_M6: I64) -> None:
    if topic[0] < 0:
        return
    for field in range(FIELDS):
        found_M6[state[_COUNT], field] = topic[field]
    state[_COUNT] += 1
    state[TOPIC] = topic[FIELDS]
    topic[0] = -1


@leaf
def _statement(data_B: U8, gap: int, state: I64) -> tuple[int, int]:
    """Return where the statement after a verb's end begins and ends; -1, -1 if there is none."""
    stop = state[_STOP]
    open_ = skip_white(data_B, gap, stop)
    if open_ == gap:
        return -1, -1
    if state[_NEXT_STOP] < open_:  # kept, so that many verbs in one sentence cost one search
        state[_NEXT_STOP] = _until(data_B, open_, stop, 0)
    close = state[_NEXT_STOP]
    second, last = _first_place(data_B, gap, open_, close, _STATEMENT), _closed(data_B, close, stop)
    return (second, last) if second >= 0 and last >= 0 else (-1, -1)


@leaf
def _first_place(data_B: U8, gap: int, open_: int, close: int, least: int) -> int:
    """Return where a sentence of at least so many code points begins; -1 if it is too short.

    gap, open_  where the white space before it begins and ends; a sentence that is too short takes
                white space from there, line feeds and the first character excepted
    close       where its closing marks begin
    """
    chars, at = 0, open_
    while at < close and chars < least:
        chars += data_B[at] & 0xC0 != 0x80
        at += 1
    at = open_
    while chars < least:
        here = before(data_B, at, gap)
        if here <= gap or data_B[here] == 0x0A:
            return -1
        at, chars = here, chars + 1
    return at


@leaf
def _until(data_B: U8, at: int, stop: int, bars: int) -> int:
    """Return the first place of . ! ?, a line feed, a comma (bars 1 and 2) or a semicolon (2)."""
    while at < stop:
        kind = _CLASS[data_B[at]]
        if kind == _MARK:
            break
        if kind == _BAR:
            byte = data_B[at]
            if byte == 0x0A or (byte == 0x2C and bars > 0) or (byte == 0x3B and bars > 1):
                break
        at += 1
    return at


@leaf
def _closed(data_B: U8, close: int, stop: int) -> int:
    """Return the place after the marks at ``close``; -1 without them or white space after them."""
    at = close
    while at < stop and _CLASS[data_B[at]] == _MARK:
        at += 1
    if close < at < stop and white_width(data_B, at, stop) > 0:
        return at
    return -1


@leaf
def _matched(data_B: U8, at: int, stop: int, verb_K: U8, start: int, end: int) -> int:
    """Return the place after a verb that stands at ``at``; -1 if it does not."""
    for k in range(start, end):
        if at >= stop:
            return -1
        if verb_K[k] == 0x2E:
            if data_B[at] == 0x0A:
                return -1
            at += 1
            while at < stop and data_B[at] & 0xC0 == 0x80:
                at += 1
        else:
            if _LOWER[data_B[at]] != verb_K[k]:
                return -1
            at += 1
    return at


@leaf
def _put(match: I64, n: int, relation: int, start: int, stop: int) -> None:
    match[0], match[1] = n, relation
    match[2], match[3] = start, stop


@leaf
def _put_second(match: I64, start: int, stop: int) -> None:
    match[4], match[5] = start, stop


@leaf
def white_width(data_B: U8, at: int, stop: int) -> int:
    """Return how many bytes the white space at ``at`` takes, as ``str.isspace`` has it; else 0."""
    if 0x1C <= data_B[at] <= 0x1F:
        return 1
    return space_width(data_B, at, stop)


@leaf
def skip_white(data_B: U8, at: int, stop: int) -> int:
    """Return the first place from ``at`` on that is no white space, or ``stop``."""
    while at < stop:
        width = white_width(data_B, at, stop)
        if width == 0:
            break
        at += width
    return at


@leaf
def white_before(data_B: U8, start: int, at: int) -> int:
    """Return where the white space that ends at ``at`` begins; ``at`` if there is none."""
    while at > start:
        here = before(data_B, at, start)
        if white_width(data_B, here, at) == 0:
            break
        at = here
    return at
