"""DAVS's first stage learns words and people, by the supervisions that are on."""

import itertools
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor
from torch.utils.data import DistributedSampler, default_collate

from talkingface.models.davs.recognition import DAVSRecognition
from talkingface.models.davs.supervision import labelled_faces, spread_frames, verify_people
from talkingface.training import CONFIGS
from tests.models.tiny import (
    DAVS_MAIN,
    DAVS_RECOGNITION,
    FRAMES,
    IDENTITIES,
    WORDS,
    fit,
    items,
    loader,
    seed,
    trainer,
)

SWITCHES = ("word_weight", "contrastive_weight", "domain_weight", "person_weight")


def batch_of(count: int) -> Any:
    return default_collate(items(count))


def still(**options: Any) -> Any:
    seed(0)
    model = DAVS_RECOGNITION.still(**options)
    model.trainer = SimpleNamespace(world_size=1)
    return model


def terms(**options: Any) -> dict[str, Tensor]:
    model = still(**options)
    return model.generator_losses(batch_of(4), model.generate(batch_of(4)))


def test_words_and_people_are_learned() -> None:
    seed(0)
    model, data = DAVS_RECOGNITION(lr=3e-3), loader(12, 12)

    def scores() -> dict[str, float]:
        return dict(trainer().validate(model, data, verbose=False)[0])

    before = scores()
    fit(model, data, max_epochs=60)
    after = scores()
    for name in ("visual", "audio", "combined"):
        assert before[f"val/{name}_accuracy"] < 0.7 < after[f"val/{name}_accuracy"], name
    for name in ("video_to_audio", "audio_to_video"):
        assert after[f"val/{name}_median_rank"] < before[f"val/{name}_median_rank"]
        assert f"val/{name}_r@10" in after
    assert 0 <= after["val/verification_auc"] <= 1


@pytest.mark.parametrize("number", range(3))
def test_lips_are_not_silenced_while_nothing_is_known(number: int) -> None:
    """Noise in place of frames: the code's one channel must not close before there is a signal."""
    seed(number)
    model = DAVS_RECOGNITION(lr=1e-3)
    fit(model, loader(12, 12), max_epochs=30)
    frames = torch.rand(8, 3, model.image_size, model.image_size)
    encoder = model.networks.lip_encoder
    opened = encoder.pool.conv(F.relu(encoder.pool.norm(encoder.trunk(frames)))) > 0
    assert opened.any(1).any(1).any(1).all()


def test_every_supervision_has_its_switch() -> None:
    names = {
        "word_weight": {"visual_word", "audio_word"},
        "contrastive_weight": {"contrastive"},
        "domain_weight": {"domain"},
        "person_weight": {"person"},
    }
    whole = terms()
    assert set(whole) == set.union(*names.values())
    for switch, own in names.items():
        assert set(terms(**{switch: 0.0})) == set(whole) - own
        doubled = terms(**{switch: 2.0})
        for name, value in whole.items():
            torch.testing.assert_close(doubled[name], (2 if name in own else 1) * value)
    with pytest.raises(ValueError, match="leave one on"):
        DAVS_RECOGNITION(**dict.fromkeys(SWITCHES, 0.0))


def test_terms_by_hand() -> None:
    model, batch = still(), batch_of(4)
    outputs = model.generate(batch)
    losses = model.generator_losses(batch, outputs)
    networks = model.networks
    frames = (batch["video"] + 1) / 2
    lips = networks.lip_encoder(frames.flatten(0, 1)).unflatten(0, (4, FRAMES))
    torch.testing.assert_close(outputs["visual"], lips)
    logits = networks.word_classifier(lips)
    torch.testing.assert_close(losses["visual_word"], F.cross_entropy(logits, batch["word"]))
    rows, columns = (F.normalize(outputs[x].flatten(1), dim=1) for x in ("visual", "audio"))
    distances = (rows[:, None] - columns[None]).norm(dim=2)
    far = (1 - distances).clamp_min(0).masked_fill(torch.eye(4).bool(), 0)
    torch.testing.assert_close(losses["contrastive"], (distances.diagonal() + far.sum(1)).mean())
    judged = [model.discriminator(outputs[x]).sigmoid() for x in ("visual", "audio")]
    uniform = sum((2 * (p - 0.5) ** 2).mean() / 2 for p in judged)
    torch.testing.assert_close(losses["domain"], uniform)
    told = -((1 - judged[0]).log().mean() + judged[1].log().mean()) / 2
    torch.testing.assert_close(model.discriminator_losses(batch, outputs)["domain"], told)


