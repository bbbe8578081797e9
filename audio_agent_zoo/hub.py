"""What a published folder holds: find it by name, check it, describe it, push it.

A published folder is one small `config.json` and a subfolder per part. Nothing else in the package
knows where a folder comes from: a bundled name, a path, or a Hub repository at a revision.
"""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from audio_agent_zoo import __version__
from audio_agent_zoo.errors import GatedRepoError, WeightsError

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
CONFIG_NAME = "config.json"
BUNDLED = {"foley-mini": Path(__file__).parent / "bundled" / "foley_mini"}
"""Names that resolve without a network."""

TEXT_TO_AUDIO = (
    "vae",
    "unet",
    "scheduler",
    "vocoder",
    "tokenizer",
    "text_encoder",
    "text_encoder_*",
    "condition_adapter_*",
)
"""Subfolders of a text-to-audio base, in our layout and in the public ones."""

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt")
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Generation:
    """How a set of weights likes to be sampled.

    Attributes:
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance.
        native_columns: Widest mel image the model was trained on; longer sounds are made in windows.
        min_columns: Narrowest mel image it makes well; shorter sounds are cut from it.
        mel_iterations: Times the vocoder's sound is fitted to the mel it was made from; 0 trusts the vocoder.
    """

    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    native_columns: int = 1024
    min_columns: int = 1024
    mel_iterations: int = 0


