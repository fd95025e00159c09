"""What each code point is to language identification, from Python's database and ``regex``'s.

``python -m tests.oracles.scripts`` prints ``curation/kernels/scripts.txt``; it wants a Python
whose database is Unicode 14 (3.11).
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections import Counter

import regex

from curation.kernels import scripts as s

#: The scripts of Unicode 14 by their ISO 15924 codes, Common and Inherited left out.
CODES = """
Adlm Aghb Ahom Arab Armi Armn Avst Bali Bamu Bass Batk Beng Bhks Bopo Brah Bugi Buhd Cakm Cans Cari
Cham Cher Chrs Copt Cpmn Cprt Cyrl Deva Diak Dogr Dsrt Dupl Egyp Elba Elym Ethi Geor Glag Gong Gonm
Goth Gran Grek Gujr Guru Hang Hani Hano Hatr Hebr Hira Hluw Hmng Hmnp Hung Ital Java Kali Kana Khar
Khmr Khoj Kits Knda Kthi Lana Laoo Latn Lepc Limb Lina Linb Lisu Lyci Lydi Mahj Maka Mand Mani Marc
Medf Mend Merc Mero Mlym Modi Mong Mroo Mtei Mult Mymr Nand Narb Nbat Newa Nkoo Nshu Ogam Olck Orkh
Orya Osge Osma Ougr Palm Pauc Perm Phag Phli Phlp Phnx Plrd Prti Rjng Rohg Runr Samr Sarb Saur Sgnw
Shaw Shrd Sidd Sind Sinh Sogd Sogo Sora Soyo Sund Sylo Syrc Tagb Takr Tale Talu Taml Tang Tavt Telu
Tfng Tglg Thaa Thai Tibt Tirh Tnsa Toto Ugar Vaii Vith Wara Wcho Xpeo Xsux Yezi Yiii Zanb
""".split()


@functools.cache
def script_of_each_letter() -> dict[str, str]:
    """Return letter → ISO 15924 code, for the letters of a script of their own."""
    chars = (chr(code) for code in range(s.CODE_POINTS))
    letters = "".join(c for c in chars if unicodedata.category(c)[0] == "L")
    found = {}
    for code in CODES:
        for run in regex.finditer(rf"\p{{Script={code}}}+", letters):
            found.update(dict.fromkeys(run[0], code))
    return found


@functools.cache
def composed_with() -> frozenset[str]:
    """Return the characters that normalization joins to the one before them."""
    found = {chr(code) for code in [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]}  # Hangul
    for code in range(s.CODE_POINTS):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pair = "".join(chr(int(part, 16)) for part in parts)
            if unicodedata.normalize("NFC", pair) == chr(code):
                found.add(pair[1])
    return frozenset(found)


def script(text: str) -> tuple[str, int]:
    """Return the script of a text and how many letters it has."""
    known = script_of_each_letter()
    count = Counter(known[char] for char in text if char in known)
    letters = count.total()
    if not letters:
        return "Zyyy", 0
    kana = count.pop("Hira", 0) + count.pop("Kana", 0)
    east = count.pop("Hani", 0) + kana
    if east:
        count["Jpan" if 20 * kana >= east else "Hani"] = east
    best = max(count.values())
    return min((c for c in count if count[c] == best), key=lambda c: (c == "Jpan", c)), letters


def flags_of(char: str) -> int:
    """Return the flags of a character."""
    code = script_of_each_letter().get(char)
    found = CODES.index(code) + 1 if code else 0
    found |= unicodedata.combining(char) << s.CLASS_SHIFT
    if char.islower() or (char.istitle() and not char.isupper()):
        found |= s.LOWER
    if char.isupper():
        found |= s.UPPER
    if char in composed_with() or unicodedata.normalize("NFC", char) != char:
        found |= s.UNSTABLE
    return found


def main() -> None:
    """Print the scripts' codes, then where each run of equal flags begins, and the flags."""
    sys.stdout.write(" ".join(CODES) + "\n")
    last = -1
    for code in range(s.CODE_POINTS):
        surrogate = 0xD800 <= code < 0xE000
        flags = 0 if surrogate else flags_of(chr(code))
        if flags != last:
            sys.stdout.write(f"{code:X} {flags:X}\n")
            last = flags


if __name__ == "__main__":
    main()
