"""The readers of faces: their parts by hand, and the bundled weights on people never seen."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.functional import pearson_corrcoef

import talkingface
from talkingface.data.batch import to_float, to_uint8
from talkingface.data.synthetic.clip import SyntheticClip
from talkingface.data.synthetic.dataset import PEOPLE, make_clip
from talkingface.data.synthetic.face import Identity, express, landmarks, place, sample_identity
from talkingface.data.synthetic.frames import SCENE, RandomFaceDataModule, RandomFaces
from talkingface.metrics.probe import VerificationAUC, pair_cosines
from talkingface.models.bundled import bundled_names, find_bundled
from talkingface.models.experts.readers import FaceReader, IdentityReader, Reading
from talkingface.models.experts.readers.augmentation import degrade, reframe, spoil
from talkingface.models.experts.readers.face import landmark_distances, mirror
from tests.models.tiny import FACE_READER, IDENTITY_READER, fit, loader, seed, trainer

WEIGHTS = Path(talkingface.__file__).parent / "weights"
PEOPLE_SEEN, STEP = 16, 8


# ------------------------------------------------------------------------------------ by hand


def test_mirrored_labels_are_those_of_the_mirrored_face() -> None:
    identity = sample_identity(5)
    for name in ("parting", "light_side"):
        identity[Identity._fields.index(name)] = 0.5
    pose = place(3, yaw=torch.tensor([0.0, 20.0, -35.0]), pitch=8.0, roll=12.0, x=0.04)
    expression = express(3, opening=0.6, gaze_x=0.5, blink=0.3)
    mirrored = pose * torch.tensor([-1.0, 1, -1, -1, 1, 1])
    points = (landmarks(identity, pose, expression, 64) + 0.5) / 64
    expected = (landmarks(identity, mirrored, expression, 64) + 0.5) / 64
    measures = torch.arange(1.0, 8).expand(3, 7)
    frames = torch.rand(3, 3, 64, 64)
    seed(0)
    flipped = torch.rand(3) < 0.5
    assert 0 < flipped.sum() < 3
    seed(0)
    got_frames, got_points, got_measures = mirror(frames, points, measures)
    for k in range(3):
        if flipped[k]:
            torch.testing.assert_close(got_points[k], expected[k], rtol=0, atol=1e-4)
            assert got_measures[k].tolist() == [-1, 2, -3, -4, 5, 6, 7]
            assert torch.equal(got_frames[k], frames[k].flip(-1))
        else:
            assert torch.equal(got_points[k], points[k])
            assert torch.equal(got_frames[k], frames[k])


def test_points_follow_the_reframed_picture() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    where = torch.tensor([[24.0, 36.0], [40.0, 30.0]])
    frames = torch.stack([torch.exp(-((x - u) ** 2 + (y - v) ** 2) / 8) for u, v in where])
    seed(0)
    moved, points = reframe(
        frames[:, None].expand(-1, 3, -1, -1), (where[:, None] + 0.5) / 64, shift=0.1, zoom=0.2
    )
    for frame, point, before in zip(moved[:, 0], points[:, 0] * 64 - 0.5, where, strict=True):
        centroid = torch.stack([(frame * x).sum(), (frame * y).sum()]) / frame.sum()
        torch.testing.assert_close(point, centroid, rtol=0, atol=0.05)
        assert (point - before).abs().max() > 1


def test_degraded_frames_stay_in_range_and_spoilt_ones_differ() -> None:
    seed(0)
    frames = 2 * torch.rand(12, 3, 64, 64) - 1
    for changed in (degrade(frames), spoil(frames)):
        assert changed.shape == frames.shape and changed.abs().max() <= 1
        assert ((changed - frames).abs().flatten(1).mean(1) > 0.01).all()
    # Shuffled squares hold the same pixels, in other places.
    torch.testing.assert_close(spoil(frames)[:4].flatten(2).sum(2), frames[:4].flatten(2).sum(2))


def test_landmarks_come_in_pixels_of_the_frames() -> None:
    seed(0)
    reader = FACE_READER().eval()
    small = 2 * torch.rand(2, 3, 32, 32) - 1
    with torch.no_grad():
        first, second = reader(small), reader(small.repeat_interleave(2, 2).repeat_interleave(2, 3))
    # The middle of pixel x becomes 2 x + 0.5; scaling down blurs a little.
    torch.testing.assert_close(second.landmarks, 2 * first.landmarks + 0.5, rtol=0, atol=0.1)


def test_brows_are_read_by_how_far_they_are_above_the_eyes() -> None:
    """Exact landmarks tell how far brows are raised, whatever head and lids do meanwhile."""
    for person in PEOPLE["test"][:3]:
        clip = make_clip(person, seconds=4.0)
        nothing = torch.zeros(len(clip))
        reading = Reading(clip.landmarks(96), clip.pose[:, :3], clip.gaze, *[nothing] * 3)
        assert clip.pose[:, :3].std(0).max() > 3
        assert torch.corrcoef(torch.stack([reading.brow, clip.brow]))[0, 1] > 0.95


def test_closed_eyes_say_little_of_gaze() -> None:
    reader = FACE_READER(augment=False, gaze_weight=3.0).train()
    reader.log_dict = lambda *_, **__: None
    batch: dict[str, Any] = {
        "video": torch.zeros(4, 1, 3, 32, 32),
        "landmarks": torch.full((4, 1, 68, 2), 10.0),
        "pose": torch.zeros(4, 1, 6),
        "gaze": torch.zeros(4, 1, 2),
        "blink": torch.zeros(4, 1),
        "expression": torch.zeros(4, 1, 10),
    }
    for blink, factor in ((0.0, 3.0), (1.0, 0.3)):
        batch["blink"][:] = blink
        losses = []
        for gaze in (4.0, 5.0):  # far beyond what is read
            batch["gaze"][:] = gaze
            losses.append(reader.training_step(batch, 0))
        # Two of seven measures, in units of one half.
        expected = torch.tensor(factor * 2 / 7 * 2)
        torch.testing.assert_close(losses[1] - losses[0], expected, rtol=0, atol=1e-4)


def test_margin_loss_by_hand() -> None:
    seed(0)
    reader = IDENTITY_READER(augment=False, scale=10.0, margin=0.3).train()
    reader.log_dict = lambda *_, **__: None
    frames, labels = 2 * torch.rand(4, 1, 3, 32, 32) - 1, torch.tensor([2, 0, 1, 2])
    loss = reader.training_step({"video": frames, "identity": labels}, 0)
    vectors = reader.networks(frames[:, 0])
    total = 0.0
    for vector, label in zip(vectors, labels, strict=True):
        scores = [10 * float(vector @ person / person.norm()) for person in reader.people]
        own = scores[label] - 3
        others = [score for k, score in enumerate(scores) if k != label]
        total += float(torch.tensor([own, *others]).logsumexp(0)) - own
    assert float(loss) == pytest.approx(total / 4, abs=1e-4)


def test_data_without_labels_and_bad_frames_are_named() -> None:
    reader: Any = FaceReader(32, (8, 8, 8, 8), 8, 8)
    with pytest.raises(ValueError, match=r"no 'blink'.*RandomFaceDataModule"):
        fit(reader, loader(4, 2))
    for frames in (torch.zeros(3, 32, 32), torch.zeros(1, 3, 32, 48), torch.zeros(1, 1, 32, 32)):
        with pytest.raises(ValueError, match="have to be square floats"):
            reader(frames)
    with pytest.raises(ValueError, match=r"in \[-1, 1\], not in \[0, 255\]"):
        reader(torch.tensor([0.0, 255]).expand(1, 3, 1, 2).repeat(1, 1, 64, 32))
    with pytest.raises(ValueError, match="multiple of 16"):
        FaceReader(40)


# ------------------------------------------------------------------------------------ the data


def test_random_faces_are_pure_functions_and_their_labels_fit() -> None:
    one, other = RandomFaces([3, 9], 4, 32, seed=1), RandomFaces([9], 4, 32, seed=1)
    assert torch.equal(one.frames(1, [2, 0]), other.frames(0, [2, 0]))
    labels = one.labels(1, [2, 0])
    points = landmarks(sample_identity(9), labels["pose"], labels["expression"], 32)
    torch.testing.assert_close(labels["landmarks"], points)  # the scene moves nothing
    assert torch.equal(labels["gaze"], labels["expression"][:, 8:10])
    assert torch.equal(labels["blink"], labels["expression"][:, 6])
    assert set(SCENE) <= set(Identity._fields)
    middle = RandomFaces([9], 4, 32, seed=1, turn=0.5).labels(0, [2, 0])["pose"]
    rest = torch.tensor([0.0, 0, 0, 0, 0, 1])
    torch.testing.assert_close(middle - rest, (labels["pose"] - rest) / 2)


def test_random_faces_share_nobody_between_splits() -> None:
    data = RandomFaceDataModule(32, identities=3, poses=2, val_identities=2, batch_size=3)
    data.setup()
    train = [item["clip"] for item in (data.train_dataset[k] for k in range(6))]
    val = [data.val_dataset[k]["clip"] for k in range(len(data.val_dataset))]
    assert not set(train) & set(val)
    assert {int(name[2:]) for name in train} <= set(PEOPLE["train"])
    assert {int(name[2:]) for name in val} <= set(PEOPLE["val"])
    assert {data.train_dataset[k]["identity"] for k in range(6)} == set(range(data.num_identities))
    with pytest.raises(ValueError, match="poses must be 2 or more"):
        RandomFaceDataModule(poses=1)


# -------------------------------------------------------------------------- the bundled weights


def test_bundled_models_are_small_and_described() -> None:
    assert {"face-reader", "identity-reader"} <= set(bundled_names())
    sizes = {}
    for name in bundled_names():
        folder = find_bundled(name)
        assert folder is not None
        sizes[name] = (folder / "model.safetensors").stat().st_size
        card = (folder / "README.md").read_text()
        assert re.search(r"Command of its last run: `talkingface fit .*`, \d+ steps", card), name
        assert "Licence: Apache-2.0" in card and "float16" in card
    assert max(sizes.values()) <= 4e6 and sum(sizes.values()) <= 25e6


@pytest.fixture(scope="module")
def clips() -> list[SyntheticClip]:
    people = PEOPLE["test"][1000 : 1000 + PEOPLE_SEEN]
    return [make_clip(person, seconds=2.56) for person in people]


def look(clip: SyntheticClip, size: int) -> tuple[Tensor, list[int]]:
    """Some frames, in bytes and back as from a file, and which they are."""
    indices = list(range(0, len(clip), STEP))
    return to_float(to_uint8(clip.frames(size, indices))), indices


@pytest.mark.parametrize("size", [96, 64])
def test_face_reader_reads_people_never_seen(size: int, clips: list[SyntheticClip]) -> None:
    reader = FaceReader.from_pretrained("face-reader")
    assert all(
        tensor.dtype == torch.float32
        for tensor in reader.state_dict().values()
        if tensor.is_floating_point()
    )
    errors, read, true = [], [], []
    for clip in clips:
        frames, rows = look(clip, size)
        with torch.no_grad():
            reading = reader(frames)
        errors.append(landmark_distances(reader.landmarks(frames), clip.landmarks(size, rows)))
        mouth = clip.articulation[rows, :1]
        true.append(
            torch.cat([clip.pose[rows, :3], clip.gaze[rows], clip.blink[rows, None], mouth], 1)
        )
        read.append(
            torch.cat(
                [reading.pose, reading.gaze, reading.blink[:, None], reading.opening[:, None]], 1
            )
        )
    assert torch.cat(errors).mean() < 2  # NaN, no face found, would fail
    yaw, pitch, roll, gaze_x, gaze_y, blink, opening = pearson_corrcoef(
        torch.cat(read), torch.cat(true)
    ).tolist()
    assert min(yaw, pitch, roll, blink, opening) > 0.93
    assert gaze_x > 0.9
    assert gaze_y > 0.75  # lids hide most of what moves


def test_face_reader_sees_where_there_is_no_face() -> None:
    detect = FaceReader.from_pretrained("face-reader").landmarks
    draw = torch.Generator().manual_seed(0)
    noise = 2 * torch.rand(4, 3, 96, 96, generator=draw) - 1
    flat = torch.linspace(-1, 1, 4).reshape(4, 1, 1, 1).expand(4, 3, 96, 96)
    assert detect(noise).isnan().all() and detect(flat).isnan().all()
    assert detect.name == "face_reader"


@pytest.mark.parametrize("size", [96, 64])
def test_identity_reader_knows_people_never_seen(size: int, clips: list[SyntheticClip]) -> None:
    reader = IdentityReader.from_pretrained("identity-reader")
    frames = [look(clip, size)[0] for clip in clips]
    with torch.no_grad():
        vectors = torch.cat([reader(part) for part in frames])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    labels = torch.arange(len(frames)).repeat_interleave(len(frames[0]))
    auc = VerificationAUC()
    auc.update(*pair_cosines(vectors, labels))
    assert auc.compute() > 0.97


def test_a_test_measures_what_validation_does() -> None:
    model, items = IDENTITY_READER(), loader(4, 2, frames=2)
    scores = trainer().validate(model, items, verbose=False)[0]
    assert "val/auc" in scores
    assert trainer().test(model, items, verbose=False)[0] == scores
