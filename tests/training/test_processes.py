"""The command `audio-agent fit` on two processes, as one machine and as two, gives what it gives on one."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from audio_agent_zoo.data.foley_features import FeatureBatches, FoleyFeatures
from tests.training.recipes import checkpoint, small_recipe

ROOT = Path(__file__).parents[2]
STEPS, TOTAL_BATCH = 4, 4
TOLERANCE = 1e-4
"""Relative difference of losses: sums of float32 in another order, carried on by the optimizer."""

SHARDED = {
    "class_path": "lightning.pytorch.strategies.ModelParallelStrategy",
    "init_args": {"data_parallel_size": 2, "tensor_parallel_size": 1, "save_distributed_checkpoint": False},
}
STAGES = ("semantic_tokens", "visual_adapter")
TRAINED = {"semantic_tokens": "semantic_token_lm", "visual_adapter": "visual_adapter"}


class Run:
    """One training from the command line, and what it left."""

    def __init__(self, stage: str, folder: Path, frozen: Path, features: Path) -> None:
        self.stage, self.folder, self.frozen, self.features = stage, folder, frozen, features
        self.seconds = 0.0

    @property
    def run(self) -> Path:
        """Where its checkpoints are."""
        return self.folder / "run"

    def _recipe(self, batch_size: int, trainer: dict[str, Any]) -> Path:
        # Unequal weights have another mean on each process.
        model = {"change_weight": 1.0, "window_tokens": 24} if self.stage == "semantic_tokens" else {}
        settings = {"max_steps": STEPS, "val_check_interval": STEPS, **trainer}
        data = {"batch_size": batch_size}
        return small_recipe(
            f"custom/{self.stage}", self.run, self.frozen, self.features, model=model, data=data, **settings
        )

    def go(self, batch_size: int, *nodes: dict[str, str], arguments: tuple[str, ...] = (), **trainer: Any) -> "Run":
        """Run the command once, or once per node with its environment."""
        recipe = self._recipe(batch_size, trainer)
        command = [sys.executable, "-m", "audio_agent_zoo.cli", "fit", "--config", str(recipe), *arguments]
        start = perf_counter()
        logs = [(self.folder / f"node{i}.log").open("w+") for i in range(max(1, len(nodes)))]
        started = [
            subprocess.Popen(
                command,
                env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **node},
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for node, log in zip(nodes or ({},), logs, strict=True)
        ]
        try:
            codes = [process.wait(timeout=200) for process in started]
        finally:
            for process in started:
                process.kill()
        self.seconds = perf_counter() - start
        assert codes == [0] * len(codes), "\n".join(Path(log.name).read_text()[-3000:] for log in logs)
        return self

    def curve(self, name: str = "train/loss") -> NDArray[np.float64]:
        (path,) = self.run.glob("lightning_logs/version_0/metrics.csv")
        with path.open(encoding="utf-8") as file:
            return np.array([float(row[name]) for row in csv.DictReader(file) if row.get(name)])

    def checkpoint(self) -> dict[str, Any]:
        return checkpoint(self.run)

    def published(self) -> dict[str, torch.Tensor]:
        (path,) = (self.folder / "hub" / TRAINED[self.stage]).glob("*.safetensors")
        return load_file(path)


def _free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def assert_equal_runs(one: Run, two: Run) -> None:
    curve = one.curve()
    assert len(curve) == STEPS and len(set(curve)) == STEPS
    np.testing.assert_allclose(two.curve(), curve, rtol=TOLERANCE)
    np.testing.assert_allclose(two.curve("validation/loss"), one.curve("validation/loss"), rtol=TOLERANCE)
    ours, theirs = one.checkpoint(), two.checkpoint()
    assert theirs["state_dict"].keys() == ours["state_dict"].keys()
    for a, b in zip(ours["average"]["shadow_params"], theirs["average"]["shadow_params"], strict=True):
        assert type(b) is torch.Tensor, "the average is whole, not one process's part"
        torch.testing.assert_close(b.reshape(a.shape), a, rtol=1e-2, atol=1e-4)
    published, wanted = two.published(), one.published()
    assert published.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(published[name], value, rtol=1e-2, atol=1e-4)
    print(f"\n{one.stage}: one process {one.seconds:.1f} s, two {two.seconds:.1f} s, {two.seconds / one.seconds:.2f}")


def test_two_processes_read_the_rows_that_one_would(features: Path) -> None:
    rows = FoleyFeatures(features / "train")
    for i in range(3):
        whole = FeatureBatches(rows, 3, 4, seed=5)[i]
        halves = [FeatureBatches(rows, 3, 2, seed=5, rank=rank, n_ranks=2)[i] for rank in range(2)]
        assert len(set(whole["row_seeds"])) == 4
        for key in ("captions", "row_seeds"):
            assert [value for pair in zip(*(half[key] for half in halves), strict=True) for value in pair] == whole[key]
        assert torch.equal(torch.stack([half["latents"] for half in halves], 1).flatten(0, 1), whole["latents"])
        assert halves[0]["seed"] == halves[1]["seed"] == whole["seed"]
    # Eight rows over three processes: as many for each, so that every gradient counts the same.
    thirds = [FeatureBatches(rows, 1, 64, seed=5, rank=rank, n_ranks=3)[0] for rank in range(3)]
    assert [len(third["captions"]) for third in thirds] == [3, 3, 3]
    assert len({seen.numpy().tobytes() for third in thirds for seen in third["latents"]}) == 8


@pytest.fixture(scope="module")
def alone(frozen: Path, features: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs of one process, made when asked for."""
    return {}


