"""The published weights that metrics of the field stand on: where they come from, their licence, how they are read."""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import new as new_hash
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor, nn

from audio_agent_zoo.errors import WeightsError


@dataclass(frozen=True)
class PublicWeights:
    """Weights somebody else published. Nothing here is downloaded on its own.

    Attributes:
        name: How results call the network.
        used_for: Metrics that stand on it.
        source: Address of the file, or Hub repository.
        license: Of the weights, or of the repository that publishes them where it states no other.
        sha256: Hash of the file, as several public projects pin it; None where none is known, or for a repository.
        md5: Hash its publisher gives; "" for none.
        loader: What loads it, in `audio_agent_zoo.metrics`.
    """

    name: str
    used_for: str
    source: str
    license: str
    sha256: str | None = None
    md5: str = ""
    loader: str = ""

    @property
    def filename(self) -> str:
        """Name the file is published under."""
        return self.source.rsplit("/", 1)[-1].replace("%3D", "=")

    @property
    def how_to_get(self) -> str:
        """Command that downloads it."""
        if not self.source.startswith("https://"):
            return f"hf download {self.source}"
        return f"curl -L -o '{self.filename}' {self.source}"


_RELEASES = "https://github.com"

PUBLIC_WEIGHTS = {
    weights.name: weights
    for weights in (
        PublicWeights(
            "vggish",
            "FAD",
            f"{_RELEASES}/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
            "Apache-2.0",
            sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
            loader="feature_networks.vggish",
        ),
        PublicWeights(
            "panns_cnn14_16k",
            "FD, KL and IS of AudioLDM's evaluation",
            "https://zenodo.org/records/3987831/files/Cnn14_16k_mAP%3D0.438.pth",
            "CC-BY-4.0",
            sha256="e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
            md5="362fc5ff18f1d6ad2f6d464b45893f2c",
            loader="feature_networks.panns_cnn14",
        ),
        PublicWeights(
            "clap",
            "CLAP score, FAD-CLAP",
            "laion/clap-htsat-unfused",
            "Apache-2.0",
            loader="feature_networks.clap",
        ),
        PublicWeights(
            "passt",
            "KL-PaSST and FD-PaSST (10 s at 32 kHz)",
            f"{_RELEASES}/kkoutini/PaSST/releases/download/v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt",
            "Apache-2.0",
            sha256="302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c",
            loader="classifier_networks.passt",
        ),
        PublicWeights(
            "melception",
            "MKL and FID (10 s at 22.05 kHz, 80 mel bands)",
            "https://a3s.fi/swift/v1/AUTH_a235c0f452d648828f745589cde1219a/specvqgan_public/"
            "melception-21-05-10T09-28-40.pt",
            "MIT",
            md5="a71a41041e945b457c7d3d814bbcf72d",
            loader="classifier_networks.melception",
        ),
        PublicWeights(
            "wav2clip",
            "Wav2CLIP similarity",
            f"{_RELEASES}/descriptinc/lyrebird-wav2clip/releases/download/v0.1.0-alpha/Wav2CLIP.pt",
            "MIT",
            loader="video_networks.wav2clip",
        ),
        PublicWeights(
            "clip_vit_b32",
            "Wav2CLIP similarity (the video's side)",
            "openai/clip-vit-base-patch32",
            "MIT",
            loader="video_networks.clip_frames",
        ),
        PublicWeights(
            "imagebind",
            "IB score",
            "https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
            "CC-BY-NC-SA-4.0",
            sha256="d6f6c22bedcc90708448d5d2fbb7b2db9c73f505dc89bd0b2e09b23af1b62157",
            loader="video_networks.imagebind",
        ),
        PublicWeights(
            "synchformer",
            "DeSync (two stretches of 4.8 s: not for clips of 2 to 3 s)",
            f"{_RELEASES}/hkchengrex/MMAudio/releases/download/v0.1/synchformer_state_dict.pth",
            "MIT",
            md5="5b2f5594b0730f70e41e549b7c94390c",
            loader="video_networks.synchformer",
        ),
        PublicWeights(
            "audiobox_aesthetics",
            "Audiobox aesthetics",
            "facebook/audiobox-aesthetics",
            "CC-BY-4.0",
            loader="aesthetics.audiobox_aesthetics",
        ),
    )
}
"""Networks that published figures stand on, by the name results give them."""

MELCEPTION_STATISTICS = PublicWeights(
    "melception_statistics",
    "MKL and FID",
    "https://raw.githubusercontent.com/v-iashin/SpecVQGAN/33c601d6dbb83867b8af5ad9b1613c31bafb4a40/specvqgan/modules/"
    "losses/vggishish/data/train_means_stds_melspec_10s_22050hz.txt",
    "MIT",
    sha256="77e3ce8a878a837231581855434e2a85926b87d5cad0d57a3d0cad3292b2a5cc",
    loader="classifier_networks.melception",
)
"""Mean and spread of every mel band over VGGSound, which Melception's inputs are normalised by."""


