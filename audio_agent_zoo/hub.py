"""What a published folder holds: find it by name, check it, describe it, push it.

A published folder is one small `config.json` and a subfolder per part. Nothing else in the package
knows where a folder comes from: a bundled name, a path, or a Hub repository at a revision.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from audio_agent_zoo import __version__
from audio_agent_zoo.errors import GatedRepoError, WeightsError

FORMAT_VERSION = 1
CONFIG_NAME = "config.json"
BUNDLED = {"foley-mini": Path(__file__).parent / "bundled" / "foley_mini"}
"""Names that resolve without a network."""

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt")
# Only what a text-to-audio folder needs: repositories also hold demo sounds and training states.
_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin", "*.pt")


@dataclass(frozen=True)
class Generation:
    """How a set of weights likes to be sampled.

    Attributes:
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance.
        native_columns: Widest mel image the model was trained on; longer sounds are made in windows.
        min_columns: Narrowest mel image it makes well; shorter sounds are cut from it.
    """

    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    native_columns: int = 1024
    min_columns: int = 1024


@dataclass(frozen=True)
class PublishedConfig:
    """The `config.json` of a published folder.

    Attributes:
        name: What the weights are called.
        license: SPDX-like licence of the weights.
        mel: Front-end constants (`MelConfig` fields).
        generation: Sampling defaults.
        files: Relative path of each weight file -> its sha256.
        library_version: Version that wrote the folder.
        format_version: Layout of the folder.
    """

    name: str
    license: str
    mel: dict[str, Any]
    generation: Generation = Generation()
    files: dict[str, str] = field(default_factory=dict)
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
            format_version = int(values["format_version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{path} is no config of a published folder: {error!r}. Download it again.") from error
        if format_version > FORMAT_VERSION:
            raise WeightsError(
                f"{path} has format {format_version}, this version reads up to {FORMAT_VERSION}; "
                "upgrade with: pip install -U audio-agent-zoo"
            )
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise WeightsError(f"{path} holds unknown keys {unknown}; known are {sorted(known)}.")
        try:
            return cls(**{**values, "generation": Generation(**values.get("generation", {}))})
        except TypeError as error:
            raise WeightsError(f"{path} lacks or misspells a key: {error}.") from error

    def write(self, folder: Path) -> None:
        """Write `config.json`, the checksums of the weight files as they now are."""
        files = {str(path.relative_to(folder)): file_sha256(path) for path in weight_files(folder)}
        text = json.dumps({**asdict(self), "files": files}, indent=2)
        (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    def check(self, folder: Path) -> None:
        """Compare every weight file with its checksum.

        Raises:
            WeightsError: If one is missing or differs.
        """
        for name, expected in self.files.items():
            path = folder / name
            if not path.is_file():
                raise WeightsError(f"{path} is missing; download {self.name} again.")
            if (found := file_sha256(path)) != expected:
                raise WeightsError(
                    f"{path} is damaged: its sha256 is {found[:12]}…, {CONFIG_NAME} says {expected[:12]}…. "
                    f"Download {self.name} again."
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
) -> Path:
    """Find a folder of weights: a bundled name, an existing folder, or a Hub repository.

    Args:
        path_or_repo: "foley-mini", a folder, or "owner/name".
        revision: Branch, tag or commit of a repository.
        cache_dir: Where downloads are kept; Hugging Face's cache when None.
        token: Access token; the one of the environment when None.
        local_files_only: Use the cache alone.

    Raises:
        GatedRepoError: If the repository wants its terms accepted.
        WeightsError: If nothing is found, or the Hub can't be reached.
    """
    name = str(path_or_repo)
    if name in BUNDLED:
        return _existing(BUNDLED[name], f"the bundled weights {name!r}")
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise WeightsError(
            f"there are no weights {name!r}: it is neither one of {', '.join(BUNDLED)}, nor a folder, "
            "nor an owner/name repository."
        )
    return _download(name, revision, cache_dir, token, local_files_only)


def _existing(folder: Path, what: str) -> Path:
    if not (folder / CONFIG_NAME).is_file():
        raise WeightsError(f"{what} are missing from {folder}; install the package again.")
    return folder


def _download(
    repo: str, revision: str | None, cache_dir: str | Path | None, token: str | bool | None, offline: bool
) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub import errors as hub

    try:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=offline,
                allow_patterns=list(_WANTED),
            )
        )
    except hub.GatedRepoError as error:
        raise GatedRepoError(
            f"{repo} is gated. Open its page on the Hub, accept its terms with your account, then log in with "
            "`hf auth login` or set HF_TOKEN, and try again."
        ) from error
    except hub.RevisionNotFoundError as error:
        raise WeightsError(f"{repo} has no revision {revision!r}; leave revision out for its main branch.") from error
    except hub.RepositoryNotFoundError as error:
        raise WeightsError(
            f"the Hub has no repository {repo} that you may read; check the name, or log in with "
            "`hf auth login` if it is private."
        ) from error
    except hub.LocalEntryNotFoundError as error:
        raise WeightsError(
            f"{repo} is not in the cache and the Hub can't be reached. Connect once, or download it elsewhere "
            "and give the folder; 'foley-mini' needs no network."
        ) from error
    except (OSError, hub.HfHubHTTPError, ValueError) as error:
        raise WeightsError(f"{repo} could not be downloaded: {error}. Try again; what arrived is kept.") from error


def push_folder(
    folder: Path, repo: str, *, private: bool = False, token: str | None = None, revision: str | None = None
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
    from huggingface_hub import errors as hub

    config = PublishedConfig.read(Path(folder))
    if config is None:
        raise WeightsError(f"{folder} is no published folder: it has no {CONFIG_NAME}.")
    config.check(Path(folder))
    api = HfApi(token=token)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            folder_path=folder, repo_id=repo, revision=revision, commit_message=f"Publish {config.name}"
        )
    except (OSError, hub.HfHubHTTPError, ValueError) as error:
        raise WeightsError(f"{folder} could not be pushed to {repo}: {error}. Log in with `hf auth login`.") from error
    return str(commit.commit_url)
