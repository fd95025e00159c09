"""Keys, tokens, private keys and passwords: what lets a reader act in somebody's name.

Two kinds of evidence: a format that its issuer documents (_FORMATS, and those of more than one
part below), and a name that says what it holds ("password=", "api_key:", "scheme://user:...@")
before a value that looks chosen at random.

tokens     a prefix and a run of so many characters of one alphabet, not nearly all alike
Telegram   8 to 10 digits, a colon, 35 characters that begin with AA
JWT        three base64url parts with full stops between; the first two begin with eyJ ('{"')
PEM        from "-----BEGIN ... PRIVATE KEY-----" to its END line; where the END is missing, as far
           as lines of base64 go
Slack      the path of a webhook: hooks.slack.com/services/T.../B.../...
bearer     what stands behind ": Bearer ", 16 characters or more with a letter and a digit
values     8 to 128 characters with a letter and a digit, 2.75 bits a character by their
           frequencies; up to the closing quote or, without quotes, to white space, a comma, an
           angle bracket, or a mark after which something else begins (_GOES_ON); no variable, no
           call, and no square bracket, which a placeholder has

B bytes of all documents laid end to end, N documents, A anchors, S spans, P formats, L the
longest prefix, W words, E 256 counts
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.pii import ALNUM, CLASS, DASH, DIGIT, LETTER, SECRET, UNDER, UPPER

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

#: Fewest different characters of a token: 36 times 'x' stands for a token in a manual.
DISTINCT = 8

#: Alphabets of tokens, as classes of ASCII; DOT and LOWER_HEX are no such class.
_CODE, _WORD = ALNUM, ALNUM | UNDER | DASH
_DOTTED, _LOWER_HEX = 256, 512

#: Prefix, where in it the anchor stands, alphabet of the rest, fewest and most characters of it.
#: Sources: the issuers' documentation, compared with gitleaks' rules (MIT) of 2025.
_FORMATS = (
    *((name, 0, UPPER | DIGIT, 16, 16) for name in (b"AKIA", b"ASIA", b"ABIA", b"ACCA")),  # AWS
    *((name, 3, _CODE, 36, 251) for name in (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_")),
    (b"github_pat_", 6, ALNUM | UNDER, 82, 82),
    (b"glpat-", 5, _WORD, 20, 300),  # GitLab
    *((b"xox%c-" % kind, 4, ALNUM | DASH, 20, 250) for kind in b"abeoprs"),  # Slack
    (b"AIza", 0, _WORD, 35, 35),  # Google
    (b"sk-", 2, _WORD, 32, 250),  # OpenAI, Anthropic and those that follow them
    *((name, 2, _CODE, 16, 247) for name in (b"sk_live_", b"rk_live_", b"sk_test_", b"rk_test_")),
    (b"whsec_", 5, _CODE, 32, 64),  # Stripe
    (b"hf_", 2, _CODE, 34, 34),  # Hugging Face
    (b"dop_v1_", 3, _LOWER_HEX, 64, 64),  # DigitalOcean
    *(
        (b"shp%s_" % kind, 5, _LOWER_HEX, 32, 32) for kind in (b"at", b"ca", b"pa", b"ss")
    ),  # Shopify
    (b"glsa_", 4, ALNUM | UNDER, 41, 41),  # Grafana
    (b"dckr_pat_", 4, _WORD, 27, 36),  # Docker
    (b"hvs.CAES", 5, _WORD, 60, 300),  # HashiCorp Vault
    (b"lin_api_", 3, _CODE, 40, 40),  # Linear
    (b"gsk_", 3, _CODE, 52, 52),  # Groq
    (b"xapp-", 4, ALNUM | DASH, 30, 250),  # Slack
    (b"AGE-SECRET-KEY-1", 3, UPPER | DIGIT, 58, 58),
    *((name, 2, _WORD, 30, 1000) for name in (b"ya29.", b"ya29.c.", b"ya29.d.")),  # Google
    (b"npm_", 3, _CODE, 36, 36),
    (b"pypi-AgE", 4, _WORD, 60, 1000),
    (b"AC", 0, _LOWER_HEX, 32, 32),  # Twilio
    (b"SK", 0, _LOWER_HEX, 32, 32),
    (b"SG.", 0, _WORD | _DOTTED, 66, 66),  # SendGrid: 22 and 43 characters, a full stop between
)
_PREFIX_PL = np.zeros((len(_FORMATS), 16), dtype=np.uint8)
for _p, (_prefix, *_) in enumerate(_FORMATS):
    _PREFIX_PL[_p, : len(_prefix)] = [*_prefix]
_FORMAT_PF = np.array([(len(prefix), *rest) for prefix, *rest in _FORMATS])
_ANCHOR_P = np.array([prefix[at] for prefix, at, *_ in _FORMATS])
#: sk- is also how "sk-something-in-a-file-name" begins: letters of both cases and a digit.
_MIXED_P = np.array([prefix == b"sk-" for prefix, *_ in _FORMATS])

_NAMES = (
    b"password passwd passphrase pwd secret token apikey accesskey secretkey privatekey authkey"
)
_NAMES += b" accountkey credential credentials"


def _hashed(word: bytes) -> int:
    """Return the hash of a word read backwards, as ``_is_named`` reads it."""
    value = 0
    for byte in reversed(word):
        value = value * 31 + byte
    return value


_NAME_W = np.array([_hashed(word) for word in _NAMES.split()])
_PUBLIC = np.array([*b"publickey"], dtype=np.uint8)
_LONGEST_NAME = max(map(len, _NAMES.split()))

_SLACK = np.array([*b"hooks.slack.com/services/"], dtype=np.uint8)
_BEARER = np.array([*b"bearer"], dtype=np.uint8)
_BEARER_MARKS = (0x2D, 0x2E, 0x5F, 0x7E, 0x2B, 0x2F, 0x3D)  # RFC 6750: - . _ ~ + / =
MIN_BEARER = 16

#: Bytes that end a value without quotes; those of them that do so only where the value is over.
_ENDS = np.zeros(256, dtype=np.bool_)
_ENDS[[*range(33), *b"\"'`,;&|<>)}", 0x7F]] = True
_GOES_ON = np.zeros(256, dtype=np.bool_)
_GOES_ON[[*b"\"'`;&|)}"]] = True
#: Bytes after one of _GOES_ON that show the value to be over.
_OVER = _ENDS.copy()
_OVER[[*b".:]?/\\"]] = True
#: Bytes that show a value to be none where they open a call or a template: ( [ { ]
_OPENS = (0x28, 0x5B, 0x7B, 0x5D)
#: Marks of passwords that no name in a program has: ! # $ % & * ? @ ^ ~
_CHOSEN_MARKS = (0x21, 0x23, 0x24, 0x25, 0x26, 0x2A, 0x3F, 0x40, 0x5E, 0x7E)
#: Eight characters of which two are the same carry 2.75 bits each.
MIN_VALUE, MAX_VALUE, MIN_BITS = 8, 128, 2.75


@numba.njit(cache=True, nogil=True)
def find_secrets(data_B: U8, offset: I64, place_A: I64, row_A: I64) -> I64:
    """Return the spans of keys, tokens, private keys and passwords.

    data_B   uint8[B]       UTF-8, all documents laid end to end
    offset   int64[N+1]     document n owns data_B[offset[n]:offset[n+1]]
    place_A  int64[A]       anchors, and row_A the document of each
    returns  int64[S, 3]    kind, first byte, byte after the last
    """
    span_SF = np.empty((place_A.size, 3), dtype=np.int64)
    count_E = np.zeros(256, dtype=np.int64)
    made, done = 0, 0
    for a in range(place_A.size):
        at = place_A[a]
        byte = data_B[at]
        dated = byte == 0x32 and at > 0 and data_B[at - 1] == 0x61  # ya29.
        if (CLASS[byte] & DIGIT and not dated) or byte == 0x40 or at < done:
            continue
        first, last = offset[row_A[a]], offset[row_A[a] + 1]
        start, stop = 0, 0
        if byte == 0x3A or byte == 0x3D:
            start, stop = _bearer(data_B, at, last, count_E)
            if stop == 0:
                start, stop = _after_name(data_B, first, at, last, count_E)
            if stop == 0 and byte == 0x3A:
                start, stop = _after_colon(data_B, first, at, last, count_E)
        elif byte == 0x4A:
            start, stop = at - 2, _jwt_stop(data_B, first, at - 2, last)
        else:
            start, stop = _token(data_B, first, at, last, count_E)
            if stop == 0 and byte == 0x2D:
                start, stop = at - 4, _pem_stop(data_B, first, at - 4, last)
        if stop:
            span_SF[made, 0], span_SF[made, 1], span_SF[made, 2] = SECRET, start, stop
            made, done = made + 1, stop
    return span_SF[:made].copy()


# ---------------------------------------------------------------- formats


@numba.njit(cache=True, nogil=True)
def _token(data_B: U8, first: int, at: int, last: int, count_E: I64) -> tuple[int, int]:
    """Return the span of the token whose anchor is at ``at``; (0, 0) where there is none."""
    for p in range(_ANCHOR_P.size):
        if _ANCHOR_P[p] != data_B[at]:
            continue
        width, inner = _FORMAT_PF[p, 0], _FORMAT_PF[p, 1]
        start = at - inner
        if start < first or start + width >= last or not _has_prefix(data_B, start, p, width):
            continue
        alphabet = _FORMAT_PF[p, 2]
        joins = CLASS[data_B[start - 1]] & (ALNUM | UNDER | alphabet) if start > first else 0
        if joins:
            continue
        stop = _run_stop(data_B, start + width, last, alphabet, _FORMAT_PF[p, 4] + 1)
        if alphabet & _DOTTED:
            while data_B[stop - 1] == 0x2E:
                stop -= 1
            if start + 26 > stop or data_B[start + 25] != 0x2E:
                continue
        if not _FORMAT_PF[p, 3] <= stop - start - width <= _FORMAT_PF[p, 4]:
            continue
        if stop < last and CLASS[data_B[stop]] & (ALNUM | UNDER):
            continue
        distinct, classes = _variety(data_B, start + width, stop, count_E)
        if distinct >= DISTINCT and (not _MIXED_P[p] or classes & ALNUM == ALNUM):
            return start, stop
    return 0, 0


@numba.njit(cache=True, nogil=True)
def _has_prefix(data_B: U8, start: int, p: int, width: int) -> bool:
    same = True
    for i in range(width):
        same &= data_B[start + i] == _PREFIX_PL[p, i]
    return same


@numba.njit(cache=True, nogil=True)
def _run_stop(data_B: U8, at: int, last: int, alphabet: int, most: int) -> int:
    """Return where a run of an alphabet's characters ends; at most ``most`` are read."""
    limit = min(last, at + most)
    while at < limit:
        byte = data_B[at]
        if alphabet & _LOWER_HEX:
            if not (CLASS[byte] & DIGIT or 0x61 <= byte <= 0x66):
                break
        elif not (CLASS[byte] & alphabet or (alphabet & _DOTTED and byte == 0x2E)):
            break
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _variety(data_B: U8, start: int, stop: int, count_E: I64) -> tuple[int, int]:
    """Return how many different bytes there are, and the classes that they belong to."""
    distinct, classes = 0, 0
    for at in range(start, stop):
        distinct += count_E[data_B[at]] == 0
        count_E[data_B[at]] += 1
        classes |= CLASS[data_B[at]]
    for at in range(start, stop):
        count_E[data_B[at]] = 0
    return distinct, classes


