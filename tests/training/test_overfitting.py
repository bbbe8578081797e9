"""A warning where the training learns its clips by heart, once, and none elsewhere."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from audio_agent_zoo.training.overfitting import TRAIN, VALIDATION, WarnOfOverfitting

FALLING, RISING, FLAT = [3.0, 2.0, 1.5, 1.2, 1.0, 0.9], [1.0, 1.1, 1.2, 1.3, 1.4, 1.5], [1.0] * 6


def said(callback: WarnOfOverfitting, train: list[float], validation: list[float], first: int = 0) -> list[str]:
    """What it says of two batches and a validation for each pair of losses."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i, (seen, held_out) in enumerate(zip(train, validation, strict=True)):
            trainer: Any = SimpleNamespace(
                global_step=25 * (first + i + 1),
                callback_metrics={VALIDATION: torch.tensor(held_out)},
                sanity_checking=False,
                accumulate_grad_batches=1,
            )
            for part in (0.9, 1.1):
                callback.on_train_batch_end(trainer, None, {"loss": torch.tensor(part * seen)}, None, 0)  # type: ignore[arg-type]
            callback.on_validation_end(trainer, None)  # type: ignore[arg-type]
    return [str(one.message) for one in caught]


def test_it_is_said_once_with_what_to_do() -> None:
    (text,) = said(WarnOfOverfitting(), FALLING, RISING)
    assert f"{VALIDATION} rose at 3 validations in a row, from 1 at step 25 to 1.3 at step 100" in text
    assert f"while {TRAIN} fell from 3 to 1.2" in text
    assert "--trainer.max_steps" in text and "learning_rate" in text


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (FALLING, FALLING),
        (FALLING, FLAT),
        (RISING, RISING),
        (FALLING, [1.0, 1.1, 1.2, 1.1, 1.2, 1.3]),
        (FALLING, [1.0, 1.001, 1.002, 1.003, 1.004, 1.005]),
    ],
)
def test_nothing_is_said_of_other_curves(train: list[float], validation: list[float]) -> None:
    assert said(WarnOfOverfitting(), train, validation) == []


def test_a_run_that_goes_on_remembers() -> None:
    whole, first, second = WarnOfOverfitting(), WarnOfOverfitting(), WarnOfOverfitting()
    assert said(first, FALLING[:2], RISING[:2]) == []
    second.load_state_dict(first.state_dict())
    assert said(second, FALLING[2:], RISING[2:], 2) == said(whole, FALLING, RISING)
    third = WarnOfOverfitting()
    third.load_state_dict(second.state_dict())
    assert said(third, FALLING, RISING) == []
