"""Semantic tokens as words of a language model, and the prompt they answer to."""

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

MARKERS = ("<Video>", "</Video>", "<Caption>", "</Caption>")
INSTRUCTION = "Write down the sound of this video."
END_OF_TURN = "<end_of_turn>"


def audio_token(index: int) -> str:
    """Name of semantic token `index`."""
    return f"<AUD_{index}>"


@dataclass(frozen=True)
class AudioVocabulary:
    """Which ids stand for semantic tokens and markers, and how a prompt is written around a video.

    New ids follow the base's own rows in order: the semantic tokens, then the markers.

    Attributes:
        tokenizer: The base's tokenizer, with the new words.
        n_audio: Number of semantic tokens.
        base_size: Rows of the base's own embedding.
    """

    tokenizer: PreTrainedTokenizerBase
    n_audio: int
    base_size: int

    @classmethod
    def extend(cls, tokenizer: PreTrainedTokenizerBase, n_audio: int = 500) -> "AudioVocabulary":
        """Add the new words to a base's tokenizer, or find them there.

        Raises:
            ValueError: If the tokenizer has no turns, or other words of these names.
        """
        words = [*(audio_token(i) for i in range(n_audio)), *MARKERS]
        known = tokenizer.get_vocab()
        if END_OF_TURN not in known:
            raise ValueError(f"the tokenizer has no {END_OF_TURN}; take an instruction-tuned Gemma.")
        if words[0] not in known:
            tokenizer.add_tokens(words)
            known = tokenizer.get_vocab()
        ids = [known.get(word, -1) for word in words]
        if ids != list(range(ids[0], ids[0] + len(words))):
            raise ValueError(f"the tokenizer has audio words of another model; {n_audio} in a row are needed.")
        return cls(tokenizer, n_audio, ids[0])

    @classmethod
    def from_pretrained(cls, folder: str | Path, n_audio: int) -> "AudioVocabulary":
        """Load a tokenizer, extended or not, from a local folder."""
        return cls.extend(AutoTokenizer.from_pretrained(folder, local_files_only=True), n_audio)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the extended tokenizer."""
        self.tokenizer.save_pretrained(folder)

    @property
    def n_new(self) -> int:
        """Rows that the base's embedding lacks."""
        return self.n_audio + len(MARKERS)

    @property
    def end_id(self) -> int:
        """Id that ends the sound."""
        return int(self.tokenizer.get_vocab()[END_OF_TURN])

    def prompt(self, caption: str) -> tuple[list[int], list[int]]:
        """Ids before and after the video.

        The caption comes first, so that video and sound lie at a distance that does not depend on it.

        Args:
            caption: What is heard; text whatever it holds, it can't become a marker or end the turn.
        """
        text = " ".join(caption.split()).replace("<", "(").replace(">", ")")
        before = f"<start_of_turn>user\n{INSTRUCTION}<Caption>{text}</Caption><Video>"
        after = f"</Video>{END_OF_TURN}\n<start_of_turn>model\n"
        return [int(self.tokenizer.bos_token_id or 0), *self._ids(before)], self._ids(after)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
