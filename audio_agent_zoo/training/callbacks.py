"""What happens beside the optimisation: writing the published folder."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer

from audio_agent_zoo.hub import SEMANTIC_QUANTIZER, cached_revision, halve_weights
from audio_agent_zoo.media import atomic_path
from audio_agent_zoo.models.mel import MelConfig
from audio_agent_zoo.published import CONFIG_NAME, Base, Generation, PublishedConfig, VideoGeneration
from audio_agent_zoo.published_card import write_card
from audio_agent_zoo.training.averaged_training import AveragedTraining
from audio_agent_zoo.training.sharding import whole

_STAGED = ".unfinished-"
_BETTER = {
    "loss": "lower",
    "accuracy": "higher",
    "onset_average_precision": "higher",
    "onset_detection_accuracy": "higher",
    "onset_f1": "higher",
}


@runtime_checkable
class Publishable(Protocol):
    """A training that can write its parts of a published folder."""

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the parts this stage trains into `folder`."""


class PublishParts(Callback):
    """Write the stage's parts into the published folder after each validation, with its config, figures and card.

    The stages of a model share a folder: what another stage wrote stays as it is. Files take their places when all of
    them are written, so that a kill leaves the state before.

    Args:
        folder: Published folder.
        name: What the weights are called; with "" a folder without a config gets none, as an ablation wants it.
        license: Licence of the trained weights.
        generation: How the text-to-audio base likes to be sampled; what the folder says when None.
        video: How video becomes sound; what the folder says when None.
        bases: Frozen parts that the folder refers to and does not hold: part -> repo, revision, license.
        monitor: Figure of the validation that must be lower than ever for the parts to be written, which keeps the
            best ones; None writes the latest.
        half_precision: Write weights as float16, which halves the folder; centroids stay as they are.
    """

    def __init__(
        self,
        folder: str,
        name: str = "",
        license: str = "apache-2.0",
        generation: Generation | None = None,
        video: VideoGeneration | None = None,
        bases: dict[str, Base] | None = None,
        monitor: str | None = None,
        half_precision: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.name, self.license = name, license
        self.generation, self.video, self.bases = generation, video, bases or {}
        self.monitor, self.half_precision = monitor, half_precision
        self.best: float | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish, on the first process only and not for the sanity check.

        Raises:
            TypeError: If the training has nothing to publish.
            ValueError: If the validation has no figure of the monitor's name.
        """
        if trainer.sanity_checking:
            return
        if not isinstance(pl_module, Publishable):
            raise TypeError(f"{type(pl_module).__name__} has no publish(); remove PublishParts from the recipe.")
        if not self._is_best(trainer):
            return
        averaged = pl_module.averaged() if isinstance(pl_module, AveragedTraining) else nullcontext()
        with averaged, whole(pl_module):  # every process gives its part
            if trainer.is_global_zero:
                self._publish(trainer, pl_module)

    def _is_best(self, trainer: Trainer) -> bool:
        if self.monitor is None:
            return True
        if (value := trainer.callback_metrics.get(self.monitor)) is None:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise ValueError(f"monitor of PublishParts is {self.monitor!r}; the validation has {known}.")
        if self.best is not None and not float(value) < self.best:
            return False
        self.best = float(value)
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on needs."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again."""
        self.best = state_dict["best"]

    def _publish(self, trainer: Trainer, training: Publishable) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f"{_STAGED}*"):
            rmtree(left)
        staged = Path(mkdtemp(prefix=_STAGED, dir=self.folder))
        training.publish(staged)
        for path in sorted(one for one in staged.rglob("*") if one.is_file()):
            if self.half_precision and path.suffix == ".safetensors" and path.parent.name != SEMANTIC_QUANTIZER:
                halve_weights(path, path)
            target = self.folder / path.relative_to(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        rmtree(staged)
        if self.name or (self.folder / CONFIG_NAME).exists():
            figures = {key: float(value) for key, value in trainer.callback_metrics.items() if "validation" in key}
            self._keep_figures(type(training).__name__, trainer.global_step, figures)
            self.describe(figures)

    def _keep_figures(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """Put the figures of this stage into `results.json`, beside those of the others."""
        if not self.name or not self.bases:  # a folder that stands for itself is judged by an evaluation
            return
        path = self.folder / "results.json"
        old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if "trained" not in old and old:
            return  # of an evaluation, which tells more
        trained = {**old.get("trained", {}), stage: {"step": step, **figures}}
        results = {
            "recipe": "audio-agent fit",
            "reference": "the validation split",
            "trained": trained,
            "figures": [
                {"name": f"{stage} {name}", "value": value, "unit": "", "better": better, "n": 0, "interval": None}
                for stage, values in trained.items()
                for name, value in values.items()
                if (better := _BETTER.get(name.rsplit("/", 1)[-1], ""))
            ],
        }
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")

    def describe(self, figures: dict[str, float]) -> None:
        """Write config and card over what the folder holds now."""
        old = PublishedConfig.read(self.folder)
        config = PublishedConfig(
            name=self.name or (old.name if old else ""),
            license=self.license,
            mel=self._mel(old),
            generation=self.generation or (old.generation if old else Generation()),
            video=self.video or (old.video if old else None),
            bases={**(old.bases if old else {}), **{part: _pinned(base) for part, base in self.bases.items()}},
        )
        config.write(self.folder)
        write_card(self.folder, figures)

    def _mel(self, old: PublishedConfig | None) -> dict[str, Any]:
        vocoder = self.folder / "vocoder" / "config.json"
        if vocoder.exists():
            return MelConfig(n_mels=int(json.loads(vocoder.read_text(encoding="utf-8"))["num_mels"])).to_dict()
        return old.mel if old else {}


def _pinned(base: Base) -> Base:
    """The base at the commit that was trained on: the main branch may be another one by tomorrow."""
    return base if base.revision else replace(base, revision=cached_revision(base.repo))


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The callbacks of a trainer, in the order they are called."""
    found: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return found
