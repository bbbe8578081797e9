"""The HiFi-GAN generator under its public key names: log-mel spectrogram -> waveform."""

import json
from dataclasses import asdict, dataclass, fields
from math import ceil, prod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from audio_agent_zoo.errors import WeightsError

_SLOPE = 0.1


@dataclass(frozen=True)
class HifiGanConfig:
    """Shape of a generator, by the keys of the public config.json.

    Attributes:
        num_mels: Mel bands of the input.
        upsample_rates: Factors between stages; their product is the hop length.
        upsample_kernel_sizes: Kernel of each upsampling.
        upsample_initial_channel: Width before the first stage; each stage halves it.
        resblock_kernel_sizes: Kernels of the parallel residual blocks.
        resblock_dilation_sizes: Dilations inside each of them.
        resblock: "1" for blocks of paired convolutions, anything else for single ones.

    Raises:
        ValueError: If lists do not match, a kernel is smaller than its factor, or the width does not halve.
    """

    num_mels: int = 256
    upsample_rates: tuple[int, ...] = (5, 4, 2, 2, 2)
    upsample_kernel_sizes: tuple[int, ...] = (11, 8, 4, 4, 4)
    upsample_initial_channel: int = 512
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    resblock: str = "1"

    def __post_init__(self) -> None:
        """Refuse shapes whose output would not be a whole number of hops."""
        rates, kernels = self.upsample_rates, self.upsample_kernel_sizes
        if not rates or len(rates) != len(kernels) or any(k < r for r, k in zip(rates, kernels, strict=True)):
            raise ValueError(
                f"upsample_rates {rates} and upsample_kernel_sizes {kernels} do not fit; "
                "give as many kernels as rates, none smaller than its rate."
            )
        if len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes):
            raise ValueError(
                f"resblock_kernel_sizes {self.resblock_kernel_sizes} and resblock_dilation_sizes "
                f"{self.resblock_dilation_sizes} differ in length; give a list of dilations per kernel."
            )
        if self.upsample_initial_channel % 2 ** len(rates):
            raise ValueError(
                f"upsample_initial_channel is {self.upsample_initial_channel}; "
                f"it is halved {len(rates)} times, so give a multiple of {2 ** len(rates)}."
            )

    @property
    def hop_length(self) -> int:
        """Samples per mel column."""
        return prod(self.upsample_rates)

    @property
    def context_columns(self) -> int:
        """Mel columns to either side that can change a sample: half the receptive field, rounded up."""
        blocks = list(zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True))
        reach, samples_per_column = 3.0, 1
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True):
            reach += ceil(kernel / rate) / samples_per_column
            samples_per_column *= rate
            after = 1 if self.resblock == "1" else 0  # the plain convolution behind each dilated one
            widest = max(sum((size - 1) * (d + after) // 2 for d in dilations) for size, dilations in blocks)
            reach += widest / samples_per_column
        return ceil(reach + 3 / samples_per_column)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "HifiGanConfig":
        """Read the keys this class knows from a public config.json, which holds training keys besides."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        for name, value in known.items():
            if isinstance(value, list):
                known[name] = tuple(tuple(item) if isinstance(item, list) else item for item in value)
        return cls(**{**known, "resblock": str(known.get("resblock", cls.resblock))})


def _same(kernel: int, dilation: int) -> int:
    return (kernel - 1) * dilation // 2


class PairedResidualBlock(nn.Module):
    """Dilated convolution, plain convolution, sum; one pair per dilation (the public "ResBlock1")."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=_same(kernel, d)) for d in dilations
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding=_same(kernel, 1)) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Refine `(batch, channels, time)`."""
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, _SLOPE)), _SLOPE))
        return x


class SingleResidualBlock(nn.Module):
    """One dilated convolution per step (the public "ResBlock2")."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=_same(kernel, d)) for d in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Refine `(batch, channels, time)`."""
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, _SLOPE))
        return x


def _fold_weight_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace weight-norm pairs, under their old or their present names, by the weights they stand for."""
    folded = dict(state)
    for magnitude, direction in (
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ):
        for key in [key for key in folded if key.endswith("." + magnitude)]:
            stem = key[: -len(magnitude)]
            vectors = folded.pop(stem + direction).float()
            norms = vectors.flatten(1).norm(dim=1).reshape(-1, *[1] * (vectors.ndim - 1))
            folded[stem + "weight"] = vectors * (folded.pop(key).float() / norms)
    return folded


class HifiGanGenerator(nn.Module):
    """Transposed convolutions up to the sample rate, each followed by parallel residual blocks.

    Source: HiFi-GAN; the padding of odd `kernel - rate` follows the public Auffusion generator.
    """

    def __init__(self, config: HifiGanConfig) -> None:
        super().__init__()
        self.config = config
        width = config.upsample_initial_channel
        self.conv_pre = nn.Conv1d(config.num_mels, width, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        block = PairedResidualBlock if config.resblock == "1" else SingleResidualBlock
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            odd = (kernel - rate) % 2
            self.ups.append(
                nn.ConvTranspose1d(
                    width, width // 2, kernel, rate, padding=(kernel - rate) // 2 + odd, output_padding=odd
                )
            )
            width //= 2
            blocks = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
            for size, dilations in blocks:
                self.resblocks.append(block(width, size, tuple(dilations)))
        self.conv_post = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, mel: Tensor) -> Tensor:
        """Make sound.

        Args:
            mel: `(batch, num_mels, columns)`, natural log of magnitude.

        Returns:
            `(batch, columns * hop_length)` in [-1, 1].
        """
        x = self.conv_pre(mel)
        parallel = len(self.config.resblock_kernel_sizes)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, _SLOPE))
            blocks = self.resblocks[i * parallel : (i + 1) * parallel]
            x = torch.stack([block(x) for block in blocks]).sum(0) / parallel
        # The public generator falls back to PyTorch's default slope here.
        wave: Tensor = torch.tanh(self.conv_post(F.leaky_relu(x, 0.01))).squeeze(1)
        return wave

    @classmethod
    def from_pretrained(cls, folder: str | Path, subfolder: str = "vocoder") -> "HifiGanGenerator":
        """Load our safetensors or the public pickle (tensors only).

        Raises:
            WeightsError: If files are missing, damaged or of another shape.
        """
        place = Path(folder) / subfolder
        try:
            config = HifiGanConfig.from_dict(json.loads((place / "config.json").read_text(encoding="utf-8")))
            if (place / "vocoder.safetensors").exists():
                state = load_file(place / "vocoder.safetensors")
            else:
                state = torch.load(place / "vocoder.pt", map_location="cpu", weights_only=True)["generator"]
            model = cls(config)
            model.load_state_dict({k: v.float() for k, v in _fold_weight_norm(state).items()})
        except Exception as error:  # unpickling, parsing and shapes fail with a dozen kinds of error
            raise WeightsError(
                f"the vocoder in {place} can't be loaded: {error}. It needs config.json and "
                "vocoder.safetensors or vocoder.pt; download the folder again."
            ) from error
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and vocoder.safetensors."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n", encoding="utf-8")
        state = {key: value.detach().cpu().contiguous() for key, value in self.state_dict().items()}
        save_file(state, place / "vocoder.safetensors")
