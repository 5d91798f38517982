import re
from pathlib import Path

import lpips
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import alexnet
from torchvision.models.vgg import cfgs, make_layers

from talkingface.losses.perceptual import (
    LPIPSLoss,
    feature_distance,
    perceptual_loss,
    vgg_face_loss,
)
from talkingface.models.components.vgg import VGG19Features
from tests.fixtures import fill
from tests.losses import FIXTURES, close, expected


@pytest.fixture(scope="module")
def official_features() -> tuple[list[Tensor], list[Tensor]]:
    network = VGG19Features()
    weights = fill.state_from_manifest(FIXTURES / "manifest/pcavs_vgg19.json")
    network.load_state_dict(
        {re.sub(r"^slice\d", "features", k): torch.from_numpy(w) for k, w in weights.items()}
    )
    x, y = (torch.from_numpy(fill.inp_image(f"pcavs_vgg/{n}", 1, 64, 64)) for n in "xy")
    return network(x), network(y)


def test_released_perceptual_loss(official_features: tuple[list[Tensor], list[Tensor]]) -> None:
    fake, real = official_features
    close(perceptual_loss(fake, real), expected("pcavs_vggloss", "loss"))
    close(perceptual_loss(fake, real, first=2), expected("pcavs_vggloss", "loss_layer2"))


def layers(*values: float) -> list[Tensor]:
    return [torch.full((2, 3, 4, 4), float(value)) for value in values]


def test_feature_distance_by_hand() -> None:
    fake = [torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[2.0], [4.0]])]
    real = [torch.zeros(2, 2), torch.tensor([[1.0], [1.0]])]
    root = (25 / 2) ** 0.5  # of the mean square of 3 and 4; the second image has no error there
    close(feature_distance(fake, real), (root / 2 + (1 + 3) / 2) / 2)
    with pytest.raises(ValueError, match="2 and 1"):
        feature_distance(fake, real[:1])


def test_feature_distance_of_equal_frames_has_a_slope() -> None:
    fake = torch.zeros(1, 4, requires_grad=True)
    feature_distance([fake], [torch.zeros(1, 4)]).backward()
    assert fake.grad is not None and fake.grad.isfinite().all()


def test_perceptual_loss_by_hand() -> None:
    fake, real = layers(1, 2, 3, 4, 5), layers(0, 4, 3, 0, 4)
    close(perceptual_loss(fake, real), 1 / 32 + 2 / 16 + 0 + 4 / 4 + 1)
    close(perceptual_loss(fake, real, weights=[1, 1, 1, 1, 0]), 7)
    close(perceptual_loss(real, fake), perceptual_loss(fake, real))


def test_vgg_face_loss_by_hand() -> None:
    # h3 and h4 do not count, h6 counts twice: 8 / 8 + (1/4 + 1) * 4.
    close(vgg_face_loss(layers(100, 100, 8, 4), layers(0, 0, 0, 0)), 6)


def test_features_train_the_generated_side_only() -> None:
    fake, real = (
        [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(4)]
        for _ in range(2)
    )
    vgg_face_loss(fake, real).backward()
    assert [layer.grad is not None for layer in fake] == [False, False, True, True]
    assert all(layer.grad is None for layer in real)
    targets = [layer.detach() for layer in real]
    assert torch.autograd.gradcheck(lambda *f: vgg_face_loss([*targets[:2], *f], targets), fake[2:])
    assert torch.autograd.gradcheck(lambda *f: perceptual_loss(f, targets, [1, 2, 3, 4]), fake)


def test_lists_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="4 fake and 5 real features, 5 weights"):
        perceptual_loss(layers(1, 2, 3, 4), layers(1, 2, 3, 4, 5))
    with pytest.raises(ValueError, match="first layer 5 of 5"):
        perceptual_loss(layers(1, 2, 3, 4, 5), layers(1, 2, 3, 4, 5), first=5)
    with pytest.raises(ValueError, match="got 5 and 4"):
        vgg_face_loss(layers(1, 2, 3, 4, 5), layers(1, 2, 3, 4))


def frames() -> tuple[Tensor, Tensor]:
    return torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1


@pytest.fixture(scope="module")
def alexnet_weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    weights = alexnet().state_dict()
    return {key: value for key, value in weights.items() if key.startswith("features")}


