"""From sound events to movement: curves over the frames that strike, open or burst at the onsets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.synthesis.events import SoundEvent

Frames = NDArray[np.float64]

_SAME_INSTANT_S = 1e-6
_FAR_S = 1e3  # stands for "never" where a difference of two times must stay finite


def smooth(x: Frames | float) -> Frames:
    """0 below 0, 1 above 1, and an S between."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


@dataclass(frozen=True)
class Motion:
    """The events of a clip as seen from each of its frames.

    Attributes:
        t: Instant of each frame in seconds, `(frames,)`.
        starts: Onsets in rising order, in seconds, `(events,)`.
        ends: Their ends, in seconds.
        strengths: Their strengths in [0, 1].
    """

    t: Frames
    starts: Frames
    ends: Frames
    strengths: Frames

    @classmethod
    def of(cls, events: Sequence[SoundEvent], t: Frames) -> "Motion":
        """Sort the events and line them up with the frame instants `t`."""
        rows = sorted((e.start_s, e.end_s, e.strength) for e in events)
        starts, ends, strengths = np.array(rows, float).reshape(-1, 3).T
        return cls(t, starts, ends, strengths)

    @cached_property
    def last(self) -> NDArray[np.intp]:
        """Index of the event that began last, -1 before the first."""
        return np.searchsorted(self.starts, self.t + _SAME_INSTANT_S, side="right") - 1

    @property
    def more(self) -> NDArray[np.bool_]:
        """Whether another event is to begin."""
        return np.asarray(self.last + 1 < len(self.starts))

    @cached_property
    def since(self) -> Frames:
        """Seconds since the last onset; very large before the first."""
        return np.asarray(self.t - np.concatenate([self.starts, [-_FAR_S]])[self.last])

    @cached_property
    def until(self) -> Frames:
        """Seconds to the next onset; very large after the last."""
        return np.concatenate([self.starts, [_FAR_S]])[self.last + 1] - self.t

    @cached_property
    def size(self) -> Frames:
        """How large to move for the last event, in [0.5, 1]."""
        return 0.5 + 0.5 * np.concatenate([self.strengths, [1.0]])[self.last]

    @cached_property
    def next_size(self) -> Frames:
        """How large to move for the next event, in [0.5, 1]."""
        return 0.5 + 0.5 * np.concatenate([self.strengths, [0.0]])[self.last + 1]

    def each(self, values: Sequence[float] | NDArray[Any], before: float = 0.0) -> Frames:
        """The entry of `values` for the last event (cycling), `before` ahead of the first."""
        table = np.asarray(values, float)
        return np.where(self.last < 0, before, table[self.last % len(table)])

    def burst(self, decay_s: float, hold_s: float = 0.03) -> Frames:
        """1 times the size at each onset, then exponential decay; the hold keeps a frame from missing it."""
        return np.asarray(self.size * np.exp(-np.maximum(self.since - hold_s, 0) / decay_s))

    def on(self, attack_s: float = 0.04, release_s: float = 0.1) -> Frames:
        """Size of the loudest event that sounds now; rises from the onset on, and falls up to the end."""
        if not len(self.starts):
            return np.zeros_like(self.t)
        t = self.t[:, None] + _SAME_INSTANT_S
        rise = np.clip((t - self.starts + 0.25 * attack_s) / attack_s, 0, 1) * (t >= self.starts)
        fall = smooth((np.maximum(self.ends, self.starts + 0.08) - t) / release_s)
        return np.asarray(np.max((0.5 + 0.5 * self.strengths) * rise * fall, axis=1))

    def share(self) -> Frames:
        """How much of the last event's length has passed, in [0, 1]; 1 when it is over or none began."""
        length = np.concatenate([np.maximum(self.ends - self.starts, 0.08), [1.0]])[self.last]
        return np.asarray(np.clip(self.since / length, 0, 1))

    def lift(self, fall_s: float = 0.13, rise_s: float = 0.2, rest: float = 0.45, ready_s: float = 0.3) -> Frames:
        """Height of a thing that strikes: 0 on contact (each onset), `rest` when idle, up to 1 when raised.

        It is raised over `ready_s`, falls faster and faster for `fall_s`, stays a moment and bounces back.
        """
        raised = rest + (self.next_size - rest) * smooth((fall_s + ready_s - self.until) / ready_s)
        falling = 1 - np.clip(1 - self.until / fall_s, 0, 1) ** 2
        leaving = smooth((self.since - 0.035) / rise_s)
        return np.asarray(np.minimum(raised * falling, np.maximum(raised, rest) * leaving))

    def approach(self, lead_s: float) -> Frames:
        """0 until `lead_s` before an onset (or the onset before it), then evenly up to 1 at the onset."""
        gap = np.minimum(lead_s, self.since + self.until)
        return np.clip(1 - self.until / np.maximum(gap, 1e-3), 0, 1)

    def snap(self, values: Sequence[float] | NDArray[Any], move_s: float = 0.07, before: float = 0.0) -> Frames:
        """Jump to the next entry of `values` at each onset, taking `move_s`."""
        table = np.asarray(values, float)
        here = self.each(table, before)
        there = np.where(self.last < 1, before, table[(self.last - 1) % len(table)])
        return np.asarray(there + (here - there) * smooth((self.since + 0.3 * move_s) / move_s))
