"""StyleGAN2 as a stage of training: faces from nothing."""

import argparse
import logging
from pathlib import Path
from typing import Any, Self, cast, get_args

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from talkingface.data.batch import Batch
from talkingface.losses.adversarial import (
    discriminator_adversarial_loss,
    generator_adversarial_loss,
)
from talkingface.losses.regularisation import path_lengths, r1_penalty
from talkingface.metrics import FID
from talkingface.models.adversarial import AdversarialModule, Tensors
from talkingface.models.components.stylegan2 import ModulationForm
from talkingface.models.components.stylegan2_discriminator import StyleGAN2Discriminator
from talkingface.models.components.stylegan2_generator import StyleGAN2Generator, truncate
from talkingface.models.experts.imagenet import VGG16Pool
from talkingface.models.experts.stylegan2.convert import (
    convert_discriminator,
    convert_generator,
    read_sizes,
    split_checkpoint,
)
from talkingface.models.experts.stylegan2.inheritance import inherit
from talkingface.models.options import check_option
from talkingface.models.pretrained import load_pretrained
from talkingface.models.reproducible import evaluating
from talkingface.models.transfer import transfer_players
from talkingface.models.weights import load_state_dict_file

log = logging.getLogger(__name__)

SAMPLES = 1_000_000
"""Seeds of samples count from here: codes of a seed that training began with would be the very
numbers that the mapping network's kernels began with, and come out far from all others."""
FACES_SEEN = 2400
"""Faces whose codes span the latents of a generator that is inherited."""


