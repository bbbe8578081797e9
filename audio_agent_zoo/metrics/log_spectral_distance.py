"""How far the spectrum of a resynthesised waveform lies from its target, in dB."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

_QUIETEST_PEAK = 1e-3


class LogSpectralDistance(Metric):
    """Root-mean-square difference of log spectra over frequency, averaged over frames, then over clips.

    For one frame with magnitudes `X` and `Y`: `sqrt(mean over bins of (20 log10 X/Y)^2)`, in dB. Phase does
    not count. Both magnitudes are floored at `floor_db` below the loudest bin of the target clip, so that
    digital silence compares as silence and not as minus infinity; a clip whose peak lies below
    -60 dB of a full-scale tone is floored as if it were that loud.

    Args:
        n_fft: Length of the Hann window and of the FFT in samples.
        hop_length: Samples between frames.
        floor_db: Floor below the target's loudest bin in dB, negative.
        kwargs: Arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: If the window, the hop or the floor makes no sense.

    Source: Gray and Markel, "Distance measures for speech processing" (1976), the L2 norm; the floor is ours.

    Examples:
        >>> metric, noise = LogSpectralDistance(), torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
        >>> metric.update(0.1 * noise, noise)
        >>> print(metric.protocol["metric"], f"{metric.compute():.1f}")
        log_spectral_distance 20.0
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self, n_fft: int = 2048, hop_length: int = 512, floor_db: float = -80.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if n_fft < 2 or not 0 < hop_length <= n_fft:
            raise ValueError(f"n_fft is {n_fft} and hop_length {hop_length}; give 0 < hop_length <= n_fft.")
        if not -200.0 <= floor_db < 0.0:
            raise ValueError(f"floor_db is {floor_db}; give dB below the peak, from -200 to below 0.")
        self.n_fft, self.hop_length, self.floor_db = n_fft, hop_length, floor_db
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the value, for `results.json`."""
        settings = {"n_fft": self.n_fft, "hop_length": self.hop_length, "floor_db": self.floor_db}
        return {"metric": "log_spectral_distance", "unit": "dB", **settings}

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add some clips.

        Args:
            predicted: `(batch, samples)` in [-1, 1].
            target: `(batch, samples)` in [-1, 1], of the same shape; more than half a window long.

        Raises:
            ValueError: If the shapes differ, the clips are too short, or a sample is not finite.
        """
        if predicted.shape != target.shape or target.ndim != 2:
            raise ValueError(
                f"predicted has shape {tuple(predicted.shape)}, target {tuple(target.shape)}; "
                "give two waveforms (batch, samples) of one shape."
            )
        if target.shape[1] <= self.n_fft // 2:
            raise ValueError(f"clips have {target.shape[1]} samples; give more than {self.n_fft // 2}.")
        if not bool(torch.isfinite(predicted).all() and torch.isfinite(target).all()):
            raise ValueError("a waveform holds NaN or infinity; look at what made it.")
        self.total += self._distances(predicted, target).sum().to(self.total)
        self.count += len(target)

    def _distances(self, predicted: Tensor, target: Tensor) -> Tensor:
        ours, theirs = self._magnitudes(predicted), self._magnitudes(target)
        # A full-scale tone peaks at a quarter of the window length: the Hann window's mean is a half.
        quietest = _QUIETEST_PEAK * self.n_fft / 4
        peak = theirs.amax(dim=(1, 2), keepdim=True).clamp(min=quietest)
        floor = peak * 10 ** (self.floor_db / 20)
        difference = 20 * (torch.maximum(ours, floor) / torch.maximum(theirs, floor)).log10()
        return difference.square().mean(dim=1).sqrt().mean(dim=1)

    def _magnitudes(self, waveform: Tensor) -> Tensor:
        wave = waveform.detach().double()
        window = torch.hann_window(self.n_fft, dtype=wave.dtype, device=wave.device)
        return torch.stft(wave, self.n_fft, self.hop_length, window=window, return_complex=True).abs()

    def compute(self) -> Tensor:
        """The mean distance over all clips in dB, a float64 scalar.

        Raises:
            ValueError: If no clip was added.
        """
        if int(self.count) == 0:
            raise ValueError("there are no clips to compare; call update first.")
        return self.total / self.count