@dataclass(frozen=True)
class Part:
    """One subfolder of a published folder.

    Attributes:
        subfolder: Its name.
        sha256: Weight file in it -> hex digest.
    """

    subfolder: str
    sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedConfig:
    """The `config.json` of a published folder.

    Attributes:
        name: What the weights are called.
        license: SPDX-like licence of the weights.
        mel: Front-end constants (`MelConfig` fields).
        generation: Sampling defaults.
        parts: Part -> where it is and what its weights hash to.
        library_version: Version that wrote the folder.
        format_version: Layout of the folder.
    """

    name: str
    license: str
    mel: dict[str, Any]
    generation: Generation = Generation()
    parts: dict[str, Part] = field(default_factory=dict)
    library_version: str = __version__
    format_version: int = FORMAT_VERSION

    @classmethod
    def read(cls, folder: Path) -> "PublishedConfig | None":
        """Read a folder's config; None if the folder is of a public layout, which has none of ours.

        Raises:
            WeightsError: If the config is damaged or of a later format.
        """
        path = folder / CONFIG_NAME
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            version = int(values["format_version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"{path} is no config of a published folder: {error!r}. Download the folder again."
            ) from error
        if version > FORMAT_VERSION:
            raise WeightsError(
                f"{path} has format {version}, this version of the package reads up to {FORMAT_VERSION}; "
                "upgrade with: pip install -U audio-agent-zoo"
            )
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise WeightsError(f"{path} holds unknown keys {unknown}; known are {sorted(known)}.")
        try:
            parts = {name: Part(**part) for name, part in values.get("parts", {}).items()}
            generation = Generation(**values.get("generation", {}))
            config = cls(**{**values, "generation": generation, "parts": parts})
        except (TypeError, AttributeError) as error:
            raise WeightsError(f"{path} lacks or misspells a key: {error}.") from error
        for place in [f"{part.subfolder}/{name}" for part in parts.values() for name in part.sha256]:
            if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
                raise WeightsError(f"{path} names {place!r}, which lies outside the folder; do not use it.")
        return config

    def write(self, folder: Path) -> None:
        """Write `config.json`, with every part and the checksums of its weights as they now are."""
        parts: dict[str, Part] = {}
        for path in weight_files(folder):
            subfolder, *rest = path.relative_to(folder).parts
            if rest:
                part = parts.setdefault(subfolder, Part(subfolder))
                part.sha256["/".join(rest)] = file_sha256(path)
        text = json.dumps({**asdict(self), "parts": {k: asdict(v) for k, v in parts.items()}}, indent=2)
        (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    def check(self, folder: Path, parts: Sequence[str] = ("*",)) -> None:
        """Compare the weight files of some parts with their checksums.

        Args:
            folder: The published folder.
            parts: Patterns of part names.

        Raises:
            WeightsError: If a file is missing or differs.
        """
        for name, part in self.parts.items():
            if not any(fnmatchcase(name, pattern) for pattern in parts):
                continue
            for file, expected in part.sha256.items():
                path = folder / part.subfolder / file
                if not path.is_file():
                    raise WeightsError(f"{path} is missing; download {self.name} again.")
                if (found := file_sha256(path)) != expected:
                    raise WeightsError(
                        f"{path} is damaged: its sha256 is {found[:12]}..., {CONFIG_NAME} says "
                        f"{expected[:12]}.... Download {self.name} again."
                    )


def weight_files(folder: Path) -> list[Path]:
    """Weight files below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix in _WEIGHT_SUFFIXES and path.is_file())


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def resolve(
    path_or_repo: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    parts: Sequence[str] = TEXT_TO_AUDIO,
) -> Path:
    """Find a folder of weights: a bundled name, an existing folder, or a Hub repository.

    Args:
        path_or_repo: "foley-mini", a folder, "owner/name" or "owner/name@revision".
        revision: Branch, tag or commit of a repository.
        cache_dir: Where downloads are kept; Hugging Face's cache when None.
        token: Access token; the one of the environment when None.
        local_files_only: Use the cache alone.
        parts: Patterns of the subfolders to download; repositories hold demo sounds and more besides.

    Returns:
        An absolute path.

    Raises:
        GatedRepoError: If the repository wants its terms accepted.
        ValueError: If a revision is given for something that has none, or twice.
        WeightsError: If nothing is found, or the Hub can't be reached.
    """
    name = str(path_or_repo)
    folder = BUNDLED.get(name, Path(name).expanduser())
    if name in BUNDLED or folder.is_dir():
        if revision is not None:
            raise ValueError(f"revision is {revision!r}, but {name} is no Hub repository; leave it out.")
        if name in BUNDLED and not (folder / CONFIG_NAME).is_file():
            raise WeightsError(f"{name!r} is missing from {folder}; install the package again.")
        return folder.resolve()
    repo, _, tag = name.partition("@")
    if not _REPOSITORY.fullmatch(repo):
        raise WeightsError(
            f"there are no weights {name!r}: it is neither one of {', '.join(BUNDLED)}, nor a folder, "
            "nor an owner/name repository."
        )
    if tag and revision is not None:
        raise ValueError(f"{name} names a revision, and revision is {revision!r}; give one of the two.")
    return _download(repo, tag or revision, cache_dir, token, local_files_only, parts)


def wanted_files(files: Sequence[str], parts: Sequence[str]) -> list[str]:
    """The files of a repository that some parts need: configs, tokenizers, one format of each weight.

    Args:
        files: Paths in the repository.
        parts: Patterns of the subfolders to load.
    """
    safe = {str(PurePosixPath(name).parent) for name in files if _is_plain_weight(name, ".safetensors")}
    wanted = []
    for name in files:
        path = PurePosixPath(name)
        if len(path.parts) == 1:
            keep = path.suffix == ".json"
        elif not any(fnmatchcase(path.parts[0], pattern) for pattern in parts):
            keep = False
        elif path.suffix in (".bin", ".pt"):
            keep = str(path.parent) not in safe and _is_plain_weight(name, path.suffix)
        else:
            keep = path.suffix in (".json", ".txt", ".model") or _is_plain_weight(name, ".safetensors")
        if keep:
            wanted.append(name)
    return wanted


def _is_plain_weight(name: str, suffix: str) -> bool:
    """Whether a file holds weights in no particular variant (`model.fp16.safetensors` is one)."""
    return name.endswith(suffix) and not re.search(r"\.(fp16|bf16|fp32|non_ema|ema)[.-]", name)


def _download(
    repo: str,
    revision: str | None,
    cache_dir: str | Path | None,
    token: str | bool | None,
    offline: bool,
    parts: Sequence[str],
) -> Path:
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    reason = ""
    try:
        # Offline, the folder alone is looked up; what is missing from it shows when it is loaded.
        patterns = [f"{part}/*.json" for part in parts]
        if not offline:
            try:
                patterns = wanted_files(_list_files(repo, revision, token), parts)
            except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError):
                raise
            except Exception as error:  # the transport's own errors, which differ between client versions
                reason, offline = f" ({_reason(error)})", True
                logger.warning("the Hub can't be reached (%s); looking for %s in the cache", _reason(error), repo)
        folder = snapshot_download(
            repo,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=offline,
            allow_patterns=patterns,
        )
    except Exception as error:  # as above, and what the disk may raise
        raise _explained(error, repo, revision, reason) from error
    return Path(folder).resolve()


def _list_files(repo: str, revision: str | None, token: str | bool | None) -> list[str]:
    from huggingface_hub import HfApi

    # One request that fails at once without network; a listing of the tree is tried for half a minute.
    info = HfApi(token=token).model_info(repo, revision=revision)
    return [item.rfilename for item in info.siblings or []]


def _reason(error: Exception) -> str:
    """Kind and first line of an error; the client's own go on with links and request numbers."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _explained(error: Exception, repo: str, revision: str | None, reason: str) -> WeightsError:
    """What a failed download means and what to do about it."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        return GatedRepoError(
            f"{repo} is gated. Open its page on the Hub, accept its terms with your account, then log in "
            "with `hf auth login` or set HF_TOKEN, and try again."
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return WeightsError(f"{repo} has no revision {revision!r}; leave it out for the main branch.")
    if isinstance(error, hub.RepositoryNotFoundError):
        return WeightsError(
            f"the Hub has no repository {repo} that you may read; check the name, or log in with "
            "`hf auth login` if it is private."
        )
    if isinstance(error, hub.LocalEntryNotFoundError):
        return WeightsError(
            f"{repo} is not complete in the cache and the Hub is not to be reached{reason}. Connect and load "
            "it once, or download it elsewhere and give the folder; 'foley-mini' needs no network."
        )
    return WeightsError(
        f"{repo} could not be downloaded: {_reason(error)}. Try again; the files that arrived are kept."
    )


def push_folder(
    folder: str | Path,
    repo: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Publish a folder in a single commit, so that a push cut off leaves the last state loadable.

    Args:
        folder: Published folder.
        repo: "owner/name"; created if it does not exist.
        private: Create it private.
        token: Access token; the one of the environment when None.
        revision: Branch to push to.

    Returns:
        Address of the commit.

    Raises:
        WeightsError: If the folder is no intact published folder, or the Hub refuses.
    """
    from huggingface_hub import HfApi

    config = PublishedConfig.read(Path(folder))
    if config is None:
        raise WeightsError(f"{folder} is no published folder: it has no {CONFIG_NAME}.")
    config.check(Path(folder))
    api = HfApi(token=token)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            folder_path=folder,
            repo_id=repo,
            revision=revision,
            commit_message=f"Publish {config.name}",
            ignore_patterns=["*.ckpt"],
        )
    except Exception as error:  # the transport's own errors, which differ between client versions
        raise WeightsError(
            f"{folder} could not be pushed to {repo}: {_reason(error)}. Log in with "
            "`hf auth login` as someone who may write there, and try again."
        ) from error
    return str(commit.commit_url)
