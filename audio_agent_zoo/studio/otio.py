"""OpenTimelineIO: the timeline for editors, with levels, pan and fades where other programs can read them."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from audio_agent_zoo.planner.plan import Plan
from audio_agent_zoo.studio.timecode import first_frame
from audio_agent_zoo.studio.timeline_items import Item

METADATA_KEY = "audio_agent_zoo"
"""Under this key lies what OpenTimelineIO itself has no words for."""


def otio_library() -> Any:
    """The library that writes OpenTimelineIO.

    Raises:
        ImportError: If it is not installed; the message has the pip line.
    """
    try:
        return import_module("opentimelineio")  # it has no types for a checker
    except ImportError as error:
        raise ImportError(
            'an OpenTimelineIO file needs its library: pip install "audio-agent-zoo[daw]", or leave "otio" out.'
        ) from error


def _clip(item: Item, otio: Any) -> Any:
    rate = item.sample_rate

    def span(start: int, length: int) -> Any:
        return otio.opentime.TimeRange(
            otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(length, rate)
        )

    mix = {
        "level_db": item.level_db,
        "pan": item.pan,
        "fade_in_samples": item.fade_in,
        "fade_out_samples": item.fade_out,
        "fade_shape": "quarter sine",
        "sample_rate": rate,
    }
    about = {
        "step": item.step.model_dump(mode="json"),
        "is_finished_stem": item.is_stem,
        **mix,
    }
    clip = otio.schema.Clip(
        name=item.name,
        media_reference=otio.schema.ExternalReference(target_url=item.file, available_range=span(0, item.file_length)),
        source_range=span(item.source_offset, item.length),
        metadata={METADATA_KEY: about},
    )
    clip.enabled = not item.step.muted
    for name, fields in (
        ("AudioGain", {"level_db": item.level_db}),
        ("AudioPan", {"pan": item.pan}),
        ("AudioFadeIn", {"duration_samples": item.fade_in, "sample_rate": rate}),
        ("AudioFadeOut", {"duration_samples": item.fade_out, "sample_rate": rate}),
    ):
        if name != "AudioPan" or item.pan is not None:
            clip.effects.append(otio.schema.Effect(name=name, effect_name=name, metadata={METADATA_KEY: fields}))
    return clip


def otio_timeline(
    items: Sequence[Item],
    plan: Plan,
    *,
    sample_rate: int,
    frame_rate: float,
    start_hour: int = 0,
    video_file: str | None = None,
    video_duration_s: float = 0.0,
) -> str:
    """The text of an OpenTimelineIO file (.otio): one audio track per item, counted in samples.

    OpenTimelineIO has no levels, pan and fades of its own. They are effects of each clip, and its metadata
    under `audio_agent_zoo` together with its step; a muted step is a disabled clip.

    Args:
        items: Items in the order of their tracks.
        plan: The plan they come from.
        sample_rate: Samples per second.
        frame_rate: Frames per second of the timecode.
        start_hour: Hour the timecode begins with.
        video_file: A video for a first track, by its name relative to the timeline.
        video_duration_s: Length of that video in seconds.

    Raises:
        ImportError: If OpenTimelineIO is not installed; the message has the pip line.
    """
    otio = otio_library()

    def span(length: int, rate: float) -> Any:
        return otio.opentime.TimeRange(otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(length, rate))

    timeline = otio.schema.Timeline(
        name=plan.request[:80] or "timeline",
        global_start_time=otio.opentime.RationalTime(first_frame(frame_rate, start_hour), frame_rate),
        metadata={METADATA_KEY: {"plan_digest": plan.digest, "duration_s": plan.duration_s, "synthetic": True}},
    )
    if video_file:
        picture = span(round(video_duration_s * frame_rate), frame_rate)
        track = otio.schema.Track(name="picture", kind=otio.schema.TrackKind.Video)
        reference = otio.schema.ExternalReference(target_url=video_file, available_range=picture)
        track.append(otio.schema.Clip(name="picture", media_reference=reference, source_range=picture))
        timeline.tracks.append(track)
    for item in items:
        track = otio.schema.Track(name=item.name, kind=otio.schema.TrackKind.Audio)
        if item.start:
            track.append(otio.schema.Gap(source_range=span(item.start, sample_rate)))
        track.append(_clip(item, otio))
        timeline.tracks.append(track)
    return str(timeline.to_json_string(indent=2)) + "\n"