@numba.njit(cache=True, nogil=True)
def _jwt_stop(data_B: U8, first: int, start: int, last: int) -> int:
    """Return where the JSON Web Token (RFC 7519) that begins at ``start`` ends; 0 for none."""
    at = start
    if at < first or (at > first and (CLASS[data_B[at - 1]] & _WORD or data_B[at - 1] == 0x2E)):
        return 0
    for part in range(3):
        begin = at
        # only the first place of a run gets here: every byte is read at most once
        at = _run_stop(data_B, at, last, _WORD, last - at)
        if part < 2:
            if at - begin < 12 or data_B[begin] != 0x65 or data_B[begin + 1] != 0x79:
                return 0
            if data_B[begin + 2] != 0x4A or at >= last or data_B[at] != 0x2E:
                return 0
            at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _pem_stop(data_B: U8, first: int, start: int, last: int) -> int:
    """Return where the private key whose dashes begin at ``start`` ends; 0 where there is none.

    The key holds no run of five dashes, so that no byte is read for two keys.
    """
    if start < first or start + 40 > last or data_B[start + 5] != 0x42:
        return 0
    at = _past_dashes(data_B, start + 5, min(last, start + 80))
    if at == 0 or not _ends_in_key(data_B, start + 5, at - 5) or not _begins(data_B, start + 5):
        return 0
    stop, body = at, 0
    while stop < last and not _is_dashes(data_B, stop, last):
        body += CLASS[data_B[stop]] & ALNUM != 0
        stop += 1
    if stop + 9 < last and data_B[stop + 5] == 0x45 and data_B[stop + 6] == 0x4E:  # END
        after = _past_dashes(data_B, stop + 5, min(last, stop + 80))
        return after if after and body >= 40 else 0
    stop, body = at, 0
    while stop < last:
        byte = data_B[stop]
        base64 = CLASS[byte] & ALNUM or byte in (0x2B, 0x2F, 0x3D)
        if not base64 and byte not in (0x0A, 0x0D, 0x5C):
            break
        body += base64 != 0
        stop += 1
    return stop if body >= 40 else 0


