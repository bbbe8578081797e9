"""What text-to-audio systems are asked for in the paper's Table 2: single captions, two joined, and whole scenes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audio_agent_zoo.data.sources.tables import csv_rows
from audio_agent_zoo.errors import MediaError

JOINED_BY = " followed by "
"""What the paper puts between two captions."""

COMPLEX_CAPTIONS = (
    "A woman comes home in the rain and hangs up her keys",
    "A carpenter repairs a chair in his workshop",
    "Two children play hide and seek in an old house",
    "A cook prepares soup for a full restaurant",
    "A cyclist is late for work and crosses the city",
    "A family sits down to dinner while the television runs",
    "A sailor ties up his boat before the storm",
    "An orchestra gets ready for the concert",
    "A farmer wakes up and feeds his animals",
    "A thief opens a safe at night and is caught",
    "A train leaves the station and passes a village",
    "A photographer follows a parade through the streets",
    "A student writes an exam in a silent hall",
    "A mechanic starts a car that has stood for years",
    "A couple goes ice skating on a frozen lake",
    "A nurse visits her patients in the morning",
    "A baker opens the shop before sunrise",
    "A knight rides to the castle and asks to be let in",
    "A dog finds a hedgehog in the garden",
    "A man shaves, takes a shower and leaves the house",
    "A tennis match ends and the crowd goes home",
    "A diver jumps from the boat and comes up again",
    "A clerk stamps letters in a small post office",
    "A girl blows out the candles on her birthday cake",
    "A lumberjack fells a tree deep in the forest",
    "A plane boards its passengers and takes off",
    "A widow winds up the clock and sits by the fire",
    "A boy throws stones at a tin can and misses the window by an inch",
    "A market closes and the stalls are taken down",
    "A climber sets up a tent in strong wind",
    "A judge calls the court to order",
    "A fisherman rows out at dawn and waits",
    "A burglar alarm wakes the neighbourhood",
    "A teacher sends the class out to play",
    "A bartender mixes drinks on a busy evening",
    "A cat chases a mouse through the kitchen",
    "A blacksmith makes a horseshoe and cools it",
    "A taxi takes a traveller to the harbour",
    "A gardener mows the lawn until it starts to rain",
    "A magician lets a rabbit vanish in front of an audience",
    "A soldier guards a gate through a cold night",
    "A mother sings her baby to sleep",
    "A painter moves a ladder and knocks over a bucket",
    "A robot cleans a flat while its owner is out",
)
"""Scenes that name no sound; a planner has to think of what is heard. Source: our own, after the paper's Table 11."""


def sampled(captions: Sequence[str], n: int, seed: int) -> list[str]:
    """Draw captions without repetition.

    Args:
        captions: To draw from; the same caption twice counts once.
        n: How many.
        seed: Seed of the draw.

    Raises:
        ValueError: If there are too few.
    """
    distinct = list(dict.fromkeys(caption.strip() for caption in captions if caption.strip()))
    if not 0 < n <= len(distinct):
        raise ValueError(f"{n} captions are wanted of {len(distinct)} distinct ones; ask for 1 to {len(distinct)}.")
    rows = np.random.default_rng(seed).choice(len(distinct), n, replace=False)
    return [distinct[row] for row in rows]


def joined_pairs(captions: Sequence[str], n: int, seed: int) -> list[str]:
    """Draw pairs of different captions and join each with "followed by".

    Raises:
        ValueError: If there are too few captions for `n` pairs.
    """
    drawn = sampled(captions, 2 * n, seed)
    return [
        f"{first.rstrip('. ')}{JOINED_BY}{second[:1].lower()}{second[1:].rstrip('. ')}"
        for first, second in zip(drawn[::2], drawn[1::2], strict=True)
    ]


def audiocaps_captions(path: Path) -> list[str]:
    """Captions of AudioCaps' table (test.csv with a `caption` column).

    Raises:
        MediaError: If the file is missing, has no such column, or nothing in it.
    """
    captions = [text for _, row in csv_rows(path, ("caption",)) if (text := row.get("caption", "").strip())]
    if not captions:
        raise MediaError(f"{path} has no captions; give AudioCaps' test.csv.")
    return captions
