"""Published folders by name, from disk and from a real HTTP Hub that also misbehaves."""

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from audio_agent_zoo import hub
from audio_agent_zoo.errors import GatedRepoError, WeightsError
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from tests import tiny
from tests.loopback_hub import LoopbackHub, serve

NAME = "someone/tiny-foley"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_published(tmp_path_factory.mktemp("hub") / "tiny")


@pytest.fixture()
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy of the published folder to spoil."""
    copy = tmp_path / "weights"
    for path in published.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(published)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return copy


@pytest.fixture()
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with serve() as running:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.endpoint)
        monkeypatch.setattr(
            huggingface_hub.constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            running.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield running


def test_from_pretrained_over_http_then_from_the_cache(server: LoopbackHub, published: Path, tmp_path: Path) -> None:
    server.publish(NAME, published)
    expected = TextToAudioPipeline.from_pretrained(published)("rain", 0.2, seed=3).audios[0]
    online = TextToAudioPipeline.from_pretrained(NAME, cache_dir=tmp_path)
    assert online.name == "tiny"
    np.testing.assert_array_equal(online("rain", 0.2, seed=3).audios[0], expected)
    asked = len(server.requests)
    cached = TextToAudioPipeline.from_pretrained(NAME, cache_dir=tmp_path, local_files_only=True)
    assert len(server.requests) == asked
    np.testing.assert_array_equal(cached("rain", 0.2, seed=3).audios[0], expected)
    server.broken = True
    TextToAudioPipeline.from_pretrained(NAME, cache_dir=tmp_path)


@pytest.mark.parametrize("layout", ["stock", "adapted"])
def test_public_layouts_over_http_bring_only_what_is_needed(server: LoopbackHub, tmp_path: Path, layout: str) -> None:
    folder = tmp_path / layout
    (tiny.write_stock if layout == "stock" else tiny.write_adapted)(folder)
    (folder / "demo").mkdir()
    (folder / "demo" / "sound.wav").write_bytes(b"RIFF")
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "pytorch_model.bin").write_bytes(b"large")
    (folder / "unet" / "diffusion_pytorch_model.fp16.bin").write_bytes(b"another variant")
    server.publish("auffusion/auffusion", folder)
    made = TextToAudioPipeline.from_pretrained("auffusion/auffusion", cache_dir=tmp_path / "cache")
    assert made.name == "auffusion/auffusion"
    fetched = {request.split("/resolve/")[1].split("/", 1)[1] for request in server.requests if "/resolve/" in request}
    assert {"unet/diffusion_pytorch_model.bin", "vocoder/vocoder.pt"} <= fetched
    assert not [path for path in fetched if path.startswith(("demo", "safety", "feature")) or "fp16" in path]


def test_revisions(server: LoopbackHub, published: Path, folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    tiny.write_json(folder / "config.json", {**config, "name": "older"})
    first = server.publish(NAME, folder).revisions["main"]
    server.repositories[NAME].revisions["v1"] = first
    server.publish(NAME, published)
    cache = {"cache_dir": tmp_path / "cache"}
    assert TextToAudioPipeline.from_pretrained(NAME, **cache).name == "tiny"
    for revision in ("v1", first):
        assert TextToAudioPipeline.from_pretrained(NAME, revision=revision, **cache).name == "older"
    assert TextToAudioPipeline.from_pretrained(f"{NAME}@v1", **cache).name == "older"
    with pytest.raises(WeightsError, match="no revision 'v9'"):
        hub.resolve(NAME, revision="v9", **cache)
    with pytest.raises(ValueError, match="one of the two"):
        hub.resolve(f"{NAME}@v1", revision="v1", **cache)


def test_gated_private_and_missing_repositories(server: LoopbackHub, published: Path, tmp_path: Path) -> None:
    repository = server.publish(NAME, published)
    repository.gated = True
    with pytest.raises(GatedRepoError, match="accept its terms"):
        hub.resolve(NAME, cache_dir=tmp_path)
    assert hub.resolve(NAME, cache_dir=tmp_path, token="hf_letmein").is_dir()
    repository.gated, repository.private = False, True
    with pytest.raises(WeightsError, match="no repository someone/tiny-foley that you may read"):
        hub.resolve(NAME, cache_dir=tmp_path / "other")
    with pytest.raises(WeightsError, match="no repository someone/else"):
        hub.resolve("someone/else", cache_dir=tmp_path)


def test_no_network(server: LoopbackHub, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.publish(NAME, published)
    with pytest.raises(WeightsError, match="not complete in the cache"):
        hub.resolve(NAME, cache_dir=tmp_path, local_files_only=True)
    assert not server.requests
    server.broken = True
    with pytest.raises(WeightsError, match=r"is not to be reached .*500"):
        hub.resolve(NAME, cache_dir=tmp_path)
    with serve() as gone:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", gone.endpoint)
    with pytest.raises(WeightsError, match="is not to be reached"):
        hub.resolve(NAME, cache_dir=tmp_path)


def test_a_download_cut_off_says_so_and_goes_on_later(server: LoopbackHub, published: Path, tmp_path: Path) -> None:
    server.publish(NAME, published)
    server.cut_off = "unet/diffusion_pytorch_model.safetensors"
    with pytest.raises(WeightsError, match=r"could not be downloaded.*Try again"):
        TextToAudioPipeline.from_pretrained(NAME, cache_dir=tmp_path)
    with pytest.raises(WeightsError):
        TextToAudioPipeline.from_pretrained(NAME, cache_dir=tmp_path, local_files_only=True)
    server.cut_off = ""
    assert TextToAudioPipeline.from_pretrained(NAME, cache_dir=tmp_path).name == "tiny"


def test_a_file_missing_from_a_repository_is_named(server: LoopbackHub, folder: Path, tmp_path: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    server.publish(NAME, folder)
    with pytest.raises(WeightsError, match=r"vae/diffusion_pytorch_model\.safetensors is missing"):
        TextToAudioPipeline.from_pretrained(NAME, cache_dir=tmp_path / "cache")


def test_push_is_one_commit_and_loads_again(server: LoopbackHub, published: Path, tmp_path: Path) -> None:
    pipeline = TextToAudioPipeline.from_pretrained(published)
    url = pipeline.push_to_hub(NAME, private=True, token="hf_writer")
    repository = server.repositories[NAME]
    assert repository.private and repository.messages == ["initial commit", "Publish tiny"]
    assert url.endswith(repository.revisions["main"])
    again = TextToAudioPipeline.from_pretrained(NAME, cache_dir=tmp_path, token="hf_writer")
    np.testing.assert_array_equal(again("rain", 0.1).audios[0], pipeline("rain", 0.1).audios[0])
    with pytest.raises(WeightsError, match=r"could not be pushed to someone/other.*hf auth login"):
        hub.push_folder(published, "someone/other", token=False)


def test_only_intact_published_folders_are_pushed(server: LoopbackHub, folder: Path, tmp_path: Path) -> None:
    tiny.write_stock(tmp_path / "stock")
    with pytest.raises(WeightsError, match=r"no published folder"):
        hub.push_folder(tmp_path / "stock", NAME, token="hf_writer")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"spoilt")
    with pytest.raises(WeightsError, match="damaged"):
        hub.push_folder(folder, NAME, token="hf_writer")
    assert not server.requests


def _change(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    tiny.write_json(folder / "config.json", {**config, **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format_version": 2}, "has format 2, .* pip install -U audio-agent-zoo"),
        ({"format_version": "new"}, "no config of a published folder"),
        ({"surprise": 1}, r"unknown keys \['surprise'\]"),
        ({"generation": {"steps": 3}}, "lacks or misspells a key"),
        ({"mel": {"bands": 16}}, "mel in .* unknown keys"),
        ({"mel": {"n_mels": 32}}, "num_mels and the mel front end's are 16 and 32"),
        ({"parts": {"unet": {"subfolder": "unet", "sha256": {"../../x": "0"}}}}, "lies outside the folder"),
    ],
)
def test_a_config_of_another_kind_is_refused(folder: Path, values: dict[str, object], message: str) -> None:
    _change(folder, **values)
    with pytest.raises(WeightsError, match=message):
        TextToAudioPipeline.from_pretrained(folder)


def test_wrong_and_damaged_weights_are_refused(folder: Path) -> None:
    path = folder / "vocoder" / "vocoder.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"vocoder\.safetensors is damaged: its sha256"):
        TextToAudioPipeline.from_pretrained(folder)
    # Even where the checksum agrees, a file that is no safetensors is refused.
    path.write_bytes(b"{" * 100)
    config = hub.PublishedConfig.read(folder)
    assert config is not None
    config.write(folder)
    with pytest.raises(WeightsError, match=r"vocoder in .* can't be loaded"):
        TextToAudioPipeline.from_pretrained(folder)


def test_other_parts_of_a_folder_are_not_read_for_sound(folder: Path) -> None:
    (folder / "llm").mkdir()
    (folder / "llm" / "model.safetensors").write_bytes(b"large")
    config = hub.PublishedConfig.read(folder)
    assert config is not None
    config.write(folder)
    (folder / "llm" / "model.safetensors").unlink()
    assert TextToAudioPipeline.from_pretrained(folder).name == "tiny"
    again = hub.PublishedConfig.read(folder)
    assert again is not None and "llm" in again.parts
    with pytest.raises(WeightsError, match="llm"):
        again.check(folder)


def test_a_save_cut_off_leaves_no_folder_that_looks_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = TextToAudioPipeline.from_pretrained(folder)

    def full_disk(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline.vocoder, "save_pretrained", full_disk)
    with pytest.raises(OSError, match="No space left"):
        pipeline.save_pretrained(folder)
    with pytest.raises(WeightsError, match="no published folder"):
        hub.push_folder(folder, NAME)


@pytest.mark.parametrize("name", ["no-such-name", "./nowhere", "/nowhere/at/all", "a/b/c", "../up/there"])
def test_names_of_nothing(name: str) -> None:
    with pytest.raises(WeightsError, match=r"there are no weights.*foley-mini"):
        hub.resolve(name)


def test_bundled_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: Path) -> None:
    monkeypatch.setitem(hub.BUNDLED, "foley-mini", published)
    assert hub.resolve("foley-mini") == published.resolve()
    with pytest.raises(ValueError, match="no Hub repository"):
        hub.resolve("foley-mini", revision="main")
    monkeypatch.setitem(hub.BUNDLED, "foley-mini", tmp_path / "gone")
    with pytest.raises(WeightsError, match="install the package again"):
        hub.resolve("foley-mini")


def test_one_format_of_each_weight_is_wanted() -> None:
    files = [
        "config.json",
        "README.md",
        "sounds/demo.wav",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.bin",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.bin",
        "text_encoder_1/model-00001-of-00002.safetensors",
        "text_encoder_1/model.safetensors.index.json",
        "text_encoder_1/spiece.model",
        "tokenizer/merges.txt",
        "llm/model.safetensors",
    ]
    assert hub.wanted_files(files, hub.TEXT_TO_AUDIO) == [
        "config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.bin",
        "text_encoder_1/model-00001-of-00002.safetensors",
        "text_encoder_1/model.safetensors.index.json",
        "text_encoder_1/spiece.model",
        "tokenizer/merges.txt",
    ]
