"""Who a real face is: released face recognition networks behind one small interface.

Identity losses and metrics take any network that maps frames (N, 3, S, S) in [-1, 1], of any size,
to unit vectors (N, D). There are three: :data:`IDENTITY_NETWORKS`.
"""

from pathlib import Path
from typing import Any, Literal, Self, get_args

import pytorch_lightning as pl
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.losses.identity import IdentityLoss
from talkingface.models.components.ir_se import ArcFace
from talkingface.models.conversion import Rule, convert_state_dict
from talkingface.models.pretrained import PretrainedMixin, load_pretrained
from talkingface.models.weights import load_state_dict_file

Recognition = Literal["arcface", "facenet"]
IdentityName = Literal["arcface", "facenet", "identity-reader"]

IDENTITY_NETWORKS: dict[str, str] = {
    "arcface": "ArcFace's IR-SE50 (512-d), as pSp, HyperStyle and FC-TFG use; for research",
    "facenet": "facenet-pytorch's InceptionResnetV1 (512-d), MIT",
    "identity-reader": "the package's own (128-d), for drawn faces",
}
"""Names by which stages and results say whose vectors they compare."""

_FACE = (35 / 256, 32 / 256, 223 / 256, 220 / 256)
"""Where an aligned frame's face is, as pSp crops it: top, left, bottom, right."""
_RULES: dict[str, list[Rule]] = {
    "arcface": [],
    "facenet": [(r"logits\..+", None)],  # the classifier over the training people
}
_LICENCES = {
    "arcface": "non-commercial research use only (trained on MS-Celeb-1M)",
    "facenet": "MIT",
}
_DATA = {"arcface": "MS-Celeb-1M", "facenet": "VGGFace2 or CASIA-WebFace"}


class FaceRecognition(PretrainedMixin, pl.LightningModule):
    """A released face recognition network that takes whole frames.

    The middle 188 of 256 pixels are cut out, as pSp does of aligned faces, and brought to the
    network's size: 112 px for ArcFace, 160 px for FaceNet.

    Args:
        network: ``"arcface"``: IR-SE50, which pSp's and FC-TFG's identity loss uses.
            ``"facenet"``: InceptionResnetV1 of facenet-pytorch, the permissive alternative.

    Raises:
        ValueError: If the network is unknown.

    Example:
        >>> import torch
        >>> network = FaceRecognition("facenet").eval()
        >>> network(torch.rand(2, 3, 64, 64)).norm(dim=1).allclose(torch.ones(2))
        True
    """

    def __init__(self, network: Recognition = "arcface") -> None:
        super().__init__()
        self.save_hyperparameters()
        if network not in get_args(Recognition):
            raise ValueError(f'network must be "arcface" or "facenet", not {network!r}')
        self.name, self.networks = network, _build(network)
        self.size = 112 if network == "arcface" else 160

    @classmethod
    def from_official(cls, path: str | Path, network: Recognition = "arcface") -> Self:
        """Open released weights, in eval mode.

        Args:
            path: ``model_ir_se50.pth`` of https://github.com/eladrich/pixel2style2pixel or
                https://github.com/TreB1eN/InsightFace_Pytorch for ArcFace;
                ``20180402-114759-vggface2.pt`` or ``20180408-102900-casia-webface.pt`` of
                https://github.com/timesler/facenet-pytorch/releases for FaceNet.
            network: Which of them it is.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged or holds another network.
        """
        model = cls(network)
        state = load_state_dict_file(path)
        try:
            state, _ = convert_state_dict(state, _RULES[network], model.networks.state_dict())
        except ValueError as error:
            raise ValueError(f"{path} does not hold the weights of {network}: {error}") from error
        model.networks.load_state_dict(state)
        model.saved_facts = {"licence": _LICENCES[network], "training_data": _DATA[network]}
        return model.eval()

    def card(self) -> dict[str, Any]:
        """Facts for ``config.json``."""
        return {**super().card(), "size": self.size}

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames (N, 3, S, S) in [-1, 1], of any size: unit rows (N, 512).

        Raises:
            ValueError: If the frames have another shape.
        """
        if frames.dim() != 4 or frames.shape[1] != 3 or frames.shape[2] != frames.shape[3]:
            raise ValueError(f"frames have to be square (N, 3, S, S), not {tuple(frames.shape)}")
        side = frames.shape[-1]
        top, left, bottom, right = (round(side * part) for part in _FACE)
        faces = frames[:, :, top:bottom, left:right]
        if self.size <= faces.shape[-1]:
            faces = F.adaptive_avg_pool2d(faces, self.size)
        else:
            faces = F.interpolate(faces, (self.size, self.size), mode="bilinear")
        if self.name == "facenet":  # its grey levels are (x - 127.5) / 128
            faces = faces * (127.5 / 128)
        vectors: Tensor = self.networks(faces)
        return vectors


def open_identity(name: IdentityName, weights: str | Path | None = None) -> nn.Module:
    """Open an identity network by its name: frozen, in eval mode.

    Args:
        name: A key of :data:`IDENTITY_NETWORKS`.
        weights: For ArcFace and FaceNet, the released file or a folder that ``talkingface convert``
            made of it; for the identity reader a folder of another one, if any.

    Raises:
        FileNotFoundError: If weights are needed and not given, or not there.
        ValueError: If the name is unknown, or the weights are another network's.

    Example:
        >>> import torch
        >>> open_identity("identity-reader")(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 128])
    """
    if name not in IDENTITY_NETWORKS:
        raise ValueError(f"no identity network {name!r}: it is {', '.join(IDENTITY_NETWORKS)}")
    if name == "identity-reader":
        from talkingface.models.experts.readers import IdentityReader

        return _frozen(IdentityReader.from_pretrained(weights or name))
    if weights is None:
        raise FileNotFoundError(
            f"{name} needs its weights, which are not in the package: give the released file or "
            "its converted folder, or take another identity network"
        )
    if Path(weights).is_file():
        return _frozen(FaceRecognition.from_official(weights, name))
    model = load_pretrained(weights, FaceRecognition)
    if model.name != name:
        raise ValueError(f"{weights} holds {model.name}, not {name}")
    return _frozen(model)


def identity_loss(name: IdentityName) -> IdentityLoss:
    """The identity loss of a stage that was given no weights for it.

    Raises:
        FileNotFoundError: If the network needs them; it names the options that help.
    """
    try:
        return IdentityLoss(open_identity(name))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}: --init.identity FILE, --model.identity identity-reader, or "
            "--model.identity_weight 0"
        ) from error


def _frozen(network: nn.Module) -> nn.Module:
    return network.requires_grad_(False).eval()


def _build(network: Recognition) -> nn.Module:
    if network == "arcface":
        return ArcFace()
    from facenet_pytorch import InceptionResnetV1

    return InceptionResnetV1()
