"""Cached latents of procedural clips: what the autoencoder makes of them, kept for one autoencoder alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from audio_agent_zoo.data.foley_latents import Bucket, FoleyLatentsDataModule, LatentBatches, encode_bucket
from audio_agent_zoo.models.mel import MelConfig, log_mel, to_image
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import make_clip, make_pair
from tests import tiny

MEL = MelConfig(n_mels=tiny.N_MELS)


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    return tiny.vae()


def module(folder: Path, cache: str = "cache", **more: object) -> FoleyLatentsDataModule:
    settings = {"durations_s": (0.32, 0.64), "n_clips": (9, 6), "n_pairs": (0, 2), "batches_per_epoch": 6}
    return FoleyLatentsDataModule(
        str(folder / "hub"), str(folder / cache), n_mels=tiny.N_MELS, values_per_batch=64, **{**settings, **more}
    )  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.vae().save_pretrained(tmp_path / "hub" / "vae")
    return tmp_path


def test_latents_are_those_of_each_clip_encoded_by_itself(vae: AutoencoderKL) -> None:
    latents, captions = encode_bucket(Bucket(0.64, 18, 2), "train", 40, vae, MEL, num_workers=0)
    assert latents.shape == (20, 4, tiny.N_MELS // 4, 16) and latents.dtype == torch.float16
    for index in (0, 17, 18, 19):
        if index < 18:
            clip = make_clip(40 + index, "train", 0.64, class_name=CLASS_NAMES[index], n_captions=8)
        else:
            clip = make_pair(40 + index, "train", 0.64, together=index % 3 == 0)
        with torch.no_grad():
            image = to_image(log_mel(torch.from_numpy(clip.audio)[None], MEL), MEL)
            alone = vae.encode(image).latent_dist.mode()[0] * vae.config.scaling_factor
        np.testing.assert_allclose(latents[index].float(), alone, atol=2e-3, rtol=2e-3)
        assert captions[index] == list(clip.captions)


def test_processes_that_make_clips_change_nothing(vae: AutoencoderKL) -> None:
    bucket = Bucket(0.32, 3)
    alone, texts = encode_bucket(bucket, "validation", 7, vae, MEL, num_workers=0)
    helped, same_texts = encode_bucket(bucket, "validation", 7, vae, MEL, num_workers=1)
    assert torch.equal(alone, helped) and texts == same_texts


def buckets() -> list[tuple[torch.Tensor, list[list[str]]]]:
    texts = [["A dog barks.", "The dog is barking"], ["an owl"]]
    narrow = torch.arange(10.0).view(10, 1, 1, 1).expand(10, 4, 2, 8)
    wide = 100 + torch.arange(10.0).view(10, 1, 1, 1).expand(10, 4, 2, 32)
    return [(narrow, texts * 5), (wide, texts * 5)]


def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen() -> None:
    whole, rest = LatentBatches(buckets(), 9, 64, seed=3), LatentBatches(buckets(), 4, 64, seed=3, first=5)
    for i in range(4):
        assert torch.equal(whole[5 + i]["latents"], rest[i]["latents"])
        assert whole[5 + i]["captions"] == rest[i]["captions"]


def test_wide_clips_come_in_smaller_batches_and_captions_stay_with_their_clips() -> None:
    sizes, wordings = set(), set()
    for batch in (LatentBatches(buckets(), 60, 64, seed=0)[i] for i in range(60)):
        sizes.add((batch["latents"].shape[-1], len(batch["latents"])))
        rows = batch["latents"][:, 0, 0, 0].long().tolist()
        assert len(set(rows)) == len(rows)
        for row, caption in zip(rows, batch["captions"], strict=True):
            assert ("owl" in caption) == (row % 2 == 1)
            wordings.add(caption)
    assert sizes == {(8, 8), (32, 2)}
    assert {"an owl", "owl", "an owl.", "A dog barks.", "dog barks."} <= wordings


def test_what_is_cached_is_not_made_again_unless_the_autoencoder_is_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = module(folder, num_workers=0)
    first.prepare_data()
    files = sorted((folder / "cache").iterdir())
    assert len(files) == 8, "two lengths of two splits, each with its captions"
    marks = {path: path.stat().st_mtime_ns for path in files}
    again = module(folder, num_workers=0)
    again.setup("fit")
    assert {path: path.stat().st_mtime_ns for path in (folder / "cache").iterdir()} == marks
    assert again.training_captions() == first.training_captions()
    weights = folder / "hub" / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: value * 1.1 for name, value in load_file(weights).items()}, weights)
    module(folder, num_workers=0).setup("fit")
    assert len(list((folder / "cache").iterdir())) == 16, "another autoencoder has latents of its own"


def test_a_length_without_its_captions_is_made_again(folder: Path) -> None:
    module(folder, num_workers=0).prepare_data()
    lost = next((folder / "cache").glob("train-0.32s-*.json"))
    lost.unlink()
    module(folder, num_workers=0).setup("fit")
    assert lost.exists()


def test_loaders_give_both_splits(folder: Path) -> None:
    data = module(folder, num_workers=0)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 6
    assert {tuple(batch["latents"].shape[1:]) for batch in batches} == {(4, 4, 8), (4, 4, 16)}
    assert all(len(batch["captions"]) == len(batch["latents"]) for batch in batches)
    first, second = (list(data.val_dataloader()) for _ in range(2))
    assert all(torch.equal(a["latents"], b["latents"]) for a, b in zip(first, second, strict=True))
    kept = torch.cat([latents.flatten() for latents, _ in data.loaded["train"]])
    held_out = torch.cat([latents.flatten() for latents, _ in data.loaded["validation"]])
    assert len(held_out) < len(kept) / 5 and not np.isin(held_out.numpy(), kept.numpy()).all()


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hold 2, 1 and 2 entries"):
        module(tmp_path, n_clips=(9,))
    with pytest.raises(FileNotFoundError, match=r"vae holds no autoencoder; run the autoencoder recipe first"):
        module(tmp_path, num_workers=0).prepare_data()