@numba.njit(cache=True, nogil=True)
def _begins(data_B: U8, at: int) -> bool:
    """Say whether BEGIN and a space stand at ``at``."""
    middle = data_B[at + 1] == 0x45 and data_B[at + 2] == 0x47 and data_B[at + 3] == 0x49
    return bool(data_B[at] == 0x42 and middle and data_B[at + 4] == 0x4E and data_B[at + 5] == 32)


@numba.njit(cache=True, nogil=True)
def _is_dashes(data_B: U8, at: int, last: int) -> bool:
    if at + 5 > last:
        return False
    dashes = True
    for i in range(5):
        dashes &= data_B[at + i] == 0x2D
    return dashes


@numba.njit(cache=True, nogil=True)
def _past_dashes(data_B: U8, at: int, limit: int) -> int:
    """Return the byte after the next five dashes; 0 where there are none before ``limit``."""
    while at + 5 <= limit:
        if _is_dashes(data_B, at, limit):
            return at + 5
        at += 1
    return 0


@numba.njit(cache=True, nogil=True)
def _ends_in_key(data_B: U8, start: int, stop: int) -> bool:
    """Say whether PRIVATE KEY, or PRIVATE KEY BLOCK, ends at ``stop``."""
    if stop - start > 6 and data_B[stop - 5] == 0x42 and data_B[stop - 6] == 0x20:  # " BLOCK"
        stop -= 6
    if stop - start < 11 or data_B[stop - 1] != 0x59 or data_B[stop - 2] != 0x45:
        return False
    private = data_B[stop - 11] == 0x50 and data_B[stop - 10] == 0x52 and data_B[stop - 9] == 0x49
    return bool(private and data_B[stop - 8] == 0x56 and data_B[stop - 5] == 0x45)


