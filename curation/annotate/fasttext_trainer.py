"""Train one fastText model: a program of its own, started by ``fasttext_training``.

    python -P fasttext_trainer.py '{"input": "texts.txt", "output": "model.bin", ...}'

It imports fastText and nothing of this package. Its exit status is DIVERGED where the training ends
in a loss that is no number.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

#: Exit status for "Encountered NaN", the one failure that a lower rate may help against.
DIVERGED = 3


def main(order: dict[str, Any]) -> int:
    """Train, quantise where that is asked, save.

    order  input, output  paths of the texts and of the model
           quantized      whether rows are to be codes
           options        of ``fasttext.train_supervised``
    """
    fasttext: Any = importlib.import_module("fasttext")

    try:
        model = fasttext.train_supervised(order["input"], **order["options"])
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return DIVERGED if "NaN" in str(error) else 1
    if order["quantized"]:
        model.quantize(qnorm=True)
    model.save_model(order["output"])
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
