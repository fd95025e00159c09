"""The flags of every code point, one by one, from Python's own character database.

``python -m tests.oracles.unicode_flags`` prints ``curation/kernels/unicode_flags.txt``; it wants a
Python whose database is Unicode 14 (3.11).
"""

from __future__ import annotations

import sys
import unicodedata

from curation.kernels import unicode as u

#: Ranges of Scripts.txt: scripts without white space between words.
SINGLE = (
    *((0x0E01, 0x0E3A), (0x0E40, 0x0E4E)),  # Thai
    *((0x0E81, 0x0ECD), (0x0EDC, 0x0EDF)),  # Lao
    *((0x1000, 0x103F), (0x1050, 0x108F), (0xA9E0, 0xA9EF), (0xAA60, 0xAA7F)),  # Burmese
    (0x1780, 0x17D3),  # Khmer
    *((0x2E80, 0x2FD5), (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B)),  # Han
    *((0x3041, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF)),  # kana
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFD)),  # Han
    *((0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F)),  # kana
)

#: The characters whose words datatrove calls symbols, beside its terminal marks.
FILLER = (
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
    + "".join(map(chr, [*range(9), 11, 12, *range(13, 32), *range(127, 160)]))
)

#: Sentence_Terminal and its like in all scripts, as datatrove lists them.
TERMINAL = (
    "!.?։؞؟؝۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕៖៙៚᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᭽᭾᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼⹓⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉"
    "꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡𐩖𐩗𐽕𐽖𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑥄"
    "𑥆𑩂𑩃𑪛𑪜𑱁𑱂𑻷𑻸𑽃𑽄𖩮𖩯𖫵𖬷𖬸𖭄𖺘𛲟𝪈"
)
STOP = "….,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪".replace(".", "")
QUOTE = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
HYPHEN = "-–—~"
#: Characters of other rules: a full stop, a slash, what may stand between digits, and so on.
OTHER_CUTS = "./=%+§^@\\|"


def flags_of(char: str) -> int:
    """Return the flags of a character."""
    category = unicodedata.category(char)
    code = ord(char)
    uncased = category in ("Lo", "Lm")
    flags = {
        u.LETTER: category[0] == "L",
        u.DIGIT: category == "Nd",
        u.UPPER: category == "Lu",
        u.SPACE: char.isspace(),
        u.SYMBOL: category[0] in "PS",
        u.PUNCT: category[0] == "P",
        u.MARK: category[0] == "M",
        u.WORD: category[0] in "LMN" or category == "Pc",
        u.SINGLE: category[0] in "LN" and any(a <= code <= b for a, b in SINGLE),
        u.FILLER: char in FILLER or char in TERMINAL,
        u.TERMINAL: char in TERMINAL,
        u.LOWER_OR_UNCASED: category == "Ll" or uncased,
        u.UPPER_OR_UNCASED: category == "Lu" or uncased,
        u.QUOTE: char in QUOTE,
        u.STOP: char in STOP,
        u.ICON: category == "So",
        u.CURRENCY: category == "Sc",
        u.HYPHEN: char in HYPHEN,
    }
    found = sum(flag for flag, is_so in flags.items() if is_so)
    if found & (u.QUOTE | u.STOP | u.ICON | u.CURRENCY | u.HYPHEN) or char in OTHER_CUTS:
        found |= u.CUTS
    return found


def main() -> None:
    """Print where each run of equal flags begins, and the flags, in hexadecimal."""
    last = -1
    for code in range(u.CODE_POINTS):
        flags = flags_of(chr(code))
        if flags != last:
            sys.stdout.write(f"{code:X} {flags:X}\n")
            last = flags


if __name__ == "__main__":
    main()