# ---------------------------------------------------------------- named values


@numba.njit(cache=True, nogil=True)
def _after_name(data_B: U8, first: int, at: int, last: int, count_E: I64) -> tuple[int, int]:
    """Return the span of the value behind "password=", "api_key: "; (0, 0) where there is none."""
    if not _is_named(data_B, first, at):
        return 0, 0
    start = at + 1
    if start < last and (data_B[start] == 0x3D or data_B[start] == 0x3E):  # :=  =>
        start += 1
    quote, limit = 0, min(last, start + 6)
    while start < limit and quote == 0 and data_B[start] in (0x20, 0x22, 0x27, 0x60):
        quote = data_B[start] if data_B[start] != 0x20 else 0
        start += 1
    stop = _value_stop(data_B, start, last, quote)
    if not _is_chosen(data_B, start, stop, count_E):
        return 0, 0
    return (0, 0) if _is_path(data_B, start, stop, quote != 0) else (start, stop)


@numba.njit(cache=True, nogil=True)
def _value_stop(data_B: U8, start: int, last: int, quote: int) -> int:
    """Return where a value ends: at its closing quote, or where _ENDS says; ``start`` for none."""
    stop, limit = start, min(last, start + MAX_VALUE + 1)
    while stop < limit and data_B[stop] != quote:
        if data_B[stop] in _OPENS and _opens_code(data_B, start, stop, last):
            return start
        if quote and data_B[stop] <= 0x20:
            return start
        if not quote and _ENDS[data_B[stop]] and _is_over(data_B, stop, last):
            break
        stop += 1
    while stop > start and not quote and data_B[stop - 1] == 0x2E:
        stop -= 1
    return stop


