"""Tokens against brute force, their folder, and the way there from a real k-means file."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.cluster import MiniBatchKMeans

from audio_agent_zoo import cli
from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.models.kmeans_import import KM500_SHA256, import_quantizer
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer


def _brute_force(features: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    apart = features.astype(np.float64)[:, None] - centroids.astype(np.float64)[None]
    return (apart**2).sum(-1)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.01, 0.0), (1.0, 5.0)])
def test_assigns_as_brute_force_in_double_precision(scale: float, shift: float) -> None:
    generator = np.random.default_rng(1)
    centroids = (generator.normal(size=(50, 24)) * scale + shift).astype(np.float32)
    features = (generator.normal(size=(3000, 24)) * scale + shift).astype(np.float32)
    distances = _brute_force(features, centroids)
    got = SemanticQuantizer.from_centroids(centroids).assign(torch.from_numpy(features)).numpy()
    best, chosen = distances.min(1), distances[np.arange(len(got)), got]
    # Only rows whose two nearest centroids float32 can't tell apart may differ, and hardly any is one.
    assert np.all(chosen - best <= 1e-5 * (features.astype(np.float64) ** 2).sum(1))
    assert (got == distances.argmin(1)).mean() > 0.998


def test_exact_ties_go_to_the_lower_token_and_shapes_are_kept() -> None:
    quantizer = SemanticQuantizer.from_centroids([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    features = torch.tensor([[[0.0, 3.0], [2.0, 0.0], [-0.1, 0.0]], [[8.0, 8.0], [0.0, 0.0], [-5.0, 1.0]]])
    tokens = quantizer.assign(features)
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [[0, 0, 1], [3, 0, 1]]
    assert quantizer.assign(torch.tensor([7.0, 7.0])).shape == ()
    assert quantizer.assign(torch.zeros(2, 0, 2)).shape == (2, 0)


@pytest.mark.parametrize("chunk_rows", [1, 7, 64, 1000])
def test_chunks_change_nothing(chunk_rows: int) -> None:
    quantizer = SemanticQuantizer.from_centroids(torch.randn(40, 16))
    features = torch.randn(3, 67, 16)
    assert torch.equal(quantizer.assign(features, chunk_rows=chunk_rows), quantizer.assign(features, chunk_rows=10**6))


def test_precision_does_not_depend_on_the_surroundings() -> None:
    """Features of half precision, and a training under autocast, are compared in float32 all the same."""
    quantizer = SemanticQuantizer.from_centroids(torch.randn(200, 64))
    features = torch.randn(500, 64).bfloat16()
    expected = quantizer.assign(features.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.assign(features), expected)


def test_lookup_is_the_inverse_on_centroids() -> None:
    quantizer = SemanticQuantizer.from_centroids(torch.randn(300, 8))
    tokens = torch.randint(0, 300, (2, 5))
    vectors = quantizer.lookup(tokens)
    assert vectors.shape == (2, 5, 8)
    assert torch.equal(quantizer.assign(vectors), tokens)
    narrow = torch.tensor([0, 255], dtype=torch.uint8)  # which torch takes for a mask where it is used as an index
    assert torch.equal(quantizer.lookup(narrow), quantizer.centroids[[0, 255]])
    assert quantizer.lookup(torch.zeros(0, dtype=torch.int64)).shape == (0, 8)


@pytest.mark.parametrize("tokens", [[7], [-1, 2], [0.0], [True]])
def test_lookup_refuses_what_is_no_token(tokens: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"0 to 6|integers"):
        SemanticQuantizer.from_centroids(torch.randn(7, 3)).lookup(torch.tensor(tokens))


@pytest.mark.parametrize(
    "array", [[1.0, 2.0], [[[1.0]]], [[]], [[1.0, float("nan")]], [[float("inf")]], np.full((2, 2), 1e300), [[1j]]]
)
def test_refuses_what_are_no_centroids(array: Any) -> None:
    with pytest.raises(ValueError, match="give"):
        SemanticQuantizer.from_centroids(array)


def test_refuses_features_it_can_not_compare() -> None:
    quantizer = SemanticQuantizer.from_centroids(torch.randn(7, 3))
    for features in (torch.zeros(5, 4), torch.tensor(1.0), torch.tensor([[0.0, float("nan"), 0.0]])):
        with pytest.raises(ValueError, match="features"):
            quantizer.assign(features)
    with pytest.raises(ValueError, match="chunk_rows"):
        quantizer.assign(torch.zeros(5, 3), chunk_rows=0)
    with pytest.raises(ValueError, match="at least 1"):
        SemanticQuantizer(0, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_comes_back_from_a_folder_unrounded(tmp_path: Path, dtype: torch.dtype) -> None:
    quantizer = SemanticQuantizer.from_centroids(torch.randn(7, 3), source_sha256="ab" * 32)
    quantizer.save_pretrained(tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    assert {name: tensor.dtype for name, tensor in load_file(weights).items()} == {"centroids": torch.float32}
    again = SemanticQuantizer.from_pretrained(tmp_path, torch_dtype=dtype)
    assert again.centroids.dtype == torch.float32
    assert torch.equal(again.centroids, quantizer.centroids)
    assert (again.config.n_centroids, again.config.dim, again.config.source_sha256) == (7, 3, "ab" * 32)


def _dump(path: Path) -> MiniBatchKMeans:
    rows = np.random.default_rng(0).normal(size=(120, 16)).astype(np.float32)
    km = MiniBatchKMeans(7, random_state=0, n_init=1).fit(rows)
    joblib.dump(km, path)
    return km


def test_import_leaves_a_folder_with_the_hash(tmp_path: Path) -> None:
    km = _dump(tmp_path / "km.bin")
    digest = sha256((tmp_path / "km.bin").read_bytes()).hexdigest()
    made = import_quantizer(tmp_path / "km.bin", tmp_path / "new" / "folder", expected_sha256=digest.upper())
    loaded = SemanticQuantizer.from_pretrained(tmp_path / "new" / "folder")
    assert loaded.config.source_sha256 == digest
    assert np.array_equal(loaded.centroids.numpy(), km.cluster_centers_)
    assert torch.equal(made.centroids, loaded.centroids)
    rows = np.random.default_rng(5).normal(size=(300, 16)).astype(np.float32)
    assert np.array_equal(loaded.assign(torch.from_numpy(rows)).numpy(), km.predict(rows))
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(MediaError, match="taken"):
        import_quantizer(tmp_path / "km.bin", tmp_path / "taken", expected_sha256=digest)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "km.bin", tmp_path / "out"
    _dump(source)
    digest = sha256(source.read_bytes()).hexdigest()
    words = ["import-quantizer", str(source), "--out", str(out)]
    assert cli.main(words) == cli.RENDER
    told = capsys.readouterr().err
    assert digest in told and KM500_SHA256 in told
    assert cli.main([*words, "--sha256", "abc"]) == cli.USAGE
    assert not out.exists()
    with pytest.raises(SystemExit):
        cli.main([*words, "--sha256", digest, "--any-hash"])
    for more in (["--sha256", digest], ["--any-hash"]):
        assert cli.main([*words, *more]) == 0
        assert "7 centroids of 16 values" in capsys.readouterr().out
        assert json.loads((out / "config.json").read_text())["source_sha256"] == digest
