"""Every metric over two processes equals one over all clips, also where a process saw none of a kind."""

import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed
from torch import Tensor

from audio_agent_zoo.metrics.desync import Desync
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.kernel_distance import KernelDistance
from audio_agent_zoo.metrics.kl_divergence import InceptionScore, KLDivergence
from audio_agent_zoo.metrics.similarity import CLAP_SCORE, EmbeddingSimilarity

DIM = 5


def _measured(first: slice, second: slice, alone: bool) -> list[float]:
    """Values over some real and some generated clips, of this process alone or of all."""
    generator = torch.Generator().manual_seed(0)
    real, made = (torch.randn(21, DIM, generator=generator) * scale for scale in (1.0, 1.4))
    values: list[Tensor] = []
    for kind in (KernelDistance, FrechetDistance):
        distance = kind(DIM, sync_on_compute=not alone)
        if real[first].numel():
            distance.update(real[first], real=True)
        if made[second].numel():
            distance.update(made[second], real=False)
        values.append(distance.compute())
    pairs = (KLDivergence(sync_on_compute=not alone), EmbeddingSimilarity(CLAP_SCORE, sync_on_compute=not alone))
    for pair in pairs:
        pair.update(made[first], real[first])
        values.append(pair.compute())
    for single in (InceptionScore(DIM, sync_on_compute=not alone), Desync(DIM, sync_on_compute=not alone)):
        single.update(made[first])
        values.append(single.compute())
    return [float(value) for value in values]


def _work(rank: int, meeting: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    whole = _measured(slice(None), slice(None), alone=True)
    for first, second in (
        ([slice(0, 8), slice(8, None)], [slice(0, 5), slice(5, None)]),
        ([slice(None), slice(0, 0)], [slice(0, 0), slice(None)]),
    ):
        shared = _measured(first[rank], second[rank], alone=False)
        difference = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(shared, whole, strict=True))
        assert difference < 1e-9, (shared, whole)
    torch.distributed.destroy_process_group()
    print("equal")


def test_two_processes_add_up_to_the_whole(tmp_path: Path) -> None:
    commands = [[sys.executable, __file__, str(rank), str(tmp_path / "meeting")] for rank in range(2)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands
    ]
    outputs = [process.communicate(timeout=120) for process in running]
    assert [output[0].strip() for output in outputs] == ["equal", "equal"], outputs


if __name__ == "__main__":
    _work(int(sys.argv[1]), sys.argv[2])
