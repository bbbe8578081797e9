"""What happens beside the optimisation: writing the published folder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer

from audio_agent_zoo.hub import cached_revision
from audio_agent_zoo.models.mel import MelConfig
from audio_agent_zoo.published import CONFIG_NAME, Base, Generation, PublishedConfig, VideoGeneration
from audio_agent_zoo.published_card import write_card
from audio_agent_zoo.training.sharding import whole


@runtime_checkable
class Publishable(Protocol):
    """A training that can write its parts of a published folder."""

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the parts this stage trains into `folder`."""


class PublishParts(Callback):
    """Write the stage's parts into the published folder after each validation, with its config and card.

    The stages of a model share a folder: what another stage wrote stays as it is.

    Args:
        folder: Published folder.
        name: What the weights are called; with "" a folder without a config gets none, as an ablation wants it.
        license: Licence of the trained weights.
        generation: How the text-to-audio base likes to be sampled; what the folder says when None.
        video: How video becomes sound; what the folder says when None.
        bases: Frozen parts that the folder refers to and does not hold: part -> repo, revision, license.
    """

    def __init__(
        self,
        folder: str,
        name: str = "",
        license: str = "apache-2.0",
        generation: Generation | None = None,
        video: VideoGeneration | None = None,
        bases: dict[str, Base] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.name, self.license = name, license
        self.generation, self.video, self.bases = generation, video, bases or {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish, on the first process only and not for the sanity check."""
        if trainer.sanity_checking:
            return
        if not isinstance(pl_module, Publishable):
            raise TypeError(f"{type(pl_module).__name__} has no publish(); remove PublishParts from the recipe.")
        with whole(pl_module):  # every process gives its part
            if trainer.is_global_zero:
                self._publish(trainer, pl_module)

    def _publish(self, trainer: Trainer, training: Publishable) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        training.publish(self.folder)
        if self.name or (self.folder / CONFIG_NAME).exists():
            figures = {key: float(value) for key, value in trainer.callback_metrics.items() if "validation" in key}
            self.describe(figures)

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