def test_labels_may_be_smoothed() -> None:
    """The rest of a label goes to all words alike, its own included."""
    sharp, smooth = terms(), terms(label_smoothing=0.1)
    model, batch = still(), batch_of(4)
    outputs, networks = model.generate(batch), model.networks
    for name, scores in (
        ("visual_word", networks.word_classifier(outputs["visual"])),
        ("audio_word", networks.classify_sound(outputs["audio"])),
    ):
        everywhere = -scores.log_softmax(1).mean()
        torch.testing.assert_close(smooth[name], 0.9 * sharp[name] + 0.1 * everywhere)
    assert smooth["person"] == sharp["person"]


@pytest.mark.parametrize(("clips", "ranks"), [(12, 1), (13, 2), (512, 6)])
def test_clips_that_a_sampler_repeats_are_no_rivals(clips: int, ranks: int) -> None:
    """Of what Lightning's samplers give to each rank, every clip counts once."""
    counted = []
    for rank in range(ranks):
        everything: Any = range(clips)
        sampler: Any = DistributedSampler(everything, ranks, rank, shuffle=False)
        model = still()
        data = SimpleNamespace(dataset=range(clips))
        model.trainer = SimpleNamespace(
            world_size=ranks, global_rank=rank, testing=False, val_dataloaders=[data]
        )
        for batch in torch.tensor(list(sampler)).split(5):
            counted += batch[: model._without_repeats(len(batch))].tolist()
    assert sorted(counted) == list(range(clips))


def test_classifiers_are_shared_or_not() -> None:
    shared, apart = DAVS_RECOGNITION(), DAVS_RECOGNITION(shared_classifier=False)
    assert shared.networks.audio_word_classifier is None
    codes = torch.randn(2, FRAMES, 16)
    for model, same in ((shared, True), (apart, False)):
        logits = model.networks.word_classifier(codes), model.networks.classify_sound(codes)
        assert logits[0].shape == (2, WORDS)
        assert torch.equal(*logits) is same


def test_people_come_from_the_second_stream_where_there_is_one() -> None:
    batch = batch_of(3)
    faces, identity = labelled_faces(batch)
    assert torch.equal(faces, batch["faces"])
    assert identity.tolist() == [1, 2, 3]
    del batch["faces"], batch["face_identity"]
    faces, identity = labelled_faces(batch)
    assert torch.equal(faces, batch["source"][:, 0])
    assert identity.tolist() == [0, 1, 2]
    del batch["identity"]
    with pytest.raises(ValueError, match=r"model\.person_weight 0"):
        labelled_faces(batch)
    assert IDENTITIES > 3


def test_missing_words_and_frames_are_named() -> None:
    model, batch = still(), batch_of(2)
    del batch["word"]
    with pytest.raises(ValueError, match=r"no word labels.*model\.word_weight 0"):
        model.generator_losses(batch, model.generate(batch))
    with pytest.raises(ValueError, match=r"windows have 2 frames, but a word is read from 3"):
        still(word_frames=3).generate(batch_of(2))


def test_frames_of_a_word_are_spread_as_in_the_paper() -> None:
    starts = {spread_frames(25, 12, training=True)[0] for _ in range(50)}
    assert starts == {0, 1, 2}
    for frames in (spread_frames(25, 12, training=True), spread_frames(30, 12, training=False)):
        assert len(frames) == 12
        assert {b - a for a, b in itertools.pairwise(frames)} == {2}
    assert spread_frames(12, 12, training=True) == list(range(12))


