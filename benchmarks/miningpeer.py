"""AdaptLLM's way of mining: its regular expressions with ``re``, and sentences by pysbd.

    python benchmarks/miningpeer.py TEXTS OUT

TEXTS is JSON lines with ``text``; OUT gets one line a text: the matches of each relation and the
sentences, and a last line with the seconds that each of the two took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.oracles.mining_patterns import matches


def main(texts: str, out: str) -> None:
    import pysbd

    segmenter = pysbd.Segmenter(language="en", clean=False)
    mined = cut = 0.0
    with open(texts) as lines, open(out, "w") as file:
        for line in lines:
            text = json.loads(line)["text"]
            began = time.process_time()
            found = list(matches(text))
            between = time.process_time()
            sentences = [one.strip() for one in segmenter.segment(text)]
            cut += time.process_time() - between
            mined += between - began
            row = {"found": found, "sentences": [one for one in sentences if one]}
            file.write(json.dumps(row) + "\n")
        file.write(json.dumps({"patterns_s": mined, "sentences_s": cut}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