def _alone(alone: dict[str, Run], stage: str, frozen: Path, features: Path, tmp_path: Path) -> Run:
    if stage not in alone:
        alone[stage] = Run(stage, tmp_path / "one", frozen, features).go(TOTAL_BATCH)
    return alone[stage]


def test_data_parallel(alone: dict[str, Run], frozen: Path, features: Path, tmp_path: Path) -> None:
    one = _alone(alone, "semantic_tokens", frozen, features, tmp_path)
    two = Run("semantic_tokens", tmp_path / "two", frozen, features).go(2, devices=2, strategy="ddp")
    assert_equal_runs(one, two)


@pytest.mark.slow
def test_data_parallel_of_stage_two(alone: dict[str, Run], frozen: Path, features: Path, tmp_path: Path) -> None:
    one = _alone(alone, "visual_adapter", frozen, features, tmp_path)
    two = Run("visual_adapter", tmp_path / "two", frozen, features).go(2, devices=2, strategy="ddp")
    assert_equal_runs(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_sharded(stage: str, alone: dict[str, Run], frozen: Path, features: Path, tmp_path: Path) -> None:
    one = _alone(alone, stage, frozen, features, tmp_path)
    two = Run(stage, tmp_path / "two", frozen, features).go(2, devices=2, strategy=SHARDED)
    assert_equal_runs(one, two)
    # One process goes on from it.
    more = Run(stage, tmp_path / "more", frozen, features)
    more.go(TOTAL_BATCH, max_steps=STEPS + 2, arguments=("--ckpt_path", str(two.run / "last.ckpt")))
    assert more.checkpoint()["global_step"] == STEPS + 2
    # And two go on from one's, as one process would itself.
    on = {"max_steps": STEPS + 2, "arguments": ("--ckpt_path", str(one.run / "last.ckpt"))}
    itself = Run(stage, tmp_path / "itself", frozen, features).go(TOTAL_BATCH, **on)
    both = Run(stage, tmp_path / "both", frozen, features).go(2, devices=2, strategy=SHARDED, **on)
    assert len(itself.curve()) == 2
    np.testing.assert_allclose(both.curve(), itself.curve(), rtol=TOLERANCE)


@pytest.mark.slow
def test_two_nodes(alone: dict[str, Run], frozen: Path, features: Path, tmp_path: Path) -> None:
    one = _alone(alone, "semantic_tokens", frozen, features, tmp_path)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    nodes = [{**shared, "NODE_RANK": str(rank)} for rank in range(2)]
    two = Run("semantic_tokens", tmp_path / "two", frozen, features)
    assert_equal_runs(one, two.go(2, *nodes, devices=1, num_nodes=2, strategy="ddp"))


@pytest.mark.slow
def test_accumulated_gradients_are_those_of_a_larger_batch(
    alone: dict[str, Run], frozen: Path, features: Path, tmp_path: Path
) -> None:
    """Not the same rows, for a step then takes two draws: but a mixed-precision run of it ends and publishes."""
    run = Run("semantic_tokens", tmp_path / "half", frozen, features)
    run.go(
        2,
        accumulate_grad_batches=2,
        precision="bf16-mixed",
        val_check_interval=2 * STEPS,
        arguments=("--model.init_args.checkpoint_activations", "true"),
    )
    assert np.isfinite(run.curve()).all()
    assert run.checkpoint()["global_step"] == STEPS
    assert run.published()
