"""Semantic tokens of videos, window by window; a long video in stretches side by side."""

from collections.abc import Callable, Sequence
from math import ceil

import torch
from torch import Tensor

from audio_agent_zoo.models.semantic_token_lm import Sampling
from audio_agent_zoo.pipelines.video_to_audio_parts import VideoToAudioParts
from audio_agent_zoo.rates import SEMANTIC_TOKEN_RATE, n_video_frames

STRETCH_TOKENS = 1000
"""Shortest stretch of a long video, 20 s: shorter ones have more seams, and more context to write anew."""

_ROWS = 8
"""Stretches written at once: a step reads all weights for one token as for eight."""

Progress = Callable[[int, int], None]


class TokenWriter:
    """Connector and language model over videos of one length.

    Args:
        parts: The video half.
    """

    def __init__(self, parts: VideoToAudioParts) -> None:
        video = parts.video
        self.parts, self.window = parts, video.window_tokens
        self.context = min(video.context_tokens, self.window - 1)
        self.sampling = Sampling(video.temperature, video.top_k or None, video.change_bias)

    def write(
        self,
        frames: Sequence[Tensor],
        captions: Sequence[str],
        seeds: Sequence[int],
        length: int,
        callback: Progress | None = None,
    ) -> Tensor:
        """Tokens `(batch, length)` int64 on the CPU.

        Args:
            frames: `(frames, frame_dim)` of each video.
            captions: One each; "" for none.
            seeds: One each.
            length: Tokens of each.
            callback: Called as `(tokens written, tokens to write)`.
        """
        shown = torch.arange(n_video_frames(length / SEMANTIC_TOKEN_RATE))
        seen = torch.stack([one[shown.clamp(max=len(one) - 1)] for one in frames])
        connector = self.parts.connector
        embedded = connector(seen.to(connector.projection.weight.device), length)
        count = max(1, length // STRETCH_TOKENS)
        size = ceil(length / count)
        # Each begins with the context that it would have been given, and writes it anew.
        starts = [max(0, k * size - self.context) for k in range(count)]
        own = size + self.context if count > 1 else length
        rows = [(video, start) for video in range(len(frames)) for start in starts]
        at_once = len(rows) if count == 1 else _ROWS
        written = list[Tensor]()
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]

            def advance(done: int, batch: int = first // at_once) -> None:
                if callback is not None:
                    callback(batch * own + done, ceil(len(rows) / at_once) * own)

            written += self._windows(
                [embedded[video : video + 1] for video, _ in some],
                [start for _, start in some],
                [captions[video] for video, _ in some],
                [seeds[video] for video, _ in some],
                own,
                advance,
            ).cpu()
        return torch.stack([_joined(written[i : i + count], starts, length) for i in range(0, len(rows), count)])

    def _windows(
        self,
        embedded: list[Tensor],
        starts: list[int],
        captions: list[str],
        seeds: list[int],
        length: int,
        advance: Callable[[int], None],
    ) -> Tensor:
        """Tokens `(rows, length)` from each start on; each window goes on from the last tokens of the one before."""
        connector, lm = self.parts.connector, self.parts.lm
        written: Tensor | None = None
        place = 0
        while written is None or written.shape[1] < length:
            count = self.window if self.parts.video.fixed_window else min(self.window, length - place)
            pairs = zip(embedded, starts, strict=True)
            stretch = torch.cat([connector.stretch(one, start + place, count) for one, start in pairs])
            done = 0 if written is None else written.shape[1]
            given = None if written is None or done == place else written[:, place:]

            def step(n: int, _: int, done: int = done) -> None:
                advance(min(length, done + n))

            made = lm.generate(
                captions,
                stretch,
                count,
                given=given,
                sampling=self.sampling,
                seeds=[seed + start + place for seed, start in zip(seeds, starts, strict=True)],
                callback=step,
            )
            written = made if written is None else torch.cat([written[:, :place], made], dim=1)
            place += count - self.context
        return written[:, :length]


def _joined(pieces: Sequence[Tensor], starts: Sequence[int], length: int) -> Tensor:
    """Stretches of one video `(length,)`; where two overlap they change places at the last token both agree on."""
    joined = pieces[0][:length]
    for piece, start in zip(pieces[1:], starts[1:], strict=True):
        same = (joined[start:] == piece[: len(joined) - start]).nonzero()
        cut = int(same[-1]) if len(same) else len(joined) - start
        joined = torch.cat([joined[: start + cut], piece[cut:]])[:length]
    return joined