def missing_network(name: str) -> WeightsError:
    """What to raise where a metric is asked for and its network was not given.

    Args:
        name: One of `PUBLIC_WEIGHTS`.

    Returns:
        An error that says where the weights are, under which licence, and what loads them.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in PUBLIC_WEIGHTS:
        raise ValueError(f"there is no network {name!r} in the table; it has {', '.join(PUBLIC_WEIGHTS)}.")
    weights = PUBLIC_WEIGHTS[name]
    return WeightsError(
        f"{weights.used_for} needs the network {name}, which was not given. Download its weights once "
        f"({weights.license}): {weights.how_to_get}; then load them with "
        f"audio_agent_zoo.metrics.{weights.loader}."
    )


def weights_file(path: str | Path | None, weights: PublicWeights, expected_sha256: str | None) -> Path:
    """A file of public weights that is there and is the one expected.

    Args:
        path: The file; None says that there is none.
        weights: What it should be.
        expected_sha256: What it has to hash to; None takes any file.

    Raises:
        WeightsError: If it is missing, or of another hash; the message says where to get it.
    """
    get = f"Download it once ({weights.license}): {weights.how_to_get}"
    if path is None or not Path(path).is_file():
        given = "" if path is None else f" at {path}"
        raise WeightsError(f"{weights.used_for} needs the weights of {weights.name}, which are not there{given}. {get}")
    if expected_sha256 is not None and (found := file_hash(path)) != expected_sha256.lower():
        raise WeightsError(
            f"{path} has the sha256 {found}, not {expected_sha256} of {weights.name}, and was not opened. {get}, "
            "or pass the hash of the file you mean."
        )
    return Path(path)


def pinned_file(path: str | Path | None, weights: PublicWeights, expected_sha256: str | None) -> Path:
    """As `weights_file`, for weights whose sha256 is not known here: a hash is asked for, and nothing opened without.

    Args:
        path: The file; None says that there is none.
        weights: What it should be.
        expected_sha256: What it has to hash to; None asks for the md5 its publishers give, where they give one.

    Raises:
        WeightsError: If it is missing, of another hash, or of none known; the message says the file's own.
    """
    file = weights_file(path, weights, expected_sha256)
    if expected_sha256 is None and (not weights.md5 or file_hash(file, "md5") != weights.md5):
        known = f"it is not the file of md5 {weights.md5}" if weights.md5 else "its publishers give no hash"
        raise WeightsError(
            f"{file} was not opened as {weights.name}: {known}. If it comes from {weights.source}, or you trust it "
            f'otherwise, pass expected_sha256="{file_hash(file)}", which is what it has now.'
        )
    return file


def file_hash(path: str | Path, kind: str = "sha256") -> str:
    """Hash of a file's bytes in hexadecimal.

    Args:
        path: The file.
        kind: `sha256`, or `md5` against what publishers give.
    """
    digest = new_hash(kind, usedforsecurity=kind != "md5")
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class _Left:
    """What stands for anything but weights that a file holds: it takes every argument and does nothing."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_state(path: Path) -> dict[str, Tensor]:
    """State dict of a PyTorch file, or of the "model" in it; nothing in the file is run.

    Settings and metrics that a training left beside the weights, as objects of other packages, are left out.

    Raises:
        WeightsError: If it is damaged, holds no state dict, or holds other than tensors in it.
    """
    import numpy as np

    # The training sampler left in the checkpoint of PANNs holds arrays of numbers, under NumPy's older names.
    rebuild: Any = np.zeros(0).__reduce__()[0]
    arrays: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("i8", "i4", "f8", "f4", "?"))]
    arrays += [rebuild, (rebuild, "numpy.core.multiarray._reconstruct")]
    try:
        with ExitStack() as allowed:
            allowed.enter_context(torch.serialization.safe_globals(arrays))
            # The older format of files can't be asked for its names; what is foreign in it is refused.
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path) if is_zipfile(path) else []
            allowed.enter_context(torch.serialization.safe_globals([(_Left, name) for name in names]))
            content = torch.load(path, map_location="cpu", weights_only=True)
        state = content["model"] if isinstance(content.get("model"), Mapping) else content
        wrong = [key for key, value in state.items() if not isinstance(value, Tensor)]
    except Exception as error:  # unpickling and unzipping fail with a dozen kinds of error
        raise WeightsError(f"{path} can't be read as weights: {error}. Download it again.") from error
    if wrong or not state:
        raise WeightsError(f"{path} holds no state dict of tensors ({wrong[:3]}); give the published file.")
    return dict(state)


def load_exactly(network: nn.Module, state: Mapping[str, Tensor], path: Path, ignored: str = "(?!)") -> None:
    """Put weights into a network that has no other and needs no more.

    Args:
        network: Made for the shapes in `state`.
        state: What was read.
        path: Where from, for the message.
        ignored: Pattern that names begin with which the network does not need; of none by default.

    Raises:
        WeightsError: If a weight is missing, unexpected, of another shape, or not finite.
    """
    wanted = {key: value.float() for key, value in state.items() if not re.match(ignored, key)}
    if broken := [key for key, value in wanted.items() if not bool(torch.isfinite(value).all())]:
        raise WeightsError(f"{path} holds weights that are no numbers ({', '.join(broken[:3])}); download it again.")
    try:
        network.load_state_dict(wanted)
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit {type(network).__name__}: {error}") from error
    network.eval().requires_grad_(False)
