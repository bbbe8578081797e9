"""How much faster `prepare` is than the script one would write first; ratios within one run."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

import av
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from audio_agent_zoo.data.clip_encoders import GRID_S, PrepareSettings
from audio_agent_zoo.data.prepare import prepare
from audio_agent_zoo.data.sources.folder import FolderSource
from audio_agent_zoo.hub import FRAME_ENCODER, HUBERT, SEMANTIC_QUANTIZER, resolve
from audio_agent_zoo.media import read_soundtrack, write_video
from audio_agent_zoo.models.frame_encoder import FrameEncoder
from audio_agent_zoo.models.hubert_tokenizer import HubertTokenizer
from audio_agent_zoo.models.mel import MelConfig, log_mel, to_image
from audio_agent_zoo.rates import FRAME_RATE
from audio_agent_zoo.synthesis.clips import make_clip
from audio_agent_zoo.synthesis.scenes import VISIBLE_CLASSES, render_scene

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

N_CLIPS, CLIP_S, SIDE = 160, 2.56, 128
CORES = 2


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Procedural videos, as files."""
    folder = tmp_path_factory.mktemp("clips")
    for i in range(N_CLIPS):
        name = VISIBLE_CLASSES[i % len(VISIBLE_CLASSES)]
        clip = make_clip(i, "train", CLIP_S, class_name=name)
        frames = render_scene(name, clip.events, CLIP_S, seed=i, size=SIDE)
        (folder / name).mkdir(exist_ok=True)
        write_video(folder / name / f"{i}.mp4", frames, FRAME_RATE, clip.audio)
    return folder


def every_frame(path: Path, size: int) -> Iterator[NDArray[np.uint8]]:
    """Frames of a video at 21.5 per second, the plain way: a nearest frame for every instant."""
    with av.open(str(path)) as container:
        count = 0
        for frame in container.decode(video=0):
            while frame.time is not None and count / FRAME_RATE <= frame.time + 0.5 / FRAME_RATE:
                yield frame.to_ndarray(format="rgb24", width=size, height=size)
                count += 1


def plain_script(paths: Sequence[Path], weights: Path, out: Path) -> float:
    """One process, one picture and one clip at a time; its seconds, without those of loading the models."""
    frame_encoder = FrameEncoder.from_pretrained(weights / FRAME_ENCODER)
    tokenizer = HubertTokenizer.from_pretrained(weights / HUBERT, weights / SEMANTIC_QUANTIZER)
    vae = AutoencoderKL.from_pretrained(weights, subfolder="vae").eval()
    mel = MelConfig(n_mels=int(json.loads((weights / "vocoder" / "config.json").read_text())["num_mels"]))
    started = perf_counter()
    for path in paths:
        frames = [frame_encoder.encode(frame[None])[0] for frame in every_frame(path, frame_encoder.image_size)]
        audio = torch.from_numpy(read_soundtrack(path))
        audio = audio[: int(len(audio) / 16_000 / GRID_S) * int(GRID_S * 16_000)]
        tokens = tokenizer.encode([audio])[0]
        with torch.inference_mode():
            latents = vae.encode(to_image(log_mel(audio[None], mel), mel)).latent_dist.mode()
        np.savez(out / path.stem, frames=torch.stack(frames).half(), tokens=tokens, latents=latents.half())
    return perf_counter() - started


def decoding_alone(source: FolderSource, size: int) -> float:
    """Seconds that it takes to read pictures and sound of every clip, in one process."""
    started = perf_counter()
    for index in range(len(source)):
        for _ in source.example(index, size).frames:
            pass
    return perf_counter() - started


def test_three_times_as_fast_as_the_plain_script_or_as_fast_as_the_decoder(clips: Path, tmp_path: Path) -> None:
    weights, source = resolve("foley-mini", parts=("*",)), FolderSource(clips, validation_share=0.0)
    (tmp_path / "plain").mkdir()
    paths, threads = sorted(clips.glob("*/*.mp4")), torch.get_num_threads()
    by_threads = dict[int, float]()
    for n in (1, CORES):  # it may have the threads that suit it best
        torch.set_num_threads(n)
        by_threads[n] = plain_script(paths[:1], weights, tmp_path / "plain")
    torch.set_num_threads(min(by_threads, key=lambda n: by_threads[n]))
    plain_s = plain_script(paths, weights, tmp_path / "plain")
    torch.set_num_threads(threads)
    times = [perf_counter()]  # of the start, then of each clip
    settings = PrepareSettings(str(weights), CLIP_S)
    prepare(  # type: ignore[arg-type]
        source, tmp_path / "ours", settings, num_proc=CORES, callback=lambda *_: times.append(perf_counter())
    )
    whole_s, decoding_s = perf_counter() - times[0], decoding_alone(source, 64) / CORES
    # The second half of the clips, when every process is at work: starting them takes as long for 10,000 clips.
    ours_s = 2 * (times[-1] - times[-1 - N_CLIPS // 2])
    ratio, limit = plain_s / ours_s, plain_s / decoding_s
    print(
        f"\n{N_CLIPS} clips of {CLIP_S:g} s: plain script {plain_s:.1f} s; prepare {ours_s:.1f} s, {ratio:.2f}x as fast"
    )
    print(f"({whole_s:.1f} s with the start of its processes); decoding alone on {CORES} cores {limit:.2f}x")
    assert len(list((tmp_path / "plain").iterdir())) == N_CLIPS
    assert ratio >= min(3.0, limit)