class StyleGAN2(AdversarialModule):
    r"""Learn to paint the faces of any data's frames, from random codes.

    Non-saturating logistic loss, :math:`R_1` of real frames (weight :math:`\gamma / 2`) and path
    length regularisation. Both penalties are lazy: an optimizer step of their own every few
    updates, weighted by the interval, with learning rate and betas of Adam corrected for the
    additional steps (:math:`c = k / (k + 1)`: :math:`c\,\eta`, :math:`\beta^c`). They are computed
    in float32, and under accumulation on the first batch of an update.

    Args:
        image_size: Side of the frames, a power of two.
        style_dim: Length of codes and latents.
        mapping_layers: Layers of the mapping network.
        channel_multiplier: See :func:`~talkingface.models.components.stylegan2.level_channels`.
        max_channels: See there.
        modulation_form: See :class:`~talkingface.models.components.stylegan2.ModulatedConv2d`.
        stddev_group: Images that the discriminator compares with each other.
        mirror: Mirror half of the real frames.
        mixing: Share of images painted with two codes, one of the coarse and one of the fine
            layers.
        r1_weight: :math:`\gamma`; 0 leaves the penalty out.
        r1_interval: Updates from one such penalty to the next.
        path_weight: Weight of path length regularisation; 0 leaves it out.
        path_interval: Updates from one such penalty to the next.
        path_shrink: What the number of images is divided by for it.
        path_decay: Part of a new mean length in the moving average of lengths.
        generator_lr: Learning rate of Adam for the generator, before the correction; 0 trains the
            discriminator alone.
        discriminator_lr: The discriminator's; 0 trains the generator alone.
        betas: Its betas, before the correction.
        accumulate: Batches per update.
        clip: Largest gradient norm of each player.
        ema_half_life: Half-life, in images, of the moving average of the generator.

    Raises:
        ValueError: If an argument is unknown or out of range.

    References:
        Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020,
        https://arxiv.org/abs/1912.04958; defaults are those of rosinality/stylegan2-pytorch.

    Example:
        >>> model = StyleGAN2(32, style_dim=16, mapping_layers=2, max_channels=8)
        >>> model.sample(2, seed=1, truncation=0.7).shape
        torch.Size([2, 3, 32, 32])
    """

    path_mean: Tensor

    def __init__(
        self,
        image_size: int = 256,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_multiplier: float = 2.0,
        max_channels: int = 512,
        modulation_form: ModulationForm = "auto",
        stddev_group: int = 4,
        mirror: bool = True,
        mixing: float = 0.9,
        r1_weight: float = 10.0,
        r1_interval: int = 16,
        path_weight: float = 2.0,
        path_interval: int = 4,
        path_shrink: int = 2,
        path_decay: float = 0.01,
        generator_lr: float = 2e-3,
        discriminator_lr: float = 2e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        accumulate: int = 1,
        clip: float | None = None,
        ema_half_life: float | None = 10_000.0,
    ) -> None:
        super().__init__(accumulate, clip, ema_half_life)
        self.save_hyperparameters()
        if min(r1_interval, path_interval, path_shrink) < 1:
            raise ValueError(
                f"r1_interval={r1_interval}, path_interval={path_interval} and "
                f"path_shrink={path_shrink} are 1 or more."
            )
        check_option("modulation_form", modulation_form, get_args(ModulationForm))
        if not 0 <= mixing <= 1:
            raise ValueError(f"mixing={mixing}: give a share in [0, 1] of the images.")
        if not min(generator_lr, discriminator_lr) >= 0 < max(generator_lr, discriminator_lr):
            raise ValueError(
                f"generator_lr={generator_lr} and discriminator_lr={discriminator_lr}: give rates "
                "of 0 or more, one of them above."
            )
        self.image_size = image_size
        self.mirror, self.mixing = mirror, mixing
        self.r1_weight, self.r1_interval = r1_weight, r1_interval
        self.path_weight, self.path_interval = path_weight, path_interval
        self.path_shrink, self.path_decay = path_shrink, path_decay
        self.generator_lr, self.discriminator_lr, self.betas = generator_lr, discriminator_lr, betas
        self.networks = StyleGAN2Generator(
            image_size, style_dim, mapping_layers, channel_multiplier, max_channels, modulation_form
        )
        self.discriminator = StyleGAN2Discriminator(
            image_size, channel_multiplier, max_channels, stddev_group=stddev_group
        )
        self.register_buffer("path_mean", torch.zeros(()))
        self.average_weights()
        # Not among the submodules: no parts of a checkpoint.
        self._measures: list[FID] = []
        self._inversion: list[nn.Module] = []

    @classmethod
    def from_official(cls, path: str | Path) -> Self:
        """Open a checkpoint of rosinality/stylegan2-pytorch, in eval mode.

        Sizes are read from its shapes. The averaged generator is taken where there is one.
        ``latent_avg`` is left out: ``networks.mean_latent`` computes it.

        Args:
            path: A file with ``g_ema`` or ``g``, and perhaps ``d``.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged or holds anything else.
        """
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options of the training
            parts = split_checkpoint(load_state_dict_file(path))
        sizes = read_sizes(parts["generator"])
        model = cls(sizes.pop("size"), **sizes)
        generator = cast(StyleGAN2Generator, model.networks)
        generator.load_state_dict(convert_generator(parts["generator"], generator))
        if "discriminator" in parts:
            state = convert_discriminator(parts["discriminator"], model.discriminator)
            model.discriminator.load_state_dict(state)
        else:
            model.lacks_discriminator = True
            log.info("not in the checkpoint, left untrained: discriminator")
        model.restart_average()
        return model.eval()

    def initialise(
        self,
        model: str | Path | None = None,
        vgg16: str | Path | None = None,
        inversion: str | Path | None = None,
    ) -> Self:
        """Start from other weights, and take what validation needs; no path is stored.

        Args:
            model: Folder of a trained StyleGAN2 of the same sizes, with its discriminator.
            vgg16: torchvision's VGG-16 weights: validation then logs the FID of its features.
            inversion: Folder of a trained inversion whose generator has the same sizes: training
                begins with it, see
                :func:`~talkingface.models.experts.stylegan2.inheritance.inherit`.

        Raises:
            FileNotFoundError: If there is nothing at a path.
            ValueError: If it is something else, or its weights do not fit this model's sizes.
        """
        if model is not None:
            transfer_players(model, self)
            self.restart_average()
        if vgg16 is not None:
            self._measures = [FID(VGG16Pool(vgg16), "vgg16")]
        if inversion is not None:
            cls = "talkingface.models.experts.inversion.module:Inversion"
            self._inversion = [load_pretrained(inversion, cls).networks]
        return self

    def sample(self, count: int, seed: int = 0, truncation: float = 1.0) -> Tensor:
        """Paint faces, each with noise of its own, the same for the same seed.

        Args:
            count: How many.
            seed: Of the codes and of the noise.
            truncation: Below 1, latents are brought closer to their mean.

        Shape:
            - output: (count, 3, image_size, image_size) in [-1, 1].
        """
        draw = torch.Generator().manual_seed(SAMPLES + seed)
        generator = cast(StyleGAN2Generator, self.inference_networks)
        codes = torch.randn(count, generator.style_dim, generator=draw)
        with evaluating(generator), torch.no_grad():
            latents = generator.map(codes.to(self.path_mean))
            if truncation != 1:
                latents = truncate(latents, generator.mean_latent(), truncation)
            images = []
            for part in latents.split(16):
                shapes = [(len(part), *kept.shape[1:]) for kept in generator.synthesis.noise]
                # On the CPU, so that all devices paint the same.
                noise = [torch.randn(shape, generator=draw).to(part) for shape in shapes]
                images.append(generator(part, noise).float().clamp(-1, 1))
        return torch.cat(images)

    def _draw_latents(self, count: int) -> Tensor:
        """Latents (count, layers, D), some with one code in the first layers, another after."""
        generator = cast(StyleGAN2Generator, self.networks)
        layers, dim = generator.num_layers, generator.style_dim
        codes = torch.randn(2 * count, dim, device=self.device, dtype=self.path_mean.dtype)
        first, second = generator.map(codes).chunk(2)
        crossover = torch.randint(1, layers, (count, 1, 1), device=self.device)
        mixed = torch.rand(count, 1, 1, device=self.device) < self.mixing
        layer = torch.arange(layers, device=self.device)[:, None]
        return torch.where(mixed & (layer >= crossover), second[:, None], first[:, None])

    def _real(self, batch: Batch) -> Tensor:
        frames = batch["video"].flatten(0, 1)
        if frames.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"frames are {frames.shape[-2]} x {frames.shape[-1]}, but this model has "
                f"image_size={self.image_size}: make both the same."
            )
        if self.mirror and self.training:
            chosen = torch.rand(len(frames), 1, 1, 1, device=frames.device) < 0.5
            frames = torch.where(chosen, frames.flip(-1), frames)
        return frames

    def generate(self, batch: Batch) -> Tensors:
        """Paint as many frames as the batch has."""
        count = batch["video"].shape[0] * batch["video"].shape[1]
        return {"video": self.networks(self._draw_latents(count), "random")}

    def generator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """Be taken for real."""
        return {"gan": generator_adversarial_loss(self.discriminator(outputs["video"]))}

    def discriminator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """Tell real from painted frames."""
        real, fake = self.discriminator(self._real(batch)), self.discriminator(outputs["video"])
        on_real, on_fake = discriminator_adversarial_loss(real, fake)
        return {"real": on_real, "fake": on_fake}

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Regularise where it is due, then update both players."""
        if batch_idx % self.accumulate == 0:
            with torch.autocast(self.device.type, enabled=False):
                self._regularise(batch)
        super().training_step(batch, batch_idx)

    def _regularise(self, batch: Batch) -> None:
        generator, discriminator = cast(list[LightningOptimizer], self.optimizers())
        if self.path_weight and self.updates % self.path_interval == 0:
            frames = batch["video"].shape[0] * batch["video"].shape[1]
            with generator.toggle_model():
                latents = self._draw_latents(max(1, frames // self.path_shrink))
                lengths = path_lengths(self.networks(latents, "random"), latents)
                self.path_mean.lerp_(lengths.detach().mean().to(self.path_mean), self.path_decay)
                penalty = (lengths - self.path_mean).square().mean()
                self._step(generator, self.path_weight * self.path_interval * penalty)
            self.log_dict(
                {"generator/path_penalty": penalty, "generator/path": self.path_mean.clone()}
            )
        if self.r1_weight and self.updates % self.r1_interval == 0:
            with discriminator.toggle_model():
                real = self._real(batch).detach().requires_grad_()
                penalty = r1_penalty(self.discriminator(real), real)
                self._step(discriminator, self.r1_weight / 2 * self.r1_interval * penalty)
            self.log("discriminator/r1", penalty)

    def _step(self, optimizer: LightningOptimizer, loss: Tensor) -> None:
        self.manual_backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    def on_fit_start(self) -> None:
        """Begin with an inversion's generator, if one was given; each process draws its own codes.

        Raises:
            ValueError: If there is an inversion, but no data module whose faces it may encode.
        """
        super().on_fit_start()
        if self._inversion and not self.trainer.ckpt_path:
            self._inherit(self._inversion.pop().to(self.device))
        if self._resumed is None and self.global_rank:
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    def _inherit(self, networks: nn.Module) -> None:
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise ValueError("inversion needs faces to encode: train on a data module of them.")
        faces = data.train_dataset
        step = max(1, len(faces) // FACES_SEEN)
        frames = [faces[number]["video"] for number in range(0, len(faces), step)]
        generator = cast(StyleGAN2Generator, self.networks)
        inherit(networks, generator, torch.cat(frames).to(self.device))
        self.restart_average()

    def on_validation_epoch_start(self) -> None:
        """Forget the frames of the epoch before."""
        for measure in self._measures:
            measure.to(self.device).reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Paint as many frames as the batch has, the same in each epoch, for FID and callbacks."""
        real = self._real(batch)
        seed = batch_idx * self.trainer.world_size + self.global_rank
        frames = self.sample(len(real), seed)
        for measure in self._measures:
            measure.update(frames, real.float())
        return {"frames": frames.view_as(batch["video"])}

    def on_validation_epoch_end(self) -> None:
        """Log FID, where there is a network for it, against the count of updates."""
        for measure in self._measures:
            self.log("val/fid", measure.compute(), prog_bar=True)
        self.log("step", float(self.updates))

    def configure_optimizers(self) -> Any:
        """Adam for each player, corrected for the steps that the penalties add."""

        def adam(player: nn.Module, lr: float, weight: float, interval: int) -> torch.optim.Adam:
            share = interval / (interval + 1) if weight else 1.0
            first, second = self.betas
            return torch.optim.Adam(player.parameters(), share * lr, (first**share, second**share))

        return [
            adam(self.networks, self.generator_lr, self.path_weight, self.path_interval),
            adam(self.discriminator, self.discriminator_lr, self.r1_weight, self.r1_interval),
        ]
