"""Evaluation: a recipe names what is measured on which weights; results.json holds what came out."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import yaml

from audio_agent_zoo.evaluation.caption_table import CaptionTableEvaluation
from audio_agent_zoo.evaluation.feature_table import FeatureTableEvaluation
from audio_agent_zoo.evaluation.results import results_table
from audio_agent_zoo.evaluation.sanity import SanityEvaluation
from audio_agent_zoo.evaluation.text_to_audio import TextToAudioEvaluation
from audio_agent_zoo.evaluation.video_table import VideoTableEvaluation
from audio_agent_zoo.evaluation.video_to_audio import VideoToAudioEvaluation

__all__ = [
    "EVALUATIONS",
    "CaptionTableEvaluation",
    "Evaluation",
    "FeatureTableEvaluation",
    "SanityEvaluation",
    "TextToAudioEvaluation",
    "VideoTableEvaluation",
    "VideoToAudioEvaluation",
    "evaluate",
    "read_recipe",
    "results_table",
]


class Evaluation(Protocol):
    """Settings that know how to be measured."""

    @property
    def weights(self) -> str:
        """What is measured."""

    @property
    def output(self) -> str:
        """Folder of the results."""

    def run(self, recipe: Path, output: Path | None = None) -> dict[str, Any]:
        """Measure and write the results."""


EVALUATIONS: dict[str, type[Any]] = {
    "text_to_audio": TextToAudioEvaluation,
    "video_to_audio": VideoToAudioEvaluation,
    "feature_table": FeatureTableEvaluation,
    "caption_table": CaptionTableEvaluation,
    "video_table": VideoTableEvaluation,
    "sanity": SanityEvaluation,
}
"""Value of a recipe's `task` -> what is measured."""


def read_recipe(path: Path) -> Evaluation:
    """Read an evaluation recipe.

    Raises:
        ValueError: If it is no mapping, names no known task, or holds an unknown key.
    """
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or values.get("task") not in EVALUATIONS:
        raise ValueError(f"{path} is no evaluation recipe: its task must be one of {', '.join(EVALUATIONS)}.")
    kind = EVALUATIONS[values.pop("task")]
    known = {field.name for field in fields(kind)}
    if unknown := set(values) - known:
        raise ValueError(f"{path} holds unknown keys {sorted(unknown)}; known are {sorted(known)}.")
    read: Evaluation = kind(**values)
    return read


def evaluate(recipe: Path, output: Path | None = None) -> dict[str, Any]:
    """Run an evaluation recipe and write `results.json`, `results.md`, `results.html` and sounds into its folder.

    Sounds that an earlier run with the same weights and settings made are read, not made again; after a kill, the
    same call goes on. Several processes may be given the same folder and share the work.

    Args:
        recipe: YAML with a `task` and the fields of its evaluation.
        output: Folder instead of the recipe's.

    Returns:
        What `results.json` holds: settings, package versions and figures.

    Raises:
        ValueError: For a recipe with unknown keys.
        WeightsError: If the weights can't be loaded.
    """
    return read_recipe(recipe).run(recipe, output)
