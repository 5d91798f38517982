"""Inversion taught by labels: where looks and motion lie in a code, and who learns from what."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from talkingface.data.batch import to_float
from talkingface.data.synthetic.frames import RandomFaceDataModule, RandomFaces
from talkingface.data.synthetic.traits import Expression, Identity, Pose
from talkingface.losses import box_mask
from talkingface.models.components.stylegan2_generator import Synthesis
from talkingface.models.experts.inversion import inheritance, label_codes
from talkingface.models.experts.inversion.label_codes import LabelCodes
from talkingface.models.experts.inversion.module import Inversion
from talkingface.models.experts.inversion.taught import TaughtInversion
from tests.models.tiny import PC_AVS, SIZE, seed, trainer

MOUTH = (0.5, 0.25, 0.75, 0.75)


def make(max_channels: int = 8, **options: Any) -> TaughtInversion:
    seed(0)
    return TaughtInversion(
        motion_dim=6,
        motion_layers=(1, 2, 3),
        audio_layers=(3,),
        mouth_box=MOUTH,
        image_size=SIZE,
        style_dim=16,
        mapping_layers=1,
        max_channels=max_channels,
        encoder_channels=(4, 4, 8, 8),
        encoder_depths=(1, 1, 1, 1),
        lpips_weight=0.0,
        identity_weight=0.0,
        **options,
    )


@pytest.fixture(scope="module")
def data() -> RandomFaceDataModule:
    return RandomFaceDataModule(SIZE, identities=4, poses=4, val_identities=2, batch_size=8)


def labels_of(batch: Any) -> list[Tensor]:
    return [batch[name].flatten(0, 1) for name in ("looks", "pose", "expression")]


def test_the_numbers_are_those_of_the_corpus() -> None:
    counts = (label_codes.LOOKS, label_codes.POSE, label_codes.EXPRESSION)
    assert counts == (len(Identity._fields), len(Pose._fields), len(Expression._fields))
    assert Expression._fields[label_codes.ARTICULATION] == "blink"


@torch.no_grad()
def test_looks_and_motion_have_entries_of_their_own() -> None:
    seed(0)
    labels = LabelCodes(5, 8, 3, motion_layers=(1, 2, 4), audio_layers=(2,))
    looks, pose, face = torch.rand(3, 41), torch.randn(3, 6), torch.rand(3, 10)
    codes = labels(looks, pose, face)

    def changed(*numbers: Tensor) -> list[list[bool]]:
        differs = (labels(*numbers) != codes).any(0)
        return [[bool(part.any()) for part in layer.split([5, 3])] for layer in differs]

    assert changed(looks.flip(0), pose, face) == [[True, False]] * 5
    moving = [[False, layer in (1, 2, 4)] for layer in range(5)]
    assert changed(looks, pose.flip(0), face) == moving
    shut, speaking = face.clone(), face.clone()
    shut[:, 6:], speaking[:, :6] = 1 - shut[:, 6:], 1 - speaking[:, :6]
    assert changed(looks, pose, shut) == moving
    assert changed(looks, pose, speaking) == [[False, layer == 2] for layer in range(5)]


def test_batches_hold_what_faces_are_drawn_from(data: RandomFaceDataModule) -> None:
    from talkingface.data.synthetic.face import render

    batch = next(iter(data.train_dataloader()))
    looks, pose, face = labels_of(batch)
    drawn = render(looks, pose, face, SIZE)
    assert (drawn - to_float(batch["video"].flatten(0, 1))).abs().max() <= 1 / 127.5


@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_loss_by_hand(data: RandomFaceDataModule, hidden: float) -> None:
    terms: Any = {"l1_weight": 3.0, "l2_weight": 0.5, "feature_weight": 2.0, "seen_weight": 0.7}
    model = make(hidden=hidden, mirror=False, **terms)
    logged: dict[str, Tensor] = {}
    model.log_dict = logged.update  # type: ignore[method-assign,assignment]
    model.log = lambda *_, **__: None  # type: ignore[method-assign]
    batch: Any = next(iter(data.train_dataloader()))
    batch["video"] = to_float(batch["video"])
    looks, pose, face = labels_of(batch)
    painted = model.networks.generator(model.labels(looks, pose, face))
    model.networks.encoder.eval()  # what it has counted before it sees the batch
    again = model.readout(model.networks.encode(painted)[:, 1:4, -6:], pose, face)
    model.networks.encoder.train()
    loss = model.training_step(batch, 0)
    names = {"l2", "l1", "seen", "codes", "motion", "reading"}
    assert set(logged) == {f"train/{name}" for name in names}
    torch.testing.assert_close(loss, torch.stack(list(logged.values())).sum())
    frames = batch["video"].flatten(0, 1)
    grid = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy"), -1)
    points = batch["landmarks"].flatten(0, 1)[:, 17:]
    nearest = torch.cdist(grid.flatten(0, 1).float()[None], points).amin(2)
    reach = 0.03 * SIZE
    weights = 1 + 2 * torch.exp(-nearest.square() / (2 * reach**2)).view(-1, 1, SIZE, SIZE)
    error = painted - frames
    torch.testing.assert_close(logged["train/l1"], 3 * (weights * error.abs()).mean())
    torch.testing.assert_close(logged["train/l2"], 0.5 * error.square().mean())
    torch.testing.assert_close(logged["train/seen"], 0.7 * again)
    if hidden:  # a mouth that cannot be seen is one at rest
        frames = frames * (1 - box_mask(SIZE, MOUTH))
        face = torch.cat([torch.zeros(len(face), 6), face[:, 6:]], 1)
    target = model.labels(looks, pose, face)
    codes = model.networks.encode(frames)
    moved, wanted = codes[:, 1:4, -6:], target[:, 1:4, -6:]
    parts = []
    for layer in range(3):  # the first batch's own covariance, as numpy has it
        spread = np.cov(wanted[:, layer].detach().numpy().T, bias=True)
        values, vectors = np.linalg.eigh(spread)
        along = (moved - wanted)[:, layer].detach().numpy() @ vectors
        parts.append((along**2 / (values.clip(0) + 0.02 * values.mean() + 1e-6)).mean())
    assert logged["train/motion"].item() == pytest.approx(np.mean(parts), rel=1e-3)
    read = torch.cat(model.readout.read(moved), 1)
    units = torch.tensor([30, 15, 15, 0.05, 0.05, 0.1] + 10 * [0.5])
    off = (read - torch.cat([pose, face], 1)).abs() / units
    off[:, 14:] *= 3 * (1 - 0.9 * face[:, 6:7])
    torch.testing.assert_close(logged["train/reading"], 2 * off.mean())
    error = (codes - target).square()
    parts = [error[:, k].mean() / (target[:, k].var(0).mean() + 1e-6) for k in range(8)]
    torch.testing.assert_close(logged["train/codes"], torch.stack(parts).mean())


def test_mirrored_labels_are_those_of_mirrored_frames(data: RandomFaceDataModule) -> None:
    from talkingface.data.synthetic.face import render

    looks, pose, face = labels_of(next(iter(data.train_dataloader())))
    drawn = render(looks, pose, face, SIZE)
    turned = render(*label_codes.mirror_labels(looks, pose, face), SIZE)
    off, asymmetry = ((x - drawn).abs().mean() for x in (turned.flip(3), drawn.flip(3)))
    assert off < 0.07 * asymmetry  # curls and patterns are not drawn the other way round
    again = label_codes.mirror_labels(*label_codes.mirror_labels(looks, pose, face))
    for found, before in zip(again, (looks, pose, face), strict=True):
        torch.testing.assert_close(found, before)


def test_mirrored_training_sees_the_labels_of_what_it_shows(data: RandomFaceDataModule) -> None:
    seen: dict[str, Any] = {}
    model = make(hidden=0.0)
    model.log_dict = model.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    batch: Any = next(iter(data.train_dataloader()))
    frames = batch["video"] = to_float(batch["video"])
    _, pose, _ = labels_of(batch)

    def painting(shown: Tensor, labels: list[Tensor], points: Tensor) -> dict[str, Tensor]:
        seen.update(shown=shown, pose=labels[1], points=points)
        return {}

    model._painting = painting  # type: ignore[method-assign,assignment]
    model.training_step(batch, 0)
    frames, points = frames.flatten(0, 1), batch["landmarks"].flatten(0, 1)[:, 17:]
    turned = [not torch.equal(one, other) for one, other in zip(seen["shown"], frames, strict=True)]
    assert 0 < sum(turned) < len(turned)
    for k, mirrored in enumerate(turned):
        assert torch.equal(seen["shown"][k], frames[k].flip(2) if mirrored else frames[k])
        assert seen["pose"][k, 0] == (-pose[k, 0] if mirrored else pose[k, 0])
        across = SIZE - 1 - points[k, :, 0] if mirrored else points[k, :, 0]
        torch.testing.assert_close(seen["points"][k, :, 0], across)


def test_what_cannot_be_taught_is_refused(data: RandomFaceDataModule, tmp_path: Path) -> None:
    folder = make().save_pretrained(tmp_path / "taught")
    with pytest.raises(ValueError, match=r"was saved without labels, readout: save it with_disc"):
        make().initialise(taught=folder)
    with pytest.raises(ValueError, match="give one of them"):
        make().initialise(taught=folder, inversion=folder)
    with pytest.raises(ValueError, match="leave train_generator on"):
        make(train_generator=False).initialise(pc_avs="pc-avs-tiny")
    data.setup()
    batch = default_collate([data.train_dataset[0]])
    with pytest.raises(ValueError, match=r"data\.batch_size of 2 or more"):
        make().training_step(batch, 0)
    del batch["looks"]
    with pytest.raises(ValueError, match="the data has no looks"):
        make().training_step(batch, 0)


def test_the_encoder_alone_goes_on(data: RandomFaceDataModule, tmp_path: Path) -> None:
    first = make()
    trainer(max_epochs=1, limit_train_batches=2).fit(first, data)
    folder = first.save_pretrained(tmp_path / "taught", with_discriminator=True)
    model = make(train_generator=False, lr=2e-3).initialise(taught=folder)
    for name in ("networks", "labels", "readout"):
        begun, left = model.get_submodule(name), first.get_submodule(name)
        for key, value in left.state_dict().items():
            assert torch.equal(begun.state_dict()[key], value)
    trainer(max_epochs=1, limit_train_batches=2).fit(model, data)
    parts = ("networks.encoder", "networks.generator", "labels", "readout")
    changed = {
        name: any(
            not torch.equal(one, other)
            for one, other in zip(
                model.get_submodule(name).parameters(),
                first.get_submodule(name).parameters(),
                strict=True,
            )
        )
        for name in parts
    }
    assert changed == dict(zip(parts, (True, False, False, True), strict=True))


def test_what_is_seen_of_a_painting_teaches_the_painter_alone(data: RandomFaceDataModule) -> None:
    model = make()
    batch: Any = next(iter(data.train_dataloader()))
    labels, points = labels_of(batch), batch["landmarks"].flatten(0, 1)[:, 17:]
    counted = {name: value.clone() for name, value in model.networks.encoder.named_buffers()}
    model._painting(to_float(batch["video"].flatten(0, 1)), labels, points)["seen"].backward()
    parts = {"encoder": model.networks.encoder, "readout": model.readout}
    for part in parts.values():
        assert all(p.grad is None and p.requires_grad for p in part.parameters())
    for part in (model.labels, model.networks.generator.synthesis.convs):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None) > 0
    for name, value in model.networks.encoder.named_buffers():
        assert torch.equal(value, counted[name])
    assert model.networks.encoder.training


def test_labels_learn_from_the_painting_alone(data: RandomFaceDataModule) -> None:
    model = make(l1_weight=0.0, l2_weight=0.0, seen_weight=0.0)
    model.log_dict = model.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    batch: Any = next(iter(data.train_dataloader()))
    batch["video"] = to_float(batch["video"])
    model.training_step(batch, 0).backward()
    slopes = {
        name: sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None)
        for name, part in {
            "encoder": model.networks.encoder,
            "generator": model.networks.generator,
            "labels": model.labels,
        }.items()
    }
    assert slopes["encoder"] > 0 and slopes["generator"] == slopes["labels"] == 0


def narrow_pc_avs(width: int) -> Any:
    """A PC-AVS whose generator has as many channels in each level."""
    levels = (width,) * 4
    return PC_AVS(image_size=SIZE, generator_channels=levels, map_channels=width).eval()


@torch.no_grad()
def test_inherited_generators_paint_the_same() -> None:
    seed(0)
    painter, faces = narrow_pc_avs(8), RandomFaces([0, 1, 2], 2, SIZE)
    networks = painter.networks
    frames = torch.cat([faces.frames(person, range(2)) for person in range(3)])
    people = torch.tensor([0, 0, 1, 1, 2, 2])
    identity, motion, maps = inheritance._read(networks, frames, people)
    alone = networks.identity_encoder(to_float(frames))[0]
    torch.testing.assert_close(identity[2], (alone[2] + alone[3]) / 2)
    torch.testing.assert_close(identity[0], identity[1])  # of one person
    trained = networks.generator.synthesis
    layers = tuple(range(8))
    dims = 2 * len(frames)  # room for every component
    labels = LabelCodes(8, 2 * dims, dims, layers, layers)
    synthesis = Synthesis(SIZE, 2 * dims, (8,) * 4, 8)
    styles = torch.cat([identity, motion], 1)
    kept = inheritance._strongest(trained, synthesis, styles, maps)
    assert [part.tolist() for part in kept] == [list(range(8))] * 8  # nothing has to go
    inheritance._copy(trained, synthesis, kept)
    synthesis.constant.copy_(maps[:1])
    codes = inheritance._components(trained, synthesis, labels, kept, identity, motion, 0)
    start = maps[:1].expand(len(styles), -1, -1, -1)
    torch.testing.assert_close(synthesis(codes), trained(styles, start), rtol=0, atol=2e-4)


def test_weak_channels_are_left_out(
    data: RandomFaceDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inheritance, "_TEACHING", 5)
    seed(0)
    painter, model = narrow_pc_avs(8), make(max_channels=6, lr=0.0)
    with torch.no_grad():
        first = painter.networks.generator.synthesis.convs[0].conv
        first.weight[:, [2, 5]] = 0.0  # nothing comes of these
    model.initialise(pc_avs=painter.save_pretrained(tmp_path / "pc_avs"))
    trainer(max_epochs=1, limit_train_batches=1).fit(model, data)
    synthesis: Any = model.networks.generator.synthesis
    kept = first.weight[:, [0, 1, 3, 4, 6, 7]]
    found = synthesis.convs[0].conv.weight
    assert all(any(torch.equal(row, old) for old in kept) for row in found)
    with pytest.raises(ValueError, match="as many channels or more"):
        trainer(max_epochs=1).fit(make(max_channels=9).initialise(pc_avs=tmp_path / "pc_avs"), data)
    with pytest.raises(ValueError, match="train on a data module"):
        loader = data.train_dataloader()
        trainer(max_epochs=1).fit(make().initialise(pc_avs=tmp_path / "pc_avs"), loader)


def test_what_is_saved_is_an_inversion(data: RandomFaceDataModule, tmp_path: Path) -> None:
    model = make(lr=2e-3, lr_factors={"generator": 4.0})
    before = float(trainer().validate(model, data, verbose=False)[0]["val/psnr"])
    trainer(max_epochs=30).fit(model, data)
    after = float(trainer().validate(model, data, verbose=False)[0]["val/psnr"])
    assert after > before + 3
    opened = Inversion.from_pretrained(model.save_pretrained(tmp_path / "taught"))
    frames = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    with torch.no_grad():
        assert torch.equal(opened.invert(frames), model.eval().invert(frames))
    assert not [key for key in opened.export_state_dict() if "labels" in key]
