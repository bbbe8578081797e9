"""Commands that make sound: plan, generate, dub."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.rates import check_duration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from audio_agent_zoo.pipelines.audio_agent import AudioAgentOutput
    from audio_agent_zoo.pipelines.dubbing import DubOutput
    from audio_agent_zoo.planner.plan import Plan


def _make_plan(arguments: argparse.Namespace) -> "Plan":
    from audio_agent_zoo.planner import make_planner

    return make_planner(arguments.planner).plan(
        arguments.text, duration_s=check_duration(arguments.duration, "--duration")
    )


def plan(arguments: argparse.Namespace) -> int:
    """Print the plan of a request."""
    from audio_agent_zoo.planner import plan_table

    made = _make_plan(arguments)
    print(made.to_json() if arguments.json else plan_table(made))
    return 0


def _progress_bar() -> Callable[[int, int], None]:
    from tqdm import tqdm

    bar = tqdm(desc="denoising", unit="step", file=sys.stderr)

    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return advance


def _read_plan(path: Path) -> "Plan":
    from audio_agent_zoo.planner.plan import Plan

    try:
        return Plan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(
            f"{path} can't be read as a plan: {error}. Give a .plan.json that `generate` wrote."
        ) from error


def _check_writable(out: Path, *suffixes: str) -> None:
    """Fail before the work, not after it, where the result could not be written anyway."""
    if out.suffix.lower() not in suffixes:
        raise ValueError(f"--out is {str(out)!r}; give a name that ends in {' or '.join(suffixes)}.")
    if out.is_dir():
        raise MediaError(f"{out} is a folder; give the name of a file.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe = out.parent / f".{out.name}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MediaError(f"{out} can't be written: {error.strerror}. Choose another folder with --out.") from error


def _write(
    output: "AudioAgentOutput | DubOutput", out: Path, stems: bool, title: str, video: Path | None = None
) -> list[Path]:
    from audio_agent_zoo.app.filmstrip import read_strip
    from audio_agent_zoo.app.timeline import draw_timeline
    from audio_agent_zoo.media import atomic_path, write_audio

    plan_path, picture = out.with_suffix(".plan.json"), out.with_suffix(".png")
    write_audio(out, output.audio, output.sample_rate)
    with atomic_path(plan_path) as partial:
        partial.write_text(output.plan.to_json() + "\n", encoding="utf-8")
    draw_timeline(
        picture,
        output.audio,
        output.sample_rate,
        output.plan.steps,
        title=title,
        notes=output.notes,
        frames=None if video is None else read_strip(video),
        # Of the picture's own sound alone: under rain nobody finds a step.
        onsets_s=() if video is None else _onsets_s(next(iter(output.stems.values())), output.sample_rate),
    )
    written = [out, plan_path, picture]
    for step_id, stem in output.stems.items() if stems else ():
        path = out.with_name(f"{out.stem}.{step_id}.wav")
        write_audio(path, stem, output.sample_rate)
        written.append(path)
    return written


def _onsets_s(audio: "NDArray[np.float32]", sample_rate: int) -> list[float]:
    """Seconds of the onsets that the picture marks; minute by minute, for their detector keeps spectra of it all."""
    from audio_agent_zoo.metrics.onsets import CONDFOLEY, detect_onsets

    minute = 60 * sample_rate
    pieces = [
        (start, detect_onsets(audio[start : start + minute], sample_rate, CONDFOLEY))
        for start in range(0, len(audio), minute)
    ]
    return [start / sample_rate + time_s for start, found in pieces for time_s in found.times_s.tolist()]


def generate(arguments: argparse.Namespace) -> int:
    """Plan a request, make every sound, write the mix."""
    from audio_agent_zoo.planner import plan_table

    started = perf_counter()
    _check_writable(arguments.out, ".wav")
    made = _read_plan(arguments.plan) if arguments.plan else _make_plan(arguments)
    seconds = {"plan": perf_counter() - started}
    print(plan_table(made), flush=True)

    started = perf_counter()
    from audio_agent_zoo.pipelines.audio_agent import AudioAgent

    agent = AudioAgent.from_pretrained(
        arguments.weights, planner="rules", revision=arguments.revision, device=arguments.device
    )
    seconds["load"] = perf_counter() - started
    output = agent.render(
        made,
        seed=arguments.seed,
        num_inference_steps=arguments.steps,
        guidance_scale=arguments.guidance,
        callback=_progress_bar(),
    )
    seconds.update(output.seconds)
    started = perf_counter()
    written = _write(output, arguments.out, arguments.stems, made.request or arguments.text)
    seconds["write"] = perf_counter() - started
    for note in output.notes:
        print(f"note: {note}")
    print(f"weights  {agent.text_to_audio.name}")
    print("seconds  " + "  ".join(f"{stage} {value:.2f}" for stage, value in seconds.items()))
    print("wrote    " + "  ".join(str(path) for path in written))
    return 0


def _stage_bars() -> Callable[[str, int, int], None]:
    from tqdm import tqdm

    bars: dict[str, tqdm[None]] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = tqdm(desc=stage, file=sys.stderr)
        bar = bars[stage]
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return advance


def dub(arguments: argparse.Namespace) -> int:
    """Make the sound of a video and put it under the picture."""
    from audio_agent_zoo.media import mux, probe_video
    from audio_agent_zoo.pipelines.dubbing import Layer
    from audio_agent_zoo.planner import plan_table

    video = arguments.video
    out = arguments.out or video.with_name(f"{video.stem}.dub{video.suffix}")
    _check_writable(out, ".mp4", ".m4v", ".mov", ".mkv")
    layers = [Layer.parse(text) for text in arguments.layer]
    info = probe_video(video)
    print(f"video    {video}  {info.width}x{info.height}, {info.fps:.4g} fps, {info.duration_s:.2f} s", flush=True)

    started = perf_counter()
    from audio_agent_zoo.hub import resolve
    from audio_agent_zoo.pipelines.dubbing import dub as dub_video
    from audio_agent_zoo.pipelines.memory_plan import memory_plan
    from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline

    print(f"memory   {memory_plan(resolve(arguments.weights, revision=arguments.revision))}", flush=True)
    pipeline = VideoToAudioPipeline.from_pretrained(
        arguments.weights, revision=arguments.revision, device=arguments.device
    )
    seconds = {"load": perf_counter() - started}
    output = dub_video(
        pipeline,
        video,
        arguments.caption,
        layers,
        visual_scale=arguments.visual_scale,
        seed=arguments.seed,
        num_inference_steps=arguments.steps,
        guidance_scale=arguments.guidance,
        callback=_stage_bars(),
    )
    seconds.update(output.seconds)
    started = perf_counter()
    written = _write(output, out.with_suffix(".wav"), False, arguments.caption or video.name, video=video)
    mux(video, output.audio, output.sample_rate, out)
    seconds["write"] = perf_counter() - started
    print(plan_table(output.plan))
    for note in output.notes:
        print(f"note: {note}")
    print(f"weights  {pipeline.name}")
    print("seconds  " + "  ".join(f"{stage} {value:.2f}" for stage, value in seconds.items()))
    print("wrote    " + "  ".join(str(path) for path in [out, *written]))
    return 0
