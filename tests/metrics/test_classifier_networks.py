"""PaSST and Melception from files of the public layout: what loads, what it gives to a metric, and what is refused."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.metrics.classifier_networks import melception, passt
from audio_agent_zoo.metrics.frechet import FrechetDistance
from audio_agent_zoo.metrics.kl_divergence import MELCEPTION, PASST, KLDivergence, kl_divergence
from audio_agent_zoo.models.melception import Melception
from audio_agent_zoo.models.passt import Passt


def _waves(n: int, samples: int, seed: int = 0, scale: float = 0.1) -> Tensor:
    return torch.randn(n, samples, generator=torch.Generator().manual_seed(seed)) * scale


def _saved(content: Any, path: Path) -> tuple[Path, str]:
    torch.save(content, path)
    return path, sha256(path.read_bytes()).hexdigest()


# --- PaSST ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_passt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Passt, Path, str]:
    torch.manual_seed(1)
    network = Passt(dim=128, depth=1, heads=2, n_classes=6).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network, *_saved(network.state_dict(), tmp_path_factory.mktemp("passt") / "passt.pt")


@torch.no_grad()
def test_passt_loads_the_public_layout(tiny_passt: tuple[Passt, Path, str]) -> None:
    network, path, digest = tiny_passt
    waves = _waves(2, 20_000, 2)
    logits, embedding = passt(path, expected_sha256=digest), passt(path, "embedding", expected_sha256=digest.upper())
    torch.testing.assert_close(logits(waves), network(waves))
    torch.testing.assert_close(embedding(waves), network.features(waves))
    assert (logits.dim, embedding.dim, logits.sample_rate) == (6, 128, 32_000)
    metric = KLDivergence(PASST, logits)
    metric.update(waves, waves.flip(0))
    assert float(metric.compute()) == pytest.approx(
        float(kl_divergence(network(waves), network(waves.flip(0)), PASST).mean())
    )
    assert metric.protocol["features"] == "passt"
    assert metric.protocol["sha256"] == digest
    assert metric.protocol["heard"] == "first 10 s"
    distance = FrechetDistance(network=embedding)
    assert distance.protocol["metric"] == "FD-PaSST"


def test_what_is_no_passt_is_refused(tiny_passt: tuple[Passt, Path, str], tmp_path: Path) -> None:
    network, path, digest = tiny_passt
    with pytest.raises(WeightsError, match=r"KL-PaSST .* which are not there\. .*curl -L -o 'passt-s-f128-p16-s10-ap"):
        passt()
    with pytest.raises(WeightsError, match=f"has the sha256 {digest}, not 302903fa.*was not opened"):
        passt(path)
    with pytest.raises(ValueError, match="output is 'probabilities'; choose logits or embedding"):
        passt(path, "probabilities", expected_sha256=digest)
    state = network.state_dict()
    for change, message in (
        ({"norm.weight": None}, r"no PaSST: it has no 'norm\.weight'\. curl"),
        ({"blocks.0.attn.qkv.bias": None}, r"blocks\.0\.attn\.qkv\.bias"),
        ({"blocks.0.extra": torch.zeros(1)}, r"blocks\.0\.extra"),
        ({"time_new_pos_embed": torch.zeros(1, 128, 1, 98)}, "time_new_pos_embed"),
        ({"head.1.bias": torch.full((6,), float("nan"))}, r"no numbers \(head\.1\.bias\)"),
    ):
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        other, _ = _saved(changed, tmp_path / "other.pt")
        with pytest.raises(WeightsError, match=message):
            passt(other, expected_sha256=None)


# --- Melception -----------------------------------------------------------------------------------------------------


class _Settings(list[float]):
    """Stands for another package's class, which a training left in its checkpoint."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


