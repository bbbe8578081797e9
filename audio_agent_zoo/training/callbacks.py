"""What happens beside the optimisation: writing the published folder."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer


@runtime_checkable
class Publishable(Protocol):
    """A training that can write its parts of a published folder."""

    def publish(self, folder: Path, **kwargs: Any) -> None:
        """Write the parts this stage trains into `folder`."""


class PublishParts(Callback):
    """Write the stage's parts into the published folder after each validation.

    Args:
        folder: Published folder shared by the stages of a model.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish, on the first process only and not for the sanity check."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        if not isinstance(pl_module, Publishable):
            raise TypeError(f"{type(pl_module).__name__} has no publish(); remove PublishParts from the recipe.")
        self.folder.mkdir(parents=True, exist_ok=True)
        pl_module.publish(self.folder)
