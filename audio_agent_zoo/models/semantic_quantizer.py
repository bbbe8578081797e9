"""Semantic tokens and their centroids: the k-means on HuBERT's features, without what it was trained with."""

from typing import ClassVar

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from numpy.typing import ArrayLike
from torch import Tensor


class SemanticQuantizer(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers' bases are untyped
    """Nearest centroid of a feature, and the centroid of a token.

    A fresh one holds zeros: load it with `from_pretrained`, build it with `from_centroids`, or convert a
    public file with `audio_agent_zoo.models.kmeans_import.import_quantizer`.

    Args:
        n_centroids: Number of tokens.
        dim: Values of a feature; 768 for HuBERT-base.
        source_sha256: Hash of the file the centroids were converted from; empty where there is none.

    Source: the k-means tokens of Audio-Agent, section 3.2; distances as in fairseq's `dump_km_label.py`.
    """

    _keep_in_fp32_modules: ClassVar = ["centroids"]  # rounded centroids would name other tokens

    @register_to_config
    def __init__(self, n_centroids: int = 500, dim: int = 768, source_sha256: str = "") -> None:
        super().__init__()
        if n_centroids < 1 or dim < 1:
            raise ValueError(f"there are {n_centroids} centroids of {dim} values; both are at least 1.")
        self.register_buffer("centroids", torch.zeros(n_centroids, dim, dtype=torch.float32))
        self.centroids: Tensor

    @classmethod
    def from_centroids(cls, array: ArrayLike | Tensor, *, source_sha256: str = "") -> "SemanticQuantizer":
        """Build a quantizer around known centroids.

        Args:
            array: `(centroids, dim)` finite values; copied as float32.
            source_sha256: Hash of the file they come from.

        Raises:
            ValueError: If the array has another rank, is empty, or holds values that float32 can't.
        """
        centroids = torch.as_tensor(array).detach()
        if centroids.ndim != 2 or 0 in centroids.shape:
            raise ValueError(f"the centroids are {tuple(centroids.shape)}; give (centroids, dim), at least (1, 1).")
        if centroids.is_complex() or not torch.isfinite(centroids.float()).all():
            raise ValueError("some centroids are NaN, infinite or complex; give finite real values.")
        model: SemanticQuantizer = cls(*centroids.shape, source_sha256=source_sha256)
        model.centroids.copy_(centroids)
        return model

    def assign(self, features: Tensor, *, chunk_rows: int = 4096) -> Tensor:
        """Token of the nearest centroid by Euclidean distance, computed in float32; the lower of two at a tie.

        Args:
            features: `(..., dim)`, at the scale the centroids were trained on: nothing is normalised.
            chunk_rows: Features compared at once, which bounds the memory.

        Returns:
            `(...)` int64.

        Raises:
            ValueError: If the features have another last axis or are not finite, or `chunk_rows` is below 1.
        """
        dim = self.centroids.shape[1]
        if features.ndim < 1 or features.shape[-1] != dim:
            raise ValueError(
                f"the features are {tuple(features.shape)}; the last axis has to be {dim}, as the centroids."
            )
        if chunk_rows < 1:
            raise ValueError(f"chunk_rows is {chunk_rows}; it is at least 1.")
        if not torch.isfinite(features).all():
            raise ValueError("some features are NaN or infinite, which are near no centroid; check the audio.")
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            centroids = self.centroids.float()
            # ||x||^2 is left out: it is the same for every centroid.
            norms = centroids.square().sum(dim=1)
            tokens = [
                torch.addmm(norms, rows.float(), centroids.T, alpha=-2).argmin(dim=1)
                for rows in features.reshape(-1, dim).split(chunk_rows)
            ]
        return torch.cat(tokens).reshape(features.shape[:-1])

    def lookup(self, tokens: Tensor) -> Tensor:
        """Centroids of tokens.

        Args:
            tokens: `(...)` of an integer dtype.

        Returns:
            `(..., dim)` float32.

        Raises:
            ValueError: If a token is no integer or names no centroid.
        """
        n_centroids = len(self.centroids)
        if tokens.dtype == torch.bool or tokens.is_floating_point() or tokens.is_complex():
            raise ValueError(f"the tokens are {tokens.dtype}; give integers.")
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < n_centroids:
            raise ValueError(
                f"the tokens go from {int(tokens.min())} to {int(tokens.max())}; there are 0 to {n_centroids - 1}."
            )
        return self.centroids[tokens.long()]