@pytest.fixture(scope="module")
def tiny_melception(tmp_path_factory: pytest.TempPathFactory) -> tuple[Melception, Path, str]:
    """A checkpoint as its training wrote it: with the side classifier, metrics of NumPy and foreign settings."""
    torch.manual_seed(3)
    network = Melception(n_classes=5, part=16).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    side = {"AuxLogits.conv0.conv.weight": torch.zeros(8, 48, 1, 1), "AuxLogits.fc.bias": torch.zeros(5)}
    content = {
        "loss": 1.5,
        "metrics": {"mAP": np.mean([0.25, 0.75])},
        "epoch": 3,
        "optimizer": {"param_groups": [{"betas": _Settings([0.9, 0.999])}]},
        "model": {**network.state_dict(), **side},
    }
    return network, *_saved(content, tmp_path_factory.mktemp("melception") / "melception.pt")


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("statistics") / "means_stds.txt"
    rows = np.random.default_rng(4).uniform(0.1, 0.9, (80, 2))
    np.savetxt(path, rows, fmt="%0.8f")
    return path, sha256(path.read_bytes()).hexdigest()


@torch.no_grad()
def test_melception_loads_the_public_layout(
    tiny_melception: tuple[Melception, Path, str], statistics: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    network, path, digest = tiny_melception
    table, table_digest = statistics
    hashes = {"expected_sha256": digest, "expected_statistics_sha256": table_digest}
    logits, embedding = melception(path, table, **hashes), melception(path, table, "embedding", **hashes)
    assert "run" not in capsys.readouterr().out.split()
    waves = _waves(2, 60_000, 5) * torch.tensor([[1.0], [0.01]])
    means, spreads = torch.from_numpy(np.loadtxt(table)).float().T.unsqueeze(-1)
    network.band_means, network.band_spreads = means, spreads
    torch.testing.assert_close(logits(waves), network(waves))
    network.band_means, network.band_spreads = torch.zeros(80, 1), torch.ones(80, 1)
    assert not torch.allclose(logits(waves), network(waves), atol=1e-3)
    assert (logits.dim, embedding.dim, logits.sample_rate, embedding(waves).shape) == (5, 128, 22_050, (2, 128))
    metric = KLDivergence(MELCEPTION, logits)
    metric.update(waves, waves.flip(0))
    assert float(metric.compute()) > 1e-3
    assert metric.protocol["variant"] == metric.protocol["features"] == "melception"
    assert FrechetDistance(network=embedding).protocol["metric"] == "FID"


def test_what_is_no_melception_is_refused(
    tiny_melception: tuple[Melception, Path, str], statistics: tuple[Path, str], tmp_path: Path
) -> None:
    network, path, digest = tiny_melception
    table, _ = statistics
    with pytest.raises(
        WeightsError, match=r"MKL .* not there\. .*curl -L -o 'melception-21-05-10T09-28-40\.pt' https://a3s"
    ):
        melception()
    with pytest.raises(WeightsError, match=rf'not the file of md5 a71a4104.*pass expected_sha256="{digest}"'):
        melception(path, table)
    with pytest.raises(
        WeightsError, match=r"melception_statistics.*curl -L -o 'train_means_stds.*raw\.githubusercontent"
    ):
        melception(path, expected_sha256=digest)
    with pytest.raises(WeightsError, match=r"means_stds\.txt has the sha256 .* not 77e3ce8a"):
        melception(path, table, expected_sha256=digest)
    for lines, message in (
        ("0.5 0.1\n" * 79, "each of 80 bands"),
        ("0.5 0.0\n" * 80, "spread above 0"),
        ("0.5 nan\n" * 80, "spread above 0"),
        ("0.5 0.1\n" * 79 + "0.5\n", "no table of numbers"),
        ("mean spread\n", "no table of numbers"),
    ):
        wrong = tmp_path / "wrong.txt"
        wrong.write_text(lines)
        with pytest.raises(WeightsError, match=message):
            melception(path, wrong, expected_sha256=digest, expected_statistics_sha256=None)
    state = network.state_dict()
    for change, message in (
        ({"fc.weight": None}, r"no Melception \('fc\.weight'\)"),
        ({"Conv2d_1a_3x3.conv.weight": torch.zeros(9, 1, 3, 3)}, "no Melception"),
        ({"Mixed_7c.branch_pool.bn.running_var": None}, r"Mixed_7c\.branch_pool\.bn\.running_var"),
        ({"Mixed_8a.extra": torch.zeros(1)}, r"Mixed_8a\.extra"),
    ):
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        other, other_digest = _saved(changed, tmp_path / "other.pt")
        with pytest.raises(WeightsError, match=message):
            melception(other, table, expected_sha256=other_digest, expected_statistics_sha256=None)
