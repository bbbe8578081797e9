"""AAF for audio workstations, with the sound inside. Experimental: read back by its library, never by a workstation."""

from collections.abc import Sequence
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from audio_agent_zoo.media import write_audio
from audio_agent_zoo.studio.timecode import dropped_labels, first_frame
from audio_agent_zoo.studio.timeline_items import Item

# Identifiers of the standard's own operations and parameters.
_GAIN, _PAN, _DISSOLVE = (
    "9d2ea894-0968-11d3-8a38-0050040ef7d2",
    "9d2ea893-0968-11d3-8a38-0050040ef7d2",
    "0c3bea41-fc05-11d2-8a29-0050040ef7d2",
)
_AMPLITUDE_PARAMETER, _PAN_PARAMETER = (
    "e4962321-2267-11d3-8a4c-0050040ef7d2",
    "e4962322-2267-11d3-8a4c-0050040ef7d2",
)


def _library() -> Any:
    try:
        return import_module("aaf2")  # it has no types for a checker
    except ImportError as error:
        raise ImportError(
            'an AAF file needs its library: pip install "audio-agent-zoo[daw]", or leave "aaf" out.'
        ) from error


def write_aaf(path: Path, items: Sequence[Item], *, name: str, frame_rate: float, start_hour: int = 0) -> None:
    """Write an AAF file that holds every item's whole file as 24-bit PCM, and the timeline over them.

    One track per item, counted in samples. Level and pan are gain and pan operations around the clip, fades
    are dissolves with silence; muted steps are left out, since AAF can't say it of a clip. Finished stereo
    stems lie on two tracks, left and right.

    Args:
        path: File to write, in the folder that the files of the items are relative to.
        items: Items in the order of their tracks.
        name: Name of the composition.
        frame_rate: Frames per second of the timecode.
        start_hour: Hour the timecode begins with.

    Raises:
        ImportError: If pyaaf2 is not installed; the message has the pip line.
        MediaError: If a sound can't be written.
    """
    import soundfile

    aaf2 = _library()
    with TemporaryDirectory() as folder, aaf2.open(str(path), "w") as file:
        _define_operations(file)
        composition = file.create.CompositionMob(name)
        composition.usage = "Usage_TopLevel"
        file.content.mobs.append(composition)
        _add_timecode(file, composition, frame_rate, start_hour)
        for number, item in enumerate(one for one in items if not one.step.muted):
            audio, _ = soundfile.read(path.parent / item.file, dtype="float32", always_2d=True)
            channels = audio.T
            for side, channel in enumerate(channels):
                wav = Path(folder) / f"{number}_{side}.wav"
                # PCM ends at full scale, so what is above it is stored lower and brought back by the gain.
                scale = max(1.0, float(np.max(np.abs(channel), initial=0.0)))
                write_audio(wav, channel / np.float32(scale), item.sample_rate, subtype="PCM_24")
                pan = item.pan if len(channels) == 1 else (-1.0, 1.0)[side]
                _add_track(file, composition, wav, item, item.level * scale, pan)
                wav.unlink()


def _define_operations(file: Any) -> None:
    dictionary, create = file.dictionary, file.create
    for identifier, name in ((_AMPLITUDE_PARAMETER, "Amplitude"), (_PAN_PARAMETER, "Pan")):
        dictionary.register_def(create.ParameterDef(identifier, name, "", dictionary.lookup_typedef("Rational")))
    for identifier, name, n_inputs in ((_GAIN, "Mono Audio Gain", 1), (_PAN, "Mono Audio Pan", 1)):
        operation = create.OperationDef(identifier, name, "")
        operation["NumberInputs"].value = n_inputs
        operation.media_kind = "sound"
        dictionary.register_def(operation)
    dissolve = create.OperationDef(_DISSOLVE, "Mono Audio Dissolve", "")
    dissolve["NumberInputs"].value = 2
    dissolve.media_kind = "sound"
    dictionary.register_def(dissolve)


def _add_timecode(file: Any, composition: Any, frame_rate: float, start_hour: int) -> None:
    slot = composition.create_timeline_slot(edit_rate=str(Fraction(frame_rate).limit_denominator(1001)))
    slot.name = "timecode"
    timecode = file.create.Timecode(fps=round(frame_rate), drop=dropped_labels(frame_rate) > 0)
    timecode.start = first_frame(frame_rate, start_hour)
    slot.segment = timecode


def _around(file: Any, segment: Any, operation: str, parameter: str, value: float) -> Any:
    """An operation with one constant parameter around a segment."""
    group = file.create.OperationGroup(operation, segment.length, "sound")
    group.segments.append(segment)
    constant = file.create.ConstantValue(parameter, str(Fraction(value).limit_denominator(1_000_000)))
    group.parameters.append(constant)
    return group


def _add_track(file: Any, composition: Any, wav: Path, item: Item, level: float, pan: float | None) -> None:
    rate = item.sample_rate
    source = file.create.MasterMob(item.name)
    file.content.mobs.append(source)
    essence = source.import_audio_essence(str(wav), rate)
    clip = source.create_source_clip(essence.slot_id, start=item.source_offset, length=item.length, media_kind="sound")
    segment = _around(file, clip, _GAIN, _AMPLITUDE_PARAMETER, level)
    if pan is not None:
        segment = _around(file, segment, _PAN, _PAN_PARAMETER, (pan + 1) / 2)
    slot = composition.create_timeline_slot(edit_rate=rate)
    slot.name = item.name
    sequence = file.create.Sequence("sound")
    slot.segment = sequence
    # A dissolve lies over the end of one piece and the beginning of the next, which both must hold it.
    before = item.start + item.fade_in
    if before:
        sequence.components.append(file.create.Filler("sound", before))
    if item.fade_in:
        sequence.components.append(_dissolve(file, item.fade_in))
    sequence.components.append(segment)
    if item.fade_out:
        sequence.components.append(_dissolve(file, item.fade_out))
        sequence.components.append(file.create.Filler("sound", item.fade_out))
    sequence.length = item.start + item.length


def _dissolve(file: Any, length: int) -> Any:
    transition = file.create.Transition("sound", length)
    transition["OperationGroup"].value = file.create.OperationGroup(_DISSOLVE, length, "sound")
    transition.cutpoint = length // 2
    return transition
