"""Encode clips once with the frozen parts: frame vectors, semantic tokens and latents, in Parquet shards."""

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch

from audio_agent_zoo.columns import FEATURES_CONFIG
from audio_agent_zoo.data.clip_encoders import Encoders, PrepareSettings, mel_of
from audio_agent_zoo.data.feature_shards import (
    ShardLayout,
    count_rows,
    remove_leftovers,
    rows_per_shard,
    skipped_clips,
    write_shard,
)
from audio_agent_zoo.data.sources.examples import FoleySource
from audio_agent_zoo.errors import AudioAgentError, MediaError
from audio_agent_zoo.hub import FRAME_ENCODER, HUBERT, SEMANTIC_QUANTIZER
from audio_agent_zoo.media import atomic_path
from audio_agent_zoo.published import file_sha256, weight_files

_RANKS = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"))
"""What torchrun and srun tell each of their processes: number, how many there are, number on this machine."""
_FROZEN = (FRAME_ENCODER, HUBERT, SEMANTIC_QUANTIZER, "vae")
_PROCESS_BYTES = 2**30  # the libraries, a chunk of frames, and what the parts compute with
_LOOK_S = 0.2


@dataclass
class PrepareReport:
    """What a run did.

    Attributes:
        n_rows: Rows in all shards.
        n_new: Clips encoded by this run.
        n_open: Clips of shards that are not there yet: other processes have them.
        skipped: Clip -> why it is not among them.
    """

    n_rows: int = 0
    n_new: int = 0
    n_open: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Which of several processes this one is; each takes every `world_size`-th shard.

    Attributes:
        rank: From 0.
        world_size: Number of processes, on all machines.
        local_rank: From 0 on each machine; which of its GPUs is used.

    Raises:
        ValueError: If the rank is none of those.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"rank is {self.rank} and world_size {self.world_size}; ranks go from 0 to world_size - 1."
            )

    @classmethod
    def of(
        cls, rank: int | None = None, world_size: int | None = None, environment: Mapping[str, str] = os.environ
    ) -> "Place":
        """What is said, else what torchrun or srun say; else the only one.

        Raises:
            ValueError: If one is given without the other, or they don't fit.
        """
        if (rank is None) != (world_size is None):
            raise ValueError(f"rank is {rank} and world_size {world_size}; give both, or neither.")
        if rank is not None and world_size is not None:
            return cls(rank, world_size, int(environment.get("LOCAL_RANK", 0)))
        for names in _RANKS:
            if names[0] in environment and names[1] in environment:
                return cls(*(int(environment.get(name, 0)) for name in names))
        return cls()


def features_identity(settings: PrepareSettings, source: FoleySource) -> dict[str, Any]:
    """What rows depend on: the weights of every frozen part, the settings and the source.

    Raises:
        AudioAgentError: If a part is missing.
    """
    folder = Path(settings.hub_folder)
    weights = {}
    for part in _FROZEN:
        files = weight_files(folder / part)
        if not files:
            raise AudioAgentError(f"{folder / part} holds no weights; run the recipe that trains it, or load it first.")
        weights[part] = {file.name: file_sha256(file) for file in files}
    return {
        "weights": weights,
        "mel": mel_of(folder).to_dict(),
        "window_s": settings.window_s,
        "frame_pooling": settings.frame_pooling,
        "rows_per_shard": settings.rows_per_shard or rows_per_shard(len(source)),
        "n_clips": len(source),
        "source": dict(source.identity()),
    }


def _check_identity(folder: Path, identity: dict[str, Any], keep_layout: bool) -> dict[str, Any]:
    """Write the identity of a new folder; compare that of one that is there, and return it."""
    path = folder / FEATURES_CONFIG
    if not path.exists():
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
        return identity
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        n_per_shard = int(found["rows_per_shard"])
    except (ValueError, KeyError, TypeError) as error:
        raise AudioAgentError(f"{path} is damaged: {error!r}. Remove {folder} and prepare it anew.") from error
    if keep_layout:
        identity = {**identity, "rows_per_shard": n_per_shard}
    # Through JSON, as the other side went: it knows no tuples.
    now = json.loads(json.dumps(identity))
    wrong = [key for key in now if key in found and found[key] != now[key]]
    if wrong:
        raise AudioAgentError(
            f"{folder} holds features of other {', '.join(wrong)}: {[found[k] for k in wrong]}, now "
            f"{[now[k] for k in wrong]}. Choose another output folder, or remove this one."
        )
    return identity


def default_device(local_rank: int = 0) -> str:
    """A GPU where there is one, else the CPU."""
    return f"cuda:{local_rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"


