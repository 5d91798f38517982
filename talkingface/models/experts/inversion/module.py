"""The stage that trains an encoder, or a hypernetwork, to invert a generator that stays fixed."""

import logging
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.image import PeakSignalNoiseRatio

from talkingface.data.batch import Batch
from talkingface.losses.identity import IdentityLoss
from talkingface.losses.perceptual import LPIPSLoss
from talkingface.models.base import as_float
from talkingface.models.components.stylegan2 import ToRGB
from talkingface.models.components.stylegan2_generator import StyleGAN2Generator
from talkingface.models.experts.inversion.convert import convert_psp, generator_sizes
from talkingface.models.experts.inversion.networks import InversionNetworks
from talkingface.models.experts.recognition import (
    IDENTITY_NETWORKS,
    IdentityName,
    identity_loss,
    open_identity,
)
from talkingface.models.options import check_option
from talkingface.models.pretrained import load_pretrained
from talkingface.models.reproducible import (
    ReproducibleModule,
    parameter_groups,
    reset_metrics,
)
from talkingface.models.transfer import transfer
from talkingface.models.weights import load_state_dict_file

log = logging.getLogger(__name__)


class Inversion(ReproducibleModule):
    r"""Learn the latents with which a fixed StyleGAN2 generator paints given frames again.

    pSp's loss (Richardson et al., CVPR 2021, section 3.2, with the released weights), for an
    encoder that starts from the average latent:

    .. math:: \mathcal{L} = \lambda_{L2} \lVert x - \hat{x} \rVert_2^2 + \lambda_{LPIPS}
              \mathcal{L}_{LPIPS}(x, \hat{x}) + \lambda_{id} (1 - \cos(E_{id}(x), E_{id}(\hat{x})))

    With ``hyper`` the encoder stays fixed too, and a HyperStyle hypernetwork learns by the same
    loss, after each of its refinements, how the generator's convolutions shall change for a frame;
    it is not verified against released weights. Trains on the frames of any datamodule.

    Args:
        image_size: Side of the frames, a power of two from 32 on.
        style_dim: See :class:`~talkingface.models.experts.inversion.networks.InversionNetworks`.
        mapping_layers: See there.
        channel_multiplier: See there.
        max_channels: See there.
        encoder_channels: See there.
        encoder_depths: See there.
        hyper: Train a hypernetwork in place of the encoder.
        train_generator: Train the generator with the encoder: they are an autoencoder then. Not in
            the papers; for small models, where no trained StyleGAN2 is at hand.
        hyper_channels: See there.
        hyper_depths: See there.
        hyper_dim: See there.
        refinements: Times that the hypernetwork looks at its result and goes on.
        l2_weight: Weight of the mean squared error.
        lpips_weight: Weight of LPIPS over AlexNet, whose weights :meth:`initialise` takes.
        identity_weight: Weight of the identity loss.
        identity: Whose vectors it compares, see
            :data:`~talkingface.models.experts.recognition.IDENTITY_NETWORKS`.
        lr: Learning rate of Adam.
        lr_factors: Prefix of a network part -> factor of its learning rate.

    Raises:
        ValueError: If an argument is unknown or out of range, or ``hyper`` and ``train_generator``
            are both asked for.

    Example:
        >>> sizes = {"mapping_layers": 2, "max_channels": 8, "encoder_channels": (4, 4, 8, 8)}
        >>> model = Inversion(32, 16, **sizes, encoder_depths=(1, 1, 1, 1)).eval()
        >>> frames = torch.rand(2, 3, 32, 32) * 2 - 1
        >>> model.invert(frames).shape, model.reconstruct(frames).shape
        (torch.Size([2, 8, 16]), torch.Size([2, 3, 32, 32]))
    """

    networks: InversionNetworks

    def __init__(
        self,
        image_size: int = 256,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_multiplier: float = 2.0,
        max_channels: int = 512,
        encoder_channels: tuple[int, ...] = (64, 128, 256, 512),
        encoder_depths: tuple[int, ...] = (3, 4, 14, 3),
        hyper: bool = False,
        train_generator: bool = False,
        hyper_channels: tuple[int, ...] = (64, 128, 256, 512),
        hyper_depths: tuple[int, ...] = (3, 4, 6, 3),
        hyper_dim: int = 512,
        refinements: int = 5,
        l2_weight: float = 1.0,
        lpips_weight: float = 0.8,
        identity_weight: float = 0.1,
        identity: IdentityName = "arcface",
        lr: float = 1e-4,
        lr_factors: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if hyper and train_generator:
            raise ValueError("a hypernetwork changes a fixed generator: leave train_generator off.")
        if hyper and refinements < 1:
            raise ValueError(f"refinements={refinements}: give a hypernetwork at least 1.")
        check_option("identity", identity, IDENTITY_NETWORKS)
        self.networks = InversionNetworks(
            image_size,
            style_dim,
            mapping_layers,
            channel_multiplier,
            max_channels,
            encoder_channels,
            encoder_depths,
            hyper,
            hyper_channels,
            hyper_depths,
            hyper_dim,
        )
        if not train_generator:
            fixed = ["generator.", "encoder."] if hyper else ["generator."]
            self.freeze_parts(self.networks, fixed)
        self.train_generator, self.lr_factors = train_generator, lr_factors
        self.image_size = image_size
        self.refinements = refinements if hyper else 0
        self.l2_weight, self.lpips_weight, self.lr = l2_weight, lpips_weight, lr
        self.identity_weight, self.identity = identity_weight, identity
        self.psnr = PeakSignalNoiseRatio(
            data_range=2.0, dim=(1, 2, 3), reduction="elementwise_mean"
        )
        self.lpips = MeanMetric()
        # Not parts of the model: frozen, and never in a checkpoint.
        self._judges: dict[str, nn.Module] = {}

    @classmethod
    def from_official(cls, path: str | Path, **overrides: Any) -> Self:
        """Open a checkpoint of pSp, encoder, generator and average latent, in eval mode.

        Args:
            path: ``psp_ffhq_encode.pt`` of https://github.com/eladrich/pixel2style2pixel.
            overrides: Arguments of the constructor; the generator's sizes are read from the file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged or holds another network.
        """
        state = load_state_dict_file(path)
        model = cls(**(generator_sizes(state) | overrides))
        converted = convert_psp(state, model.networks)
        model.networks.load_state_dict(_with_hyper(converted, model.networks))
        return model.eval()

    def initialise(
        self,
        stylegan2: str | Path | None = None,
        inversion: str | Path | None = None,
        trunk: str | Path | None = None,
        identity: str | Path | None = None,
        alexnet: str | Path | None = None,
    ) -> Self:
        """Start from earlier stages, and take what the losses need; no path is kept.

        Args:
            stylegan2: Folder of a trained model that has a generator of the same sizes; its average
                latent is where the encoder starts.
            inversion: Folder of a trained Inversion, for ``hyper`` or to go on.
            trunk: ArcFace weights that the encoder's trunk starts from, as in pSp.
            identity: Weights of the identity network, see
                :func:`~talkingface.models.experts.recognition.open_identity`.
            alexnet: torchvision's AlexNet weights, for LPIPS.

        Raises:
            FileNotFoundError: If there is nothing at a path.
            ValueError: If it is another stage, or its weights do not fit this model's sizes.
        """
        networks = self.networks
        if inversion is not None:
            other = load_pretrained(inversion, Inversion).networks.state_dict()
            transfer(_with_hyper(other, networks), networks, str(inversion))
        if stylegan2 is not None:
            generator = _find_generator(stylegan2)
            transfer(generator.state_dict(), networks.generator, str(stylegan2))
            networks.average.copy_(networks.generator.mean_latent())
        if trunk is not None:
            arcface: Any = open_identity("arcface", trunk)
            kept = {
                key: value
                for key, value in arcface.networks.state_dict().items()
                if not key.startswith("output_layer.")
            }
            transfer({**networks.encoder.state_dict(), **kept}, networks.encoder, str(trunk))
        if identity is not None:
            self._judges["identity"] = IdentityLoss(open_identity(self.identity, identity))
        if alexnet is not None:
            self._judges["lpips"] = LPIPSLoss(alexnet)
        return self

    def setup(self, stage: str) -> None:
        """Open what the losses need.

        Raises:
            FileNotFoundError: If it was not given.
        """
        if stage != "fit":
            return
        if self.lpips_weight and "lpips" not in self._judges:
            raise FileNotFoundError(
                "LPIPS needs AlexNet: give --init.alexnet FILE (`make alexnet` gets one), or "
                "--model.lpips_weight 0"
            )
        if self.identity_weight and "identity" not in self._judges:
            self._judges["identity"] = identity_loss(self.identity)
        # Biases begin at zero, and stay there only where nothing was learnt.
        layers = [x for x in self.networks.generator.modules() if isinstance(x, ToRGB)]
        if not (self.train_generator or any(layer.bias.any() for layer in layers)):
            log.warning("the generator was never trained: give --init.stylegan2 FOLDER")

    def invert(self, frames: Tensor) -> Tensor:
        """Give the latents of frames.

        Shape:
            - frames: (N, 3, image_size, image_size), ``uint8`` or floats in [-1, 1].
            - output: (N, num_layers, style_dim).

        Raises:
            ValueError: If the frames have another shape or range.
        """
        return self.networks.encode(self._check(frames))

    def reconstruct(self, frames: Tensor) -> Tensor:
        """Paint frames again, from their latents and, with ``hyper``, by the refined generator.

        Shape:
            - frames: (N, 3, image_size, image_size), ``uint8`` or floats in [-1, 1].
            - output: the same, in [-1, 1].

        Raises:
            ValueError: If the frames have another shape or range.
        """
        return self.networks(self._check(frames), self.refinements).clamp(-1, 1)

    def _check(self, frames: Tensor) -> Tensor:
        size = self.image_size
        if frames.ndim != 4 or frames.shape[1:] != (3, size, size):
            raise ValueError(
                f"frames have shape {tuple(frames.shape)}, but this generator paints "
                f"(N, 3, {size}, {size}): crop and scale them first (--data.size {size})"
            )
        return as_float(frames, "frames").to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """PSp's loss; with a hypernetwork its mean over the refinements."""
        frames = self._check(batch["video"].flatten(0, 1))
        latents = self.networks.encode(frames)
        painted = [x for x, _ in self.networks.refinements(frames, latents, self.refinements)]
        terms = [self._terms(x, frames) for x in (painted[1:] or painted)]
        losses = {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}
        loss = torch.stack(list(losses.values())).sum()
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def _terms(self, painted: Tensor, frames: Tensor) -> dict[str, Tensor]:
        terms = {"l2": self.l2_weight * F.mse_loss(painted, frames)}
        for name, weight in (("lpips", self.lpips_weight), ("identity", self.identity_weight)):
            if weight:
                judge = self._judges[name].to(self.device)
                terms[name] = weight * judge(painted, frames)
        return terms

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Measure the frames painted again, which go on to callbacks."""
        frames = batch["video"].flatten(0, 1)
        painted = self.reconstruct(frames).float()
        self.psnr.update(painted, frames)
        if "lpips" in self._judges:
            judge = self._judges["lpips"].to(self.device)
            self.lpips.update(judge(painted, frames), weight=len(frames))
        return {"frames": painted.unflatten(0, batch["video"].shape[:2])}

    def on_validation_epoch_end(self) -> None:
        """Log PSNR, and LPIPS where AlexNet is at hand."""
        self.log("val/psnr", self.psnr.compute(), prog_bar=True)
        if "lpips" in self._judges:
            self.log("val/lpips", self.lpips.compute(), prog_bar=True)
        reset_metrics(self.psnr, self.lpips)

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(parameter_groups(self.networks, self.lr, self.lr_factors), self.lr)


def _with_hyper(state: dict[str, Tensor], networks: nn.Module) -> dict[str, Tensor]:
    """Weights, and networks' own hypernetwork where they have one and the weights have none."""
    own = {key: x for key, x in networks.state_dict().items() if key.startswith("hyper.")}
    return own | state


def _find_generator(path: str | Path) -> StyleGAN2Generator:
    """Open a saved model and give its generator, the averaged one where there is one."""
    model = load_pretrained(path)
    for part in getattr(model, "inference_networks", model).modules():
        if isinstance(part, StyleGAN2Generator):
            return part
    raise ValueError(f"{path} holds a {type(model).__name__}, which has no StyleGAN2 generator")
