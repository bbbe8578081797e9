"""A call of the text-to-audio pipeline, checked before anything is computed."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from audio_agent_zoo.pipelines.windows import Window
from audio_agent_zoo.rates import check_duration

MAX_PROMPT_CHARACTERS = 1000
MAX_SEED = 2**63 - 1


class Guide(Protocol):
    """Something that tells the UNet more than the text does, such as a video."""

    def unet_arguments(self, windows: Sequence[Window], aspect: float, guided: bool) -> dict[str, Any]:
        """Keyword arguments of one UNet call.

        Args:
            windows: The images denoised together, all of one width.
            aspect: Width over height of their latents.
            guided: Whether an empty half of the batch comes first.
        """


@dataclass(frozen=True)
class Request:
    """What to make: lists with one entry per sound, and how all of them are sampled.

    Attributes:
        prompts: What is heard.
        durations_s: Length of each in seconds.
        negatives: What each steers away from; "" for nothing.
        seeds: Seed of each.
        steps: Denoising steps.
        guidance: Classifier-free guidance; off at 1 and below.
    """

    prompts: list[str]
    durations_s: list[float]
    negatives: list[str]
    seeds: list[int]
    steps: int
    guidance: float

    @classmethod
    def checked(
        cls,
        prompt: str | Sequence[str],
        duration_s: float | Sequence[float],
        negative_prompt: str | Sequence[str | None] | None,
        seed: int | Sequence[int],
        *,
        steps: int,
        guidance: float,
        most_steps: int,
    ) -> "Request":
        """Spread single values over all prompts and refuse what can't be made.

        Args:
            prompt: One or several.
            duration_s: One for all or one each.
            negative_prompt: One for all or one each; "" or None for nothing.
            seed: One for all or one each.
            steps: Denoising steps.
            guidance: Classifier-free guidance.
            most_steps: Steps the noise schedule has.

        Raises:
            ValueError: For empty prompts, unusable numbers or lists of different lengths.
        """
        prompts = _checked_prompts(prompt)
        n = len(prompts)
        if not 1 <= steps <= most_steps:
            raise ValueError(f"num_inference_steps is {steps}; give 1 to {most_steps}.")
        if not math.isfinite(guidance):
            raise ValueError(f"guidance_scale is {guidance}; give a number, 1 or less for no guidance.")
        negatives = _per_prompt(negative_prompt, n, "negative_prompt")
        return cls(
            prompts=prompts,
            durations_s=[check_duration(value) for value in _per_prompt(duration_s, n, "duration_s")],
            negatives=[(text or "").strip() for text in negatives],
            seeds=[_checked_seed(value) for value in _per_prompt(seed, n, "seed")],
            steps=steps,
            guidance=float(guidance),
        )


def _per_prompt(value: Any, n: int, name: str) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} holds {len(value)} entries for {n} prompts; give one, or one per prompt.")
    return list(value)


def _checked_seed(value: Any) -> int:
    try:
        seed = operator.index(value)
    except TypeError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed is {value!r}; give a whole number from 0 to {MAX_SEED}.")
    return seed


def _checked_prompts(prompt: str | Sequence[str]) -> list[str]:
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts:
        raise ValueError("the list of prompts is empty; give at least one.")
    for text in prompts:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"prompt is {text!r}; give a few words that describe a sound.")
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise ValueError(
                f"a prompt has {len(text)} characters, at most {MAX_PROMPT_CHARACTERS} are accepted; "
                "a planner splits long requests (`audio-agent generate`)."
            )
    return prompts
