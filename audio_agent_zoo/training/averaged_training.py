"""What stages with averaged weights share: a moving average of what is trained, and checkpoints of nothing else."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from lightning import LightningModule
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from audio_agent_zoo.training.sharding import gathered, spread_like


class AveragedTraining(LightningModule):
    """Trains some parameters of a larger frozen whole, and publishes their moving average.

    Lightning's own averaging copies the whole module, the frozen base included.

    Args:
        decay: Decay of the average per step.
    """

    average: EMAModel

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.strict_loading = False  # checkpoints hold what is trained, the rest comes from its own weights

    @abstractmethod
    def trained(self) -> dict[str, nn.Parameter]:
        """What is trained, by the names of the checkpoint, in a fixed order."""

    def optimized(self) -> dict[str, nn.Parameter]:
        """What is trained, by its name in the whole and in the order there, which a sharded checkpoint keeps."""
        trained = set(self.trained().values())
        return {name: parameter for name, parameter in self.named_parameters() if parameter in trained}

    def start_average(self) -> None:
        """Begin the average where training begins; call it once the parts are built."""
        self.average = EMAModel(list(self.trained().values()), decay=self.decay, use_ema_warmup=True, power=0.75)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """The trained weights alone; a scalar has an axis, as it has while it is spread (see `shard`)."""
        return {name: torch.atleast_1d(parameter.detach()) for name, parameter in self.trained().items()}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Put trained weights back; every one of them must be there.

        Raises:
            KeyError: If one is missing.
        """
        with torch.no_grad():
            for name, parameter in self.trained().items():
                if name not in state_dict:
                    raise KeyError(f"the checkpoint lacks {name!r}; it is of another recipe.")
                parameter.copy_(spread_like(state_dict[name], parameter))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the average, before any checkpoint of this step is written."""
        super().optimizer_step(*args, **kwargs)
        self.average.step(self.trained().values())

    def on_fit_start(self) -> None:
        """The average lives where the weights live, and is the same on every process."""
        self.average.to(self.device)
        if self.trainer.world_size > 1:
            self.average.shadow_params = [
                shadow if isinstance(shadow, DTensor) else self.trainer.strategy.broadcast(shadow)
                for shadow in self.average.shadow_params
            ]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones."""
        if self.average.temp_stored_params is not None:  # they are there already
            yield
            return
        self.average.store(list(self.trained().values()))
        self.average.copy_to(list(self.trained().values()))
        try:
            yield
        finally:
            self.average.restore(list(self.trained().values()))

    def on_validation_start(self) -> None:
        """Judge the averaged weights."""
        self._judged = self.averaged()
        self._judged.__enter__()

    def on_validation_epoch_end(self) -> None:
        """Go on with the trained ones, before a checkpoint is written at the end of the validation."""
        self._judged.__exit__(None, None, None)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the average beside the weights, and the optimizer's states by name.

        Their numbers count what is trained in a plain checkpoint, and all there is in a sharded one.
        """
        average = self.average.state_dict()
        checkpoint["average"] = {**average, "shadow_params": [gathered(value) for value in average["shadow_params"]]}
        names = list(self.optimized())
        for kept in filter(None, checkpoint.get("optimizer_states", [])):  # sharded: the first process has them all
            (group,) = kept["param_groups"]
            name_of = dict(zip(group["params"], names, strict=True))
            kept["state"] = {
                name_of[key]: {k: v if k == "step" else torch.atleast_1d(v) for k, v in state.items()}
                for key, state in kept["state"].items()
            }
            group["params"] = names

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        kept = checkpoint["average"]
        parameters = self.trained().values()
        shadows = [spread_like(s, p) for s, p in zip(kept["shadow_params"], parameters, strict=True)]
        self.average.load_state_dict({**kept, "shadow_params": shadows})
        optimized = self.optimized()
        for states in checkpoint.get("optimizer_states", []):
            for name, state in states["state"].items():
                shape = optimized[name].shape
                states["state"][name] = {k: v if k == "step" else v.reshape(shape) for k, v in state.items()}