def test_lpips_is_its_papers_equation(alexnet_weights: dict[str, Tensor]) -> None:
    fake, real = frames()
    heads = torch.load(Path(lpips.__file__).parent / "weights/v0.1/alex.pth", map_location="cpu")
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def activations(images: Tensor) -> list[Tensor]:
        x, outputs = ((images + 1) / 2 - mean) / std, []
        for index, pool in ((0, True), (3, True), (6, False), (8, False), (10, False)):
            weight, bias = (alexnet_weights[f"features.{index}.{k}"] for k in ("weight", "bias"))
            stride, padding = (4, 2) if index == 0 else (1, 2 if index == 3 else 1)
            outputs.append(F.relu(F.conv2d(x, weight, bias, stride, padding)))
            x = F.max_pool2d(outputs[-1], 3, 2) if pool else outputs[-1]
        return [output / output.norm(dim=1, keepdim=True) for output in outputs]

    wanted = torch.tensor(0.0)
    for i, (a, b) in enumerate(zip(activations(fake), activations(real), strict=True)):
        weighted = heads[f"lin{i}.model.1.weight"] * (a - b) ** 2
        wanted += weighted.sum(1).mean()
    actual = LPIPSLoss(alexnet_weights)(fake, real)
    assert float(wanted) > 1e-4
    torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=0)


def test_lpips_equals_the_package_over_the_same_vgg_trunk() -> None:
    torch.manual_seed(0)
    trunk = make_layers(cfgs["D"])
    weights = {f"features.{key}": value for key, value in trunk.state_dict().items()}
    reference = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    convolutions = [m for m in reference.net.modules() if isinstance(m, torch.nn.Conv2d)]
    for target, source in zip(
        convolutions, (m for m in trunk if isinstance(m, torch.nn.Conv2d)), strict=True
    ):
        target.load_state_dict(source.state_dict())
    fake, real = (images[:, :, :32, :32] for images in frames())
    close(LPIPSLoss(weights, net="vgg")(fake, real), reference(fake, real).mean().detach())


def test_lpips_reads_local_files_and_never_the_network(
    alexnet_weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("download")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    torch.save(alexnet_weights, tmp_path / "alexnet.pth")
    fake, real = frames()
    wanted = LPIPSLoss(alexnet_weights)(fake, real)
    close(LPIPSLoss(tmp_path / "alexnet.pth")(fake, real), wanted)
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        LPIPSLoss(tmp_path / "none.pth")


def test_lpips_stays_frozen_and_trains_the_generated_side_only(
    alexnet_weights: dict[str, Tensor],
) -> None:
    parent = torch.nn.Sequential(LPIPSLoss(alexnet_weights))
    loss = parent.train()[0]
    fake, real = (images.requires_grad_() for images in frames())
    value = loss(fake, real)
    assert value.equal(loss(fake, real))  # no dropout
    value.backward()
    assert fake.grad is not None and fake.grad.abs().sum() > 0
    assert real.grad is None
    assert all(not parameter.requires_grad for parameter in loss.parameters())
    assert loss(real, real).item() == 0


def test_lpips_refuses_what_is_not_the_trunk(
    alexnet_weights: dict[str, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="got 'squeeze'"):
        LPIPSLoss(alexnet_weights, net="squeeze")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"trunk: no features\.2\.weight"):
        LPIPSLoss(alexnet_weights, net="vgg")
    with pytest.raises(ValueError, match="not torchvision's weights for 'alex'"):
        LPIPSLoss({**alexnet_weights, "features.0.bias": torch.zeros(3)})
    torch.save(alexnet_weights["features.0.weight"], tmp_path / "tensor.pth")
    with pytest.raises(ValueError, match=r"tensor\.pth: holds a Tensor"):
        LPIPSLoss(tmp_path / "tensor.pth")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "code.pth")
    with pytest.raises(ValueError, match=r"code\.pth: not a file of weights only"):
        LPIPSLoss(tmp_path / "code.pth")
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"broken\.pth: not a file"):
        LPIPSLoss(tmp_path / "broken.pth")
    with pytest.raises(ValueError, match="frames must be"):
        LPIPSLoss(alexnet_weights)(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 32, 32))
