"""A file of a language model's answers, from which a conversation can be had again without it."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.planner.errors import NotRecordedError, RefusalError
from audio_agent_zoo.planner.prompts import PROMPT_VERSION

Messages = Sequence[dict[str, str]]


def _asked(messages: Messages) -> str:
    """Identity of what was asked, with everything the model was told before."""
    return sha256(json.dumps([message["content"] for message in messages]).encode()).hexdigest()


class Recording:
    """Answers in the order in which they came: one line of JSON each, only ever added to.

    Neither a key nor the address of a server is in it.

    Args:
        path: The file; made with the first answer.
        model: Name of the language model that answers.
    """

    def __init__(self, path: str | Path, model: str) -> None:
        self.path, self.model = Path(path), model

    def add(self, messages: Messages, answer: str, *, refused: bool = False) -> None:
        """Keep an answer.

        Args:
            messages: What the model was told.
            answer: What it said.
            refused: Whether that is why it declined.

        Raises:
            MediaError: If the file can't be written.
        """
        record = {
            "model": self.model,
            "prompt_version": PROMPT_VERSION,
            "request": messages[-1]["content"],
            "asked": _asked(messages),
            "answer": answer,
            "refused": refused,
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            raise MediaError(f"{self.path} can't be written: {error.strerror}. Record to another file.") from error


class RecordedAnswers:
    """Answers of a recording by what they answer; asked for the same again, the next one is given.

    Args:
        path: File that a `Recording` wrote.

    Attributes:
        model: Name of the language model that gave them.

    Raises:
        MediaError: If the file can't be read.
        ValueError: If it is no recording, or one made with other instructions.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.model = Path(path), ""
        self._answers: dict[str, list[tuple[str, bool]]] = {}
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise MediaError(f"{self.path} can't be read: {error.strerror}. Give the file of a recording.") from error
        except UnicodeDecodeError:
            raise ValueError(f"{self.path} is no text; give the file of a recording.") from None
        for number, line in enumerate(lines, 1):
            self._read(number, line)
        if not self._answers:
            raise ValueError(f"{self.path} holds no answer; record a conversation first.")

    def _read(self, number: int, line: str) -> None:
        try:
            record: dict[str, Any] = json.loads(line)
            version, asked = str(record["prompt_version"]), str(record["asked"])
            answer, self.model = (str(record["answer"]), bool(record["refused"])), str(record["model"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{self.path} is no recording: line {number} can't be read; record it again.") from None
        if version != PROMPT_VERSION:
            raise ValueError(
                f"{self.path} was recorded with version {version} of the instructions, these are version "
                f"{PROMPT_VERSION}; record it again."
            )
        self._answers.setdefault(asked, []).append(answer)

    def next(self, messages: Messages) -> str:
        """The answer to what is asked.

        Raises:
            NotRecordedError: If it was never asked, or with another timeline or history.
            RefusalError: If the model declined then.
        """
        answers = self._answers.get(_asked(messages))
        if not answers:
            raise NotRecordedError(
                f"{self.path.name} holds no answer to this at this point of the conversation; say what was said when "
                "it was recorded, in that order, or plan with another planner."
            )
        answer, refused = answers.pop(0) if len(answers) > 1 else answers[0]
        if refused:
            raise RefusalError(answer)
        return answer
