"""Columns of prepared features."""

from typing import TypedDict

FEATURES_CONFIG = "features.json"
"""Beside the shards: which frozen models and settings the features come from."""


class FeatureRow(TypedDict):
    """One stretch of a clip, encoded by the frozen parts; a row of a Parquet shard.

    Attributes:
        id: Clip and stretch.
        captions: What is heard, in one or several wordings.
        class_name: Class of the sound, or "".
        onset_s: Onsets in seconds from the start of the stretch, where they are known.
        frames: `(n_frames, frame_dim)` float16, row by row.
        n_frames: Frames at 21.5 per second.
        tokens: Semantic tokens, 50 per second.
        latents: `latent_shape` float16, scaled to unit variance.
        latent_shape: Channels, rows, columns.
    """

    id: str
    captions: list[str]
    class_name: str
    onset_s: list[float]
    frames: bytes
    n_frames: int
    tokens: list[int]
    latents: bytes
    latent_shape: list[int]
