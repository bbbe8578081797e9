"""What an export is made from, and what must be right before a file is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.planner.plan import Plan
from audio_agent_zoo.rates import SAMPLE_RATE, n_samples
from audio_agent_zoo.studio.provenance import Provenance, checked_provenance

Audio = NDArray[np.float32]

_ADDS_UP = 1e-3  # the limiter only ever lowers; a mix that lies further outside its stems is not theirs


@dataclass(frozen=True)
class ExportProject:
    """What an export is made from.

    Attributes:
        plan: The plan.
        audio: The finished mix, `(samples,)` or `(samples, 2)`, as long as the plan.
        stems: Step id -> its sound at its place and level before the limiter, shaped like `audio`; muted steps
            may be left out.
        sample_rate: Samples per second of all of these.
        renders: Step id -> its sound `(samples,)` before it was cut, faded and levelled; what lies beyond the
            step becomes its handles.
        source_offsets_s: Step id -> second of its render at which the step begins; 0 where nothing is said.
        video: A video whose sound this is.
        provenance: Weights, licence, seeds: what `Provenance` lists.
    """

    plan: Plan
    audio: Audio = field(repr=False)
    stems: Mapping[str, Audio] = field(repr=False)
    sample_rate: int = SAMPLE_RATE
    renders: Mapping[str, Audio] = field(default_factory=dict, repr=False)
    source_offsets_s: Mapping[str, float] = field(default_factory=dict)
    video: str | Path | None = None
    provenance: Provenance = field(default_factory=Provenance)


def check_project(project: ExportProject) -> None:
    """See that a project holds together.

    Raises:
        ValueError: If a sound is not finite, of a wrong length or missing, the stems don't add up to the mix, or
            the provenance has an unknown key.
    """
    checked_provenance(project.provenance)
    plan, audio = project.plan, project.audio
    length = n_samples(plan.duration_s, project.sample_rate)
    if audio.ndim not in (1, 2) or len(audio) != length or (audio.ndim == 2 and audio.shape[1] != 2):
        raise ValueError(f"the mix has the shape {audio.shape}; this plan has ({length},) or ({length}, 2).")
    known = {step.id for step in plan.steps}
    for what, held in (("stems", project.stems), ("renders", project.renders), ("offsets", project.source_offsets_s)):
        if strange := sorted(set(held) - known):
            raise ValueError(f"{what} are given for {', '.join(strange)}; the plan has {', '.join(sorted(known))}.")
    if missing := [step.id for step in plan.steps if not step.muted and step.id not in project.stems]:
        raise ValueError(f"stems are missing for {', '.join(missing)}; give one for each step that sounds.")
    for name, stem in project.stems.items():
        if stem.shape != audio.shape:
            raise ValueError(f"the stem of {name} has the shape {stem.shape}, the mix {audio.shape}; make them alike.")
    for name, render in project.renders.items():
        if render.ndim != 1 or not len(render):
            raise ValueError(f"the render of {name} has the shape {render.shape}; give mono sound (samples,).")
    sounds = {"the mix": audio, **project.stems, **{f"the render of {n}": a for n, a in project.renders.items()}}
    if broken := [name for name, sound in sounds.items() if not np.isfinite(sound).all()]:
        raise ValueError(
            f"{', '.join(broken)} holds values that are no numbers (NaN or infinity); nothing was written."
        )
    if project.stems:
        total = sum((stem.astype(np.float64) for stem in project.stems.values()), np.zeros(audio.shape))
        beyond = max(np.max(audio - np.maximum(total, 0)), np.max(np.minimum(total, 0) - audio))
        if beyond > _ADDS_UP:
            raise ValueError(f"the stems don't add up to the mix (off by {beyond:.3g}); export what one mix() made.")
