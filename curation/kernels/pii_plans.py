"""Numbering plans: the country codes that are assigned, and how long the numbers behind them are.

Numba's cache watches a kernel's own file alone: whoever changes a table here empties the cache
(``__pycache__/*.nb?``) of ``pii_phones.py``.

C country codes, from 0 to 999
"""

from __future__ import annotations

import numpy as np

#: Digits of a national number, (fewest, most) → country codes. Source: ITU-T E.164's assigned
#: codes, with the lengths of geographic and mobile numbers that libphonenumber 9.0.42 lists, cut
#: to E.164's 7 to 15 digits in all.
_LENGTHS = {
    (4, 5): "290",
    (4, 7): "683 690",
    (4, 11): "352",
    (5, 5): "247 500 682",
    (5, 7): "676 677 678 688",
    (5, 8): "686",
    (5, 9): "27",
    (5, 10): "82 358 685",
    (5, 13): "43 49",
    (6, 6): "298 299 672 681 687",
    (6, 7): "597",
    (6, 9): "40 252 359 376 421 508",
    (6, 10): "53 63 95 98 880",
    (6, 12): "39",
    (7, 7): "238 239 246 248 269 291 297 501 592 673 674 679 680 691 692 960",
    (7, 8): "230 241 267 372 507 599 670 675 961 975",
    (7, 9): "46 48 220 231 254 263 265 354 423 595 967",
    (7, 10): "243 353",
    (7, 11): "86",
    (7, 12): "62 381 882",
    (8, 8): (
        "45 47 65 216 222 223 226 227 228 232 235 236 253 257 266 268 350 356 357 370 371 373 374"
        " 382 386 389 502 503 504 505 506 509 591 598 689 800 808 852 853 965 968 973 974 993"
    ),
    (8, 9): "32 36 51 66 213 224 250 258 264 355 377 385 387 593 855 886 962 963 970 971",
    (8, 10): "20 57 60 64 378 850 856 964 976 977",
    (8, 12): "383 883 972",
    (9, 9): (
        "33 34 41 56 61 93 94 211 212 218 221 233 237 240 242 244 245 249 251 255 256 260 261 262"
        " 351 375 380 420 590 594 596 966 979 992 994 995 996 998"
    ),
    (9, 10): "44 81 84 92 881",
    (9, 11): "31",
    (9, 12): "870",
    (10, 10): "1 7 30 52 58 90 91 225 229 234",
    (10, 11): "54 55",
    (11, 11): "888",
    (12, 12): "878",
}
#: By country code; 0 where none is assigned.
MOST_C = np.zeros(1000, dtype=np.int64)
LEAST_C = np.zeros(1000, dtype=np.int64)
for (_least, _most), _codes in _LENGTHS.items():
    for _code in _codes.split():
        LEAST_C[int(_code)], MOST_C[int(_code)] = _least, _most

#: Countries where the first digit of a number may be 0 even after the country code.
ZERO_C = np.zeros(1000, dtype=np.bool_)
ZERO_C[[39, 47, 225, 227, 229, 241, 242, 267, 268, 378, 501, 676, 679, 687, 853]] = True