def test_goes_on_from_another_run_with_other_words_and_people(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seed(0)
    other = DAVS_RECOGNITION(num_words=7, num_identities=9)
    folder = other.save_pretrained(tmp_path / "other", with_discriminator=True)
    model = DAVS_RECOGNITION(ema_half_life=10.0)
    own = {name: value.clone() for name, value in model.networks.state_dict().items()}
    with caplog.at_level(logging.WARNING, "talkingface"):
        model.initialise(folder)
    (record,) = caplog.records
    assert "word_classifier.fc (7 -> 3), person_classifier.fc (9 -> 4)" in record.getMessage()
    begun = {f"{part}_classifier.fc.{x}" for part in ("word", "person") for x in ("weight", "bias")}
    for name, value in model.networks.state_dict().items():
        wanted = own if name in begun else other.networks.state_dict()
        assert torch.equal(value, wanted[name]), name
        assert torch.equal(value, model.average.module.state_dict()[name]), name
    for name, value in model.discriminator.state_dict().items():
        assert torch.equal(value, other.discriminator.state_dict()[name]), name


class Words(pl.LightningDataModule):
    """Batches whose words have names."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.word_names = list(names)

    def train_dataloader(self) -> Any:
        return loader(4, 2)


def test_what_a_model_said_of_its_training_is_forgotten_and_its_words_are_the_datas(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    facts = {"training_data": "drawn people", "steps": 9, "command": "fit", "licence": "MIT"}
    folder = DAVS_RECOGNITION().save_pretrained(
        tmp_path / "known", word_names=["a", "b", "c"], **facts
    )
    opened = DAVSRecognition.from_pretrained(folder)
    started = DAVS_RECOGNITION().initialise(folder)
    for number, model in enumerate((opened, started)):
        caplog.clear()
        trainer().fit(model, datamodule=Words("a", "x", "c"))
        assert "number 1 was 'b' and is 'x' now" in caplog.text
        saved = model.save_pretrained(tmp_path / f"tuned{number}")
        config = json.loads((saved / "config.json").read_text())
        assert config["word_names"] == ["a", "x", "c"]
        assert [config.get(name) for name in ("training_data", "steps", "command")] == [None] * 3
        assert config["licence"] == (None if number else "MIT")  # weights go on under theirs
    caplog.clear()
    trainer().fit(DAVSRecognition.from_pretrained(folder), datamodule=Words("a", "b", "c"))
    assert "other words" not in caplog.text


def test_a_shared_classifier_may_go_on_as_two(tmp_path: Path) -> None:
    shared = DAVS_RECOGNITION()
    folder = shared.save_pretrained(tmp_path / "shared")
    each = DAVS_RECOGNITION(shared_classifier=False).initialise(folder)
    taken = each.networks.audio_word_classifier.state_dict()
    for name, value in shared.networks.word_classifier.state_dict().items():
        assert torch.equal(taken[name], value)
        assert torch.equal(each.networks.word_classifier.state_dict()[name], value)
    again = DAVS_RECOGNITION(shared_classifier=False)
    torch.nn.init.ones_(each.networks.audio_word_classifier.fc.bias)
    again.initialise(each.save_pretrained(tmp_path / "each"))
    assert bool((again.networks.audio_word_classifier.fc.bias == 1).all())


@pytest.mark.parametrize("sizes", [{"word_frames": 1}, {"word_hidden": 8}, {"dim": 8}])
def test_other_sizes_are_no_other_classes(tmp_path: Path, sizes: dict[str, int]) -> None:
    folder = DAVS_RECOGNITION(num_words=7).save_pretrained(tmp_path / "model")
    stages = {"person_stages": ((8,), (8,), (8,), (8,))} if "dim" in sizes else {}
    with pytest.raises(ValueError, match=r"has shape .* expected .* use the same sizes"):
        DAVS_RECOGNITION(**sizes, **stages).initialise(folder)


def test_stages_know_the_same_people() -> None:
    counts = set()
    for stage in ("recognition", "decoder", "main"):
        config = yaml.safe_load((CONFIGS / "davs" / f"{stage}_tiny.yaml").read_text())
        data = config["data"]["init_args"]
        counts.add(sum(data[name] for name in data if name.endswith("identities")))
    assert len(counts) == 1


@pytest.mark.parametrize("tiny", [DAVS_RECOGNITION, DAVS_MAIN], ids=["recognition", "main"])
def test_accumulation_says_what_it_does_to_the_contrastive_loss(
    tiny: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "talkingface"):
        fit(tiny(accumulate=2, contrastive_weight=0.0), loader(4, 2))
        assert "contrastive" not in caplog.text
        fit(tiny(accumulate=2), loader(4, 2))
    assert caplog.text.count("accumulate=2: the contrastive loss sees") == 1


def test_people_are_verified_by_frames_far_apart() -> None:
    batch, networks = batch_of(3), DAVS_RECOGNITION().eval().networks
    taken: list[tuple[Tensor, Tensor]] = []
    metric: Any = SimpleNamespace(update=lambda *samples: taken.append(samples))
    with torch.no_grad():
        verify_people(metric, networks, batch)
        for (vectors, people), pictures in zip(
            taken, (batch["source"][:, 0], batch["video"][:, -1]), strict=True
        ):
            torch.testing.assert_close(vectors, networks.person_encoder((pictures + 1) / 2)[0])
            assert torch.equal(people, batch["identity"])
