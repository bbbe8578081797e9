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
_AMPLITUDE, _SIDE = (
    "e4962321-2267-11d3-8a4c-0050040ef7d2",
    "e4962322-2267-11d3-8a4c-0050040ef7d2",
)


def aaf_library() -> Any:
    """The library that writes AAF.

    Raises:
        ImportError: If pyaaf2 is not installed; the message has the pip line.
    """
    try:
        return import_module("aaf2")  # it has no types for a checker
    except ImportError as error:
        raise ImportError(
            'an AAF file needs its library: pip install "audio-agent-zoo[daw]", or leave "aaf" out.'
        ) from error


def write_aaf(path: Path, items: Sequence[Item], *, title: str, frame_rate: float, start_hour: int = 0) -> None:
    """Write an AAF file that holds every item's whole file as 24-bit PCM, and the timeline over them.

    One track per item, counted in samples. Level and pan are gain and pan operations around the clip, fades
    are dissolves with silence; muted steps are left out, since AAF can't say it of a clip. Finished stereo
    stems lie on two tracks, left and right.

    Args:
        path: File to write, in the folder that the files of the items are relative to.
        items: Items in the order of their tracks.
        title: Name of the composition.
        frame_rate: Frames per second of the timecode.
        start_hour: Hour the timecode begins with.

    Raises:
        ImportError: If pyaaf2 is not installed; the message has the pip line.
        MediaError: If a sound can't be written.
    """
    import soundfile

    aaf2 = aaf_library()
    with TemporaryDirectory() as folder, aaf2.open(str(path), "w") as file:
        timeline = _Timeline(file, title)
        timeline.add_timecode(frame_rate, start_hour)
        for number, item in enumerate(one for one in items if not one.step.muted):
            audio, _ = soundfile.read(path.parent / item.file, dtype="float32", always_2d=True)
            channels = audio.T
            for side, channel in enumerate(channels):
                wav = Path(folder) / f"{number}_{side}.wav"
                # PCM ends at full scale, so what is above it is stored lower and brought back by the gain.
                scale = max(1.0, float(np.max(np.abs(channel), initial=0.0)))
                write_audio(wav, channel / np.float32(scale), item.sample_rate, subtype="PCM_24")
                is_mono = len(channels) == 1
                name = item.name if is_mono else f"{item.name} {'LR'[side]}"
                timeline.add_track(wav, name, item, item.level * scale, item.pan if is_mono else 2.0 * side - 1)
                wav.unlink()


class _Timeline:
    """A composition that grows track by track, with the operations it is made of."""

    def __init__(self, file: Any, title: str) -> None:
        self._create, self._mobs = file.create, file.content.mobs
        self._composition = self._create.CompositionMob(title)
        self._composition.usage = "Usage_TopLevel"
        self._mobs.append(self._composition)
        self._amplitude = self._parameter(file, _AMPLITUDE, "Amplitude")
        self._side = self._parameter(file, _SIDE, "Pan")
        self._gain = self._operation(file, _GAIN, "Mono Audio Gain", 1, self._amplitude)
        self._pan = self._operation(file, _PAN, "Mono Audio Pan", 1, self._side)
        self._dissolve = self._operation(file, _DISSOLVE, "Mono Audio Dissolve", 2)

    def _parameter(self, file: Any, identifier: str, name: str) -> Any:
        parameter = self._create.ParameterDef(identifier, name, "", file.dictionary.lookup_typedef("Rational"))
        file.dictionary.register_def(parameter)
        return parameter

    def _operation(self, file: Any, identifier: str, name: str, n_inputs: int, *parameters: Any) -> Any:
        operation = self._create.OperationDef(identifier, name, "")
        operation.number_inputs, operation.media_kind = n_inputs, "sound"
        file.dictionary.register_def(operation)
        operation.parameters.extend(parameters)
        return operation

    def add_timecode(self, frame_rate: float, start_hour: int) -> None:
        """Say which frame the first one is."""
        slot = self._composition.create_timeline_slot(edit_rate=str(Fraction(frame_rate).limit_denominator(1001)))
        slot.name = "timecode"
        slot.segment = self._create.Timecode(fps=round(frame_rate), drop=dropped_labels(frame_rate) > 0)
        slot.segment.start = first_frame(frame_rate, start_hour)

    def add_track(self, wav: Path, name: str, item: Item, level: float, pan: float | None) -> None:
        """Store a file and lay the item's piece of it on a track of its own."""
        source = self._create.MasterMob(name)
        self._mobs.append(source)
        essence = source.import_audio_essence(str(wav), item.sample_rate)
        clip = source.create_source_clip(
            essence.slot_id, start=item.source_offset, length=item.length, media_kind="sound"
        )
        piece = self._around(clip, self._gain, self._amplitude, level)
        if pan is not None:
            piece = self._around(piece, self._pan, self._side, (pan + 1) / 2)
        slot = self._composition.create_timeline_slot(edit_rate=item.sample_rate)
        slot.name = name
        slot.segment = self._create.Sequence("sound", item.start + item.length)
        parts = slot.segment.components
        # A dissolve lies over the end of one part and the beginning of the next; both must be as long as it.
        if item.start + item.fade_in:
            parts.append(self._create.Filler("sound", item.start + item.fade_in))
        if item.fade_in:
            parts.append(self._transition(item.fade_in))
        parts.append(piece)
        if item.fade_out:
            parts.append(self._transition(item.fade_out))
            parts.append(self._create.Filler("sound", item.fade_out))

    def _around(self, segment: Any, operation: Any, parameter: Any, value: float) -> Any:
        """An operation with one constant parameter around a segment."""
        group = self._create.OperationGroup(operation, segment.length, "sound")
        group.segments.append(segment)
        fraction = str(Fraction(value).limit_denominator(1_000_000))
        group.parameters.append(self._create.ConstantValue(parameter, fraction))
        return group

    def _transition(self, length: int) -> Any:
        transition = self._create.Transition("sound", length)
        transition["OperationGroup"].value = self._create.OperationGroup(self._dissolve, length, "sound")
        transition.cutpoint = length // 2
        return transition
