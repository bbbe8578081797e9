"""What a published folder holds: find it by name, check it, describe it, push it.

A published folder is one small `config.json` and a subfolder per part. Nothing else in the package
knows where a folder comes from: a bundled name, a path, or a Hub repository at a revision.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from audio_agent_zoo.errors import GatedRepoError, WeightsError
from audio_agent_zoo.published import CONFIG_NAME, PublishedConfig

logger = logging.getLogger(__name__)

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

FRAME_ENCODER, TEMPORAL_CONNECTOR = "frame_encoder", "temporal_connector"
LANGUAGE_MODEL, SEMANTIC_TOKEN_LM = "language_model", "semantic_token_lm"
HUBERT, SEMANTIC_QUANTIZER = "hubert", "semantic_quantizer"
AUDIO_TEXT = "audio_text"
VISUAL_ADAPTER = "visual_adapter"
VIDEO_TO_AUDIO = (
    FRAME_ENCODER,
    TEMPORAL_CONNECTOR,
    LANGUAGE_MODEL,
    SEMANTIC_TOKEN_LM,
    HUBERT,
    SEMANTIC_QUANTIZER,
    VISUAL_ADAPTER,
)
"""Subfolders of the video half; frozen public parts may be named as bases instead."""

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


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


def cached_revision(repo: str, revision: str = "main") -> str:
    """Commit of a repository that was downloaded last, 40 hex digits; empty if it never was."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if not _REPOSITORY.fullmatch(repo):
        return ""
    reference = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model") / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""
    return commit if re.fullmatch("[0-9a-f]{40}", commit) else ""


def wanted_files(files: Sequence[str], parts: Sequence[str]) -> list[str]:
    """The files of a repository that some parts need: configs, tokenizers, one format of each weight.

    Args:
        files: Paths in the repository.
        parts: Patterns of the subfolders to load; "*" takes weights beside the config too, as models of one part
            have them.
    """
    safe = {str(PurePosixPath(name).parent) for name in files if _is_plain_weight(name, ".safetensors")}
    wanted = []
    for name in files:
        path = PurePosixPath(name)
        if len(path.parts) == 1 and "*" not in parts:
            keep = path.suffix == ".json"
        elif len(path.parts) > 1 and not any(fnmatchcase(path.parts[0], pattern) for pattern in parts):
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


@dataclass(frozen=True)
class PushPlan:
    """What a push sends.

    Attributes:
        files: Path in the repository -> bytes.
    """

    files: dict[str, int]

    def __str__(self) -> str:
        """A line per file, and the sum."""
        lines = [f"{size / 1e6:10.2f} MB  {name}" for name, size in self.files.items()]
        return "\n".join([*lines, f"{sum(self.files.values()) / 1e6:10.2f} MB  in all"])


def plan_push(folder: str | Path) -> PushPlan:
    """Check a published folder and list what a push sends: no checkpoints, no logs, nothing hidden.

    Raises:
        WeightsError: If the folder is no intact published folder.
    """
    folder = Path(folder)
    config = PublishedConfig.read(folder)
    if config is None:
        raise WeightsError(f"{folder} is no published folder: it has no {CONFIG_NAME}.")
    config.check(folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and _is_public(path.relative_to(folder)))
    return PushPlan({path.relative_to(folder).as_posix(): path.stat().st_size for path in paths})


def _is_public(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.suffix not in (".ckpt", ".log", ".partial") and "wandb" not in path.parts


def push_folder(
    folder: str | Path,
    repo: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    pull_request: bool = False,
) -> str:
    """Publish a folder in a single commit, so that a push cut off leaves the last state loadable.

    Args:
        folder: Published folder.
        repo: "owner/name"; created if it does not exist.
        private: Create it private.
        token: Access token; the one of the environment when None.
        revision: Branch to push to; created if it does not exist.
        pull_request: Open a pull request instead of changing the branch.

    Returns:
        Address of the commit, or of the pull request.

    Raises:
        WeightsError: If the folder is no intact published folder, or the Hub refuses.
    """
    from huggingface_hub import HfApi

    plan = plan_push(folder)
    config = PublishedConfig.read(Path(folder))
    api = HfApi(token=token)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None and not pull_request:
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            folder_path=folder,
            repo_id=repo,
            revision=revision,
            commit_message=f"Publish {config.name if config else repo}",
            allow_patterns=list(plan.files),
            # A part that the folder now takes from elsewhere must not stay behind and be loaded instead.
            delete_patterns=[f"{part}/*" for part in (*TEXT_TO_AUDIO, *VIDEO_TO_AUDIO)],
            create_pr=pull_request,
        )
    except Exception as error:  # the transport's own errors, which differ between client versions
        raise WeightsError(
            f"{folder} could not be pushed to {repo}: {_reason(error)}. Log in with "
            "`hf auth login` as someone who may write there, and try again."
        ) from error
    return str(commit.pr_url if pull_request else commit.commit_url)


def compact(folder: str | Path, out: str | Path) -> Path:
    """Copy a published folder with its weights in half precision, which halves it; centroids stay as they are.

    Raises:
        WeightsError: If the folder is no intact published folder.
    """
    source, target = Path(folder), Path(out)
    config = PublishedConfig.read(source)
    plan = plan_push(source)
    for name in plan.files:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".safetensors" or path.parent.name == SEMANTIC_QUANTIZER:
            path.write_bytes((source / name).read_bytes())
            continue
        halve_weights(source / name, path)
    assert config is not None
    config.write(target)
    return target


def halve_weights(file: Path, out: Path) -> None:
    """Write a safetensors file with what is float32 in it as float16."""
    import torch
    from safetensors.torch import load_file, save_file

    half = {name: value.half() if value.dtype == torch.float32 else value for name, value in load_file(file).items()}
    save_file(half, out, metadata={"format": "pt"})
    out.chmod(0o644)  # safetensors writes for the owner alone
