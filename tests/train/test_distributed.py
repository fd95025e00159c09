"""Several processes: what they learn together is what one learns alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from curation.train.loop import train
from curation.train.model import open_model
from tests.conftest import ROOT, environment
from tests.train.tiny import TinyBatches, distance, settings, tiny_model, weights


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """More devices would train another model, and a shard of it be saved as the whole."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, "-m", "tests.train.spread", str(tmp_path)],
        cwd=ROOT,
        env=environment({"OMP_NUM_THREADS": "1"}),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    alone = tiny_model()
    expected = train(
        alone,
        TinyBatches(),
        settings(micro_sequences=2, clip=0.5, early_checkpoints=2),
        folder=tmp_path / "one",
    )
    for name in ("copies", "shards", "copies stopped", "shards stopped"):
        found = weights(open_model(tmp_path / name / "model"))
        assert distance(found, weights(alone)) < 1e-5, name
        rows = [json.loads(line) for line in (tmp_path / name / "log.jsonl").open()]
        assert [row["step"] for row in rows] == expected.log["step"].to_list()
        for column in ("loss", "grad_norm"):
            assert [r[column] for r in rows] == pytest.approx(expected.log[column].to_list(), 1e-5)
        early = [
            weights(open_model(tmp_path / at / "checkpoints/step-00000002")) for at in (name, "one")
        ]
        assert distance(*early) < 1e-5
    for name in ("copies left", "shards left"):  # one process goes on where two stopped
        model, batches = tiny_model(), TinyBatches()
        plan = settings(micro_sequences=2, clip=0.5)
        train(model, batches, plan, folder=tmp_path / name)
        assert batches.asked == 5
        assert distance(weights(model), weights(alone)) < 1e-5