@numba.njit(cache=True, nogil=True)
def _opens_code(data_B: U8, start: int, at: int, last: int) -> bool:
    """Say whether the bracket at ``at`` opens a call or a template, or may be a placeholder's."""
    byte, before = data_B[at], data_B[at - 1]
    if byte == 0x5B or byte == 0x5D or at == start:
        return True
    if before == 0x24 or before == 0x7B or (before == 0x23 and byte == 0x7B):  # $( ${ {{ #{
        return True
    inner, limit = at + 1, min(last, at + 64)
    while inner < limit and byte == 0x7B and CLASS[data_B[inner]] & (ALNUM | UNDER):
        inner += 1
    if inner < limit and data_B[inner] == 0x7D:
        return True
    marked, digit = False, False
    for i in range(start + 1, at):
        marked |= data_B[i] in _CHOSEN_MARKS
        digit |= CLASS[data_B[i]] & DIGIT != 0
    return not (marked and digit)


@numba.njit(cache=True, nogil=True)
def _is_over(data_B: U8, at: int, last: int) -> bool:
    """Say whether a value without quotes is over at a byte of _ENDS; not in "Tr0ub4dor&3"."""
    if not _GOES_ON[data_B[at]] or at + 1 >= last or _OVER[data_B[at + 1]]:
        return True
    at, limit = at + 1, min(last, at + 40)
    while at < limit and (CLASS[data_B[at]] & _WORD or data_B[at] == 0x2E or data_B[at] == 0x3B):
        at += 1
    return bool(at < limit and data_B[at] == 0x3D)  # "&user=..." begins another


@numba.njit(cache=True, nogil=True)
def _bearer(data_B: U8, at: int, last: int, count_E: I64) -> tuple[int, int]:
    """Return the span of the token in "Authorization: Bearer ..."; (0, 0) where there is none."""
    start, limit = at + 1, min(last, at + 6)
    while start < limit and data_B[start] in (0x20, 0x22, 0x27, 0x60, 0x3E):
        start += 1
    if start + 7 >= last or not _ends_with(data_B, start + 6, _BEARER) or data_B[start + 6] != 0x20:
        return 0, 0
    start += 7
    stop = start
    while stop < last and (CLASS[data_B[stop]] & ALNUM or data_B[stop] in _BEARER_MARKS):
        stop += 1
    while stop > start and data_B[stop - 1] == 0x2E:
        stop -= 1
    distinct, classes = _variety(data_B, start, stop, count_E)
    mixed = classes & DIGIT != 0 and classes & LETTER != 0
    found = mixed and stop - start >= MIN_BEARER and distinct >= DISTINCT
    return (start, stop) if found else (0, 0)


@numba.njit(cache=True, nogil=True)
def _is_named(data_B: U8, first: int, at: int) -> bool:
    """Say whether the name before ``at`` ends in one of _NAMES, its - _ and . aside."""
    low = at
    while low > first and at - low < 3 and data_B[low - 1] in (0x20, 0x22, 0x27, 0x5D, 0x60, 0x3A):
        low -= 1
    value, letters, limit = 0, 0, max(first, low - 24)
    while low > limit and letters < _LONGEST_NAME:
        byte = data_B[low - 1]
        if CLASS[byte] & LETTER:
            value = value * 31 + (byte | 0x20)
            letters += 1
            for word in _NAME_W:
                if word == value:  # an assembly's PublicKeyToken is for everybody
                    return low - 10 < first or not _ends_with(data_B, low - 1, _PUBLIC)
        elif letters == 0 or (byte != 0x5F and byte != 0x2D and byte != 0x2E):
            return False
        low -= 1
    return False


@numba.njit(cache=True, nogil=True)
def _ends_with(data_B: U8, stop: int, word_L: U8) -> bool:
    same = True
    for i in range(word_L.size):
        same &= data_B[stop - word_L.size + i] | 0x20 == word_L[i]
    return same


