"""Every sample rate, frame rate and hop of the package, and the conversions between them.

One place, because two roundings of the same duration are a sync error: an event at second nine must
fall on the same instant for the mixer, the mel image, the semantic tokens and the video.
"""

import math

SAMPLE_RATE = 16_000
"""Samples per second of all audio inside the package (mono)."""

HOP_LENGTH = 160
"""Samples between two columns of the mel image."""

MEL_RATE = SAMPLE_RATE // HOP_LENGTH
"""Mel columns per second (100 exactly, so a column never drifts against the clock)."""

SEMANTIC_TOKEN_RATE = 50
"""HuBERT tokens per second."""

SAMPLES_PER_TOKEN = SAMPLE_RATE // SEMANTIC_TOKEN_RATE
"""Samples between two HuBERT tokens."""

TOKEN_CONTEXT = 80
"""Samples beyond its own stretch that the last token of a clip needs: HuBERT's convolutions see 400."""

FRAME_RATE = 21.5
"""CLIP frames per second of a video. Source: Audio-Agent, section 3.3."""

MAX_DURATION_S = 600.0
"""Longest timeline accepted anywhere, in seconds."""


def check_duration(duration_s: float, what: str = "duration_s") -> float:
    """Return `duration_s` as a float if it is a usable length in seconds.

    Args:
        duration_s: Seconds, in (0, 600].
        what: Name of the argument, for the message.

    Raises:
        ValueError: If it is not a finite number in that range.
    """
    value = float(duration_s)
    if not (math.isfinite(value) and 0 < value <= MAX_DURATION_S):
        raise ValueError(f"{what} is {duration_s!r}; give seconds above 0 and at most {MAX_DURATION_S:g}.")
    return value


def n_samples(duration_s: float, sample_rate: int = SAMPLE_RATE) -> int:
    """Number of samples in `duration_s` seconds, rounded to the nearest sample."""
    return round(duration_s * sample_rate)


def n_mel_columns(duration_s: float) -> int:
    """Number of mel columns that cover `duration_s` seconds (rounded up)."""
    return -(-n_samples(duration_s) // HOP_LENGTH)


def n_semantic_tokens(duration_s: float) -> int:
    """Number of semantic tokens that cover `duration_s` seconds (rounded up): 500 for 10 s.

    HuBERT's convolutions alone give one less (499), because the last token reaches 80 samples beyond the
    end. The tokenizer pads with those, so that tokens tile the clip and a prompt of 10 s has room for 500.
    """
    return -(-n_samples(duration_s) // SAMPLES_PER_TOKEN)


def n_video_frames(duration_s: float) -> int:
    """Number of frames shown at `FRAME_RATE` before `duration_s` seconds are over; 215 for 10 s."""
    return max(1, math.ceil(duration_s * FRAME_RATE - 1e-6))
