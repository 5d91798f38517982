"""Networks that say who somebody is: released weights, whole frames, one interface, the loss."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from facenet_pytorch import InceptionResnetV1, fixed_image_standardization
from torch import Tensor

from talkingface.cli import main
from talkingface.losses import IdentityLoss, identity_loss
from talkingface.models.experts.recognition import IDENTITY_NETWORKS, open_identity
from tests.fixtures import fill
from tests.models.test_ir_se_parity import check, image
from tests.models.test_pc_avs_parity import official
from tests.models.tiny import seed


@pytest.fixture(scope="module")
def arcface_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the names and shapes of ``model_ir_se50.pth``."""
    path = tmp_path_factory.mktemp("weights") / "model_ir_se50.pth"
    torch.save(official("arcface_ir_se50_112"), path)
    return path


@pytest.fixture(scope="module")
def arcface(arcface_file: Path) -> Any:
    return open_identity("arcface", arcface_file)


def facenet_file(folder: Path) -> Path:
    """A file as facenet-pytorch releases them, with a classifier."""
    seed(0)
    torch.save(InceptionResnetV1(classify=True, num_classes=3).state_dict(), folder / "vggface2.pt")
    return folder / "vggface2.pt"


def test_arcface_reads_frames_as_psp_does(arcface: Any) -> None:
    with torch.no_grad():
        vectors = arcface(image("arcface/image256", 256))
    check(vectors, "arcface_ir_se50_112", "crop_pool_embedding")


def test_identity_loss_is_that_of_psp(arcface: Any) -> None:
    fake, real = image("arcface/image256", 256), image("arcface/image256b", 256)
    loss = IdentityLoss(arcface)(fake.requires_grad_(), real)
    check(loss.detach(), "arcface_ir_se50_112", "id_loss")
    loss.backward()
    assert fake.grad is not None and fake.grad[..., 35:223, 32:220].abs().sum() > 0
    assert fake.grad[..., :35, :].abs().sum() == 0
    assert not any(value.requires_grad for value in arcface.parameters())


def test_identity_loss_by_hand_leaves_the_target_alone() -> None:
    fake = torch.tensor([[3.0, 4.0], [0.0, 2.0]], requires_grad=True)
    real = torch.tensor([[4.0, 3.0], [0.0, -1.0]], requires_grad=True)
    loss = identity_loss(fake, real)
    assert loss.item() == pytest.approx(((1 - 24 / 25) + 2) / 2)
    loss.backward()
    assert real.grad is None and fake.grad is not None
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(1, 2\)"):
        identity_loss(fake, real[:1])


def test_facenet_reads_grey_levels_as_its_authors_do(tmp_path: Path) -> None:
    network: Any = open_identity("facenet", facenet_file(tmp_path))
    reference = InceptionResnetV1().eval()
    state = torch.load(tmp_path / "vggface2.pt", weights_only=True)
    reference.load_state_dict({k: v for k, v in state.items() if not k.startswith("logits")})
    levels = torch.from_numpy(fill.inp_image("facenet", 2, 218, 218, lo=0, hi=255)).float()
    faces = levels[..., 30:190, 27:187]  # 160 of 218 pixels, as 188 of 256
    with torch.no_grad():
        expected = reference(fixed_image_standardization(faces))
        vectors = network(levels / 127.5 - 1)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-4)


def test_converted_folder_is_the_file(arcface_file: Path, arcface: Any, tmp_path: Path) -> None:
    folder = tmp_path / "arcface"
    assert main(["convert", "arcface", str(arcface_file), str(folder)]) == 0
    frames = image("arcface/image", 64)
    with torch.no_grad():
        assert torch.equal(open_identity("arcface", folder)(frames), arcface(frames))
    with pytest.raises(ValueError, match="holds arcface, not facenet"):
        open_identity("facenet", folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["hparams"] == {"network": "arcface"} and "research" in config["licence"]


def test_wrong_weights_are_named(arcface_file: Path, tmp_path: Path) -> None:
    assert set(IDENTITY_NETWORKS) == {"arcface", "facenet", "identity-reader"}
    with pytest.raises(
        ValueError, match=r"model_ir_se50\.pth does not hold the weights of facenet"
    ):
        open_identity("facenet", arcface_file)
    with pytest.raises(FileNotFoundError, match="arcface needs its weights"):
        open_identity("arcface")
    unknown: Any = "vggface"
    with pytest.raises(ValueError, match="no identity network 'vggface': it is arcface"):
        open_identity(unknown)


def test_reader_tells_drawn_people_apart_through_the_loss() -> None:
    from talkingface.data.batch import to_float
    from talkingface.data.synthetic.frames import RandomFaces

    faces = RandomFaces([900, 901], poses=2, size=64)
    one, other = (to_float(faces.frames(person, [0, 1])) for person in (0, 1))
    loss = IdentityLoss(open_identity("identity-reader"))
    same: Tensor = loss(one[:1], one[1:])
    different: Tensor = loss(one[:1], other[:1])
    assert same < 0.2 < 0.5 < different