@numba.njit(cache=True, nogil=True)
def _is_chosen(data_B: U8, start: int, stop: int, count_E: I64) -> bool:
    """Say whether a value looks chosen to be hard to guess."""
    length = stop - start
    if not MIN_VALUE <= length <= MAX_VALUE or data_B[start] in (0x24, 0x25, 0x40, 0x3C):
        return False
    bits, classes = 0.0, 0
    for at in range(start, stop):
        count_E[data_B[at]] += 1
        classes |= CLASS[data_B[at]]
    for at in range(start, stop):  # each byte carries as many bits as it is rare
        bits -= np.log2(count_E[data_B[at]] / length) / length
    for at in range(start, stop):
        count_E[data_B[at]] = 0
    return classes & DIGIT != 0 and classes & LETTER != 0 and bits >= MIN_BITS - 1e-9


@numba.njit(cache=True, nogil=True)
def _is_path(data_B: U8, start: int, stop: int, quoted: bool) -> bool:
    """Say whether a value is a name in a program, an address or an LDAP rule.

    For example "request.form2", "http://x1", "2.5.13.18:=y".
    """
    dots, others, slashes = 0, 0, 0
    for at in range(start, stop):
        byte = data_B[at]
        dots += byte == 0x2E
        slashes += byte == 0x3A and at + 2 < stop and data_B[at + 1] in (0x2F, 0x3D)
        others += not (CLASS[byte] & (ALNUM | UNDER) or byte == 0x2E)
    name = dots > 0 and others == 0 and CLASS[data_B[start]] & LETTER != 0
    return slashes > 0 or (name and not quoted)


# ---------------------------------------------------------------- after a colon


@numba.njit(cache=True, nogil=True)
def _after_colon(data_B: U8, first: int, at: int, last: int, count_E: I64) -> tuple[int, int]:
    """Return the span of a password in a URL or of a Telegram bot's token."""
    if at + 2 < last and data_B[at + 1] == 0x2F and data_B[at + 2] == 0x2F:
        start, stop = _slack_webhook(data_B, at + 3, last)
        return (start, stop) if stop else _url_password(data_B, at + 3, last, count_E)
    low = at
    while low > first and at - low < 11 and CLASS[data_B[low - 1]] & DIGIT:
        low -= 1
    if not 8 <= at - low <= 10 or at + 2 >= last:
        return 0, 0
    if data_B[at + 1] != 0x41 or data_B[at + 2] != 0x41:
        return 0, 0
    if low > first and CLASS[data_B[low - 1]] & UNDER:
        return 0, 0
    stop = _run_stop(data_B, at + 1, last, _WORD, 36)
    distinct, _ = _variety(data_B, at + 1, stop, count_E)
    return (low, stop) if stop - at - 1 == 35 and distinct >= DISTINCT else (0, 0)


@numba.njit(cache=True, nogil=True)
def _slack_webhook(data_B: U8, at: int, last: int) -> tuple[int, int]:
    """Return the span of "T.../B.../..." in a Slack webhook's address; (0, 0) for none."""
    start = at + _SLACK.size
    if start >= last or not _ends_with(data_B, start, _SLACK):
        return 0, 0
    stop = start
    for part in range(3):
        begin = stop
        stop = _run_stop(data_B, begin, last, _CODE, 65)
        if not (20 if part == 2 else 8) <= stop - begin <= 64:
            return 0, 0
        if part < 2:
            if data_B[begin] != (0x42 if part else 0x54) or stop >= last or data_B[stop] != 0x2F:
                return 0, 0
            stop += 1
    return start, stop


@numba.njit(cache=True, nogil=True)
def _url_password(data_B: U8, at: int, last: int, count_E: I64) -> tuple[int, int]:
    """Return the span of the password in user:password@host at ``at``; (0, 0) for none."""
    limit = min(last, at + 64)
    while at < limit and (CLASS[data_B[at]] & _WORD or data_B[at] in (0x2E, 0x25, 0x2B)):
        at += 1
    if at >= limit or data_B[at] != 0x3A:
        return 0, 0
    start = at + 1
    stop, limit = start, min(last, start + MAX_VALUE + 1)
    while stop < limit and data_B[stop] != 0x40 and data_B[stop] != 0x2F:
        if _ENDS[data_B[stop]] or data_B[stop] in _OPENS:
            return 0, 0
        stop += 1
    if stop >= limit or data_B[stop] != 0x40 or not _is_chosen(data_B, start, stop, count_E):
        return 0, 0
    return start, stop