def default_num_proc(settings: PrepareSettings) -> int:
    """Processes for `prepare`: one per core, as long as their copies of the frozen parts fit half the memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    folder = Path(settings.hub_folder)
    weights = sum(file.stat().st_size for part in _FROZEN for file in weight_files(folder / part))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 16 * 2**30
    return max(1, min(cores, memory // 2 // (2 * weights + _PROCESS_BYTES)))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread per process: clips side by side are faster, and sums don't depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_worker: dict[str, Any] = {}


def _start_worker(settings: PrepareSettings, source: FoleySource, layout: ShardLayout, device: str, done: Any) -> None:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # one process tells enough
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _worker.update(layout=layout, encoders=Encoders(settings, device), source=source, done=done)


def _end_with_parent() -> None:
    """A killed parent can't end its workers, which would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_in_worker(shard: int) -> None:
    layout, encoders, source = _worker["layout"], _worker["encoders"], _worker["source"]
    write_shard(layout, shard, encoders, source, lambda: _worker["done"].put(1))


def _write_shards(
    layout: ShardLayout,
    shards: list[int],
    settings: PrepareSettings,
    source: FoleySource,
    device: str,
    num_proc: int,
    clip_done: Callable[[], None],
) -> None:
    """Write shards in this process and `num_proc - 1` others; this one is at work while the others still start."""
    n_others = min(num_proc, len(shards)) - 1
    waiting, running = deque(shards), set[Future[None]]()
    context = get_context("spawn")
    done = context.SimpleQueue()
    start = (settings, source, layout, device, done)
    pool = ProcessPoolExecutor(n_others, context, _start_worker, start) if n_others else None

    def look(timeout_s: float = 0.0) -> None:
        nonlocal running
        while pool is not None and waiting and len(running) <= n_others:
            running.add(pool.submit(_write_in_worker, waiting.popleft()))
        finished, running = wait(running, timeout_s, FIRST_COMPLETED)
        for future in finished:
            future.result()
        while not done.empty():
            done.get()
            clip_done()

    def own_clip_done() -> None:
        clip_done()
        look()

    try:
        look()
        encoders = Encoders(settings, device)
        while waiting:
            write_shard(layout, waiting.popleft(), encoders, source, own_clip_done)
        while running:
            look(_LOOK_S)
    except BrokenProcessPool as error:
        raise AudioAgentError(
            f"one of the {num_proc} processes that encode ended, as when memory runs out. Finished shards stay; "
            "run the same again with a smaller --num-proc."
        ) from error
    finally:
        # What is not begun is not begun any more, after an error or Ctrl-C.
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def prepare(
    source: FoleySource,
    output: str | Path,
    settings: PrepareSettings,
    *,
    num_proc: int = 1,
    place: Place | None = None,
    device: str | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> PrepareReport:
    """Encode a source into `output`, going on where an earlier run was cut off.

    Several processes or machines share the work by their place, on one folder that all of them see. What one of
    them left is done by whoever runs again, in any number of processes; the shards are the same.

    Args:
        source: Clips.
        output: Folder of shards.
        settings: Frozen parts and how clips are cut.
        num_proc: Processes that encode, each on one core with its own copy of the frozen parts.
        place: Which of several processes on one folder this is; the only one when None.
        device: Where the frozen parts compute; when None, a GPU where there is one.
        callback: Called as `(clips done, clips in all)`: once at the start, then after each clip.

    Raises:
        AudioAgentError: If the folder holds features of other models or settings, a frozen part is missing, or a
            process dies.
        MediaError: If a shard can't be written, or no clip at all can be used.
        ValueError: If `num_proc` is not positive.
    """
    if num_proc < 1:
        raise ValueError(f"num_proc is {num_proc}; give a whole number above 0.")
    place, folder, n_clips = place or Place(), Path(output), len(source)
    if not n_clips:
        raise MediaError(f"there are no clips for {folder}; check the source's path and split.")
    folder.mkdir(parents=True, exist_ok=True)
    identity = features_identity(settings, source)
    identity = _check_identity(folder, identity, keep_layout=settings.rows_per_shard is None)
    remove_leftovers(folder)
    layout = ShardLayout(folder, n_clips, identity["rows_per_shard"])
    mine = [shard for shard in layout.open_shards() if shard % place.world_size == place.rank]
    n_mine = sum(len(layout.clips(shard)) for shard in range(place.rank, len(layout), place.world_size))
    report = PrepareReport()
    n_there = n_mine - sum(len(layout.clips(shard)) for shard in mine)

    def clip_done(count: int = 1) -> None:
        report.n_new += count
        if callback is not None:
            callback(n_there + report.n_new, n_mine)

    clip_done(0)
    device = device or default_device(place.local_rank)
    if mine:
        with _one_thread():
            _write_shards(layout, mine, settings, source, device, num_proc, clip_done)
    report.skipped.update(skipped_clips(folder))
    report.n_rows = count_rows(folder)
    report.n_open = sum(len(layout.clips(shard)) for shard in layout.open_shards())
    if not report.n_rows and not report.n_open:
        reasons = "; ".join(f"{clip}: {reason}" for clip, reason in list(report.skipped.items())[:3])
        raise MediaError(
            f"none of the {n_clips} clips for {folder} can be used: {reasons} audio-agent data check tells more."
        )
    return report
