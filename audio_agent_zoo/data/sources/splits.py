"""Which clips are held out: by what a table says, else by a hash that new clips don't disturb."""

import unicodedata
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

Split = Literal["train", "validation", "test"]

_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "eval": "test",
}


def read_split(word: str) -> Split:
    """The split that a word of a table or the name of a folder means, such as `val`.

    Raises:
        ValueError: If it means none.
    """
    split = _WORDS.get(word.strip().lower())
    if split is None:
        raise ValueError(f"the split is {word!r}; write train, validation or test.")
    return split


def is_split(word: str) -> bool:
    """Whether a word means a split."""
    return word.strip().lower() in _WORDS


def check_share(validation_share: float) -> None:
    """Raise ValueError unless a share of clips can be held out."""
    if not 0 <= validation_share < 1:
        raise ValueError(f"validation_share is {validation_share}; give a share in [0, 1), such as 0.05.")


def place(name: str, seed: int = 0) -> float:
    """Where a clip lies in [0, 1), whichever other clips there are; those below the share are held out."""
    text = f"{seed}/{unicodedata.normalize('NFC', name)}"
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") / 2**64


def held_out(names: Sequence[str], validation_share: float, seed: int = 0) -> frozenset[str]:
    """The names that are for validation: about the share of them, each by its own hash.

    A new name moves none of the others, but for one case: where the share of a small set holds none, the
    name nearest to it is taken, until a better one comes.

    Raises:
        ValueError: If the share is not in [0, 1).
    """
    check_share(validation_share)
    places = {name: place(name, seed) for name in names}
    chosen = {name for name, where in places.items() if where < validation_share}
    if not chosen and validation_share and len(places) > 1:
        chosen = {min(places, key=places.__getitem__)}
    return frozenset(chosen)
