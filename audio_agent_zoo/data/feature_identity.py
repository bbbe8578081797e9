"""Whether prepared features are of the frozen parts that a training is about to use."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from audio_agent_zoo.data.foley_features import FoleyFeaturesDataModule
from audio_agent_zoo.errors import AudioAgentError
from audio_agent_zoo.published import file_sha256, weight_files

_hash = lru_cache(maxsize=32)(file_sha256)


def check_weights(data: FoleyFeaturesDataModule, folder: Path, parts: Sequence[str]) -> None:
    """Compare the weights that features were prepared with to those of a published folder.

    Parts that the folder lacks, or holds in files of other names, can't be compared and pass.

    Args:
        data: Features, after `setup`.
        folder: Folder with the parts of the training.
        parts: Which of them matter to it.

    Raises:
        AudioAgentError: If a part is another one.
    """
    for features in (data.train, data.validation):
        for part in parts:
            prepared = features.identity.get("weights", {}).get(part, {})
            for file in weight_files(folder / part):
                if file.name in prepared and prepared[file.name] != _hash(file):
                    raise AudioAgentError(
                        f"{features.folder} was prepared with another {part}, of sha256 {prepared[file.name]}; "
                        f"{file} has {_hash(file)}. Prepare the clips again with --weights {folder}, or train with "
                        "the folder they were prepared with."
                    )
