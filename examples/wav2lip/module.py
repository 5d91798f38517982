"""Wav2Lip: training and animation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.data.batch import SAMPLES_PER_FRAME, Batch, Frames, audio_window
from talkingface.losses import (
    cosine_bce_loss,
    discriminator_adversarial_loss,
    generator_adversarial_loss,
)
from talkingface.models.adversarial import Tensors
from talkingface.models.base import TalkingFaceModule, frame_count
from talkingface.models.components.audio_frontends import Wav2LipMel
from talkingface.models.components.discriminators import PatchDiscriminator
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.transfer import transfer_players
from wav2lip.networks import Wav2LipNetworks


class Wav2Lip(TalkingFaceModule):
    r"""Lips to any sound, in frames that stay as they are above the mouth.

    The lower half of every frame is hidden and painted anew, from the upper half, a reference of
    the same person and the sound around the frame (Prajwal et al., ACM MM 2020). Training minimises
    :math:`(1 - s_w - s_g) \mathcal{L}_{recon} + s_w E_{sync} + s_g \mathcal{L}_{gen}`, where
    the judge of lips is a frozen expert and that of quality a discriminator.

    Args:
        image_size: Height and width of the frames, a multiple of 32.
        width: See :class:`~wav2lip.networks.Wav2LipNetworks`.
        discriminator_channels: Channels of the discriminator's first layer.
        discriminator_layers: Its layers before the prediction.
        sync_weight: :math:`s_w`; the expert comes from :meth:`initialise`.
        gan_weight: :math:`s_g`; 0 for the paper's model without the quality discriminator.
        lr: Learning rate of Adam, for both players.
        betas: Of Adam.
        accumulate: Batches per update.
        clip: Largest gradient norm of each player.
        ema_half_life: Half-life, in images, of the moving average of the networks.

    Raises:
        ValueError: If the size does not divide, or the weights leave nothing for the L1.

    Example:
        >>> model = Wav2Lip(image_size=32, width=1, discriminator_channels=4).eval()
        >>> picture, speech = torch.rand(3, 32, 32), torch.zeros(1600)
        >>> frames = model.animate(picture, speech)
        >>> frames.shape, torch.equal(frames[:, :, :16], picture[:, :16].expand(3, -1, -1, -1))
        (torch.Size([3, 3, 32, 32]), True)
    """

    controls: ClassVar[frozenset[str]] = frozenset({"lip"})
    reads_lips: ClassVar[bool] = False

    def __init__(
        self,
        image_size: int = 96,
        width: int = 16,
        discriminator_channels: int = 32,
        discriminator_layers: int = 4,
        sync_weight: float = 0.03,
        gan_weight: float = 0.07,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        accumulate: int = 1,
        clip: float | None = None,
        ema_half_life: float | None = None,
    ) -> None:
        super().__init__(accumulate, clip, ema_half_life)
        self.save_hyperparameters()
        if min(sync_weight, gan_weight) < 0 or sync_weight + gan_weight >= 1:
            raise ValueError(
                f"sync_weight={sync_weight} and gan_weight={gan_weight} leave nothing for the L1: "
                "give shares in [0, 1) that sum to less than 1."
            )
        self.image_size = image_size
        self.sync_weight, self.gan_weight, self.lr, self.betas = sync_weight, gan_weight, lr, betas
        self.front_end = Wav2LipMel()
        self.networks = Wav2LipNetworks(image_size, width)
        self.discriminator = PatchDiscriminator(
            channels=discriminator_channels, layers=discriminator_layers
        )
        self.average_weights()
        # The frozen expert is no part of the model: not in checkpoints or optimizers.
        self._fixed: dict[str, SyncExpert] = {}

    def initialise(self, sync: str | Path | None = None, model: str | Path | None = None) -> Self:
        """Take the expert of the sync loss, or start from a trained model; paths are not stored.

        Args:
            sync: Folder of a trained
                :class:`~talkingface.models.experts.syncnet.expert.SyncExpert`, or ``sync-expert``.
            model: Folder of a trained Wav2Lip, with its discriminator where there is one.

        Raises:
            FileNotFoundError: If there is nothing at a path.
            ValueError: If it is another model, or its weights do not fit this model's sizes.
        """
        if model is not None:
            transfer_players(model, self)
        if sync is not None:
            self._fixed["sync"] = SyncExpert.from_pretrained(sync)
        self.restart_average()
        return self

    def on_fit_start(self) -> None:
        """Bring the expert to the device.

        Raises:
            FileNotFoundError: If its loss has a weight, and there is none.
        """
        super().on_fit_start()
        if self.sync_weight and "sync" not in self._fixed:
            raise FileNotFoundError(
                f"sync_weight={self.sync_weight} needs a sync expert: give --init.sync "
                "runs/sync_expert/model (sync-expert for drawn faces), or set the weight to 0."
            )
        for name, network in self._fixed.items():
            self._fixed[name] = network.to(self.device).requires_grad_(False).eval()

    # -------------------------------------------------------------------------------- training

    def generate(self, batch: Batch) -> Tensors:
        """Paint the target's mouths again, after another frame of the clip and the sound."""
        return {"video": self._dub(cast(Wav2LipNetworks, self.networks), batch)}

    def generator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """The terms of the total loss."""
        fake, real = outputs["video"], batch["video"]
        weight = 1 - self.sync_weight - self.gan_weight
        losses = {"l1": weight * F.l1_loss(fake, real)}
        if self.sync_weight:
            visual, audio = self._fixed["sync"](fake, batch["audio"], batch["start"])
            together = torch.ones_like(visual[..., 0])
            losses["sync"] = self.sync_weight * cosine_bce_loss(visual, audio, together)
        if self.gan_weight:
            losses["gan"] = self.gan_weight * generator_adversarial_loss(self._judge(fake))
        return losses

    def discriminator_losses(self, batch: Batch, outputs: Tensors) -> Tensors:
        """The adversarial loss from the other side."""
        real, fake = self._judge(batch["video"]), self._judge(outputs["video"])
        on_real, on_fake = discriminator_adversarial_loss(real, fake)
        return {"real": on_real, "fake": on_fake}

    def reconstruct(self, batch: Batch) -> Tensor:
        """The target frames with mouths that follow the sound."""
        return self._dub(cast(Wav2LipNetworks, self.inference_networks), batch)

    def _dub(self, networks: Wav2LipNetworks, batch: Batch) -> Tensor:
        frames, reference = batch["video"], batch["source"][:, :1].expand_as(batch["video"])
        mel = self._mel(batch["audio"], batch["start"])
        painted = self._repaint(
            networks, frames.flatten(0, 1), reference.flatten(0, 1), mel.flatten(0, 1)
        )
        return painted.unflatten(0, frames.shape[:2])

    def _mel(self, audio: Tensor, start: Tensor) -> Tensor:
        """Mel (B, T, 1, 80, 16) of the 0.2 s around each frame, of a batch's sound."""
        # The front end's windows begin with their frame; two frames earlier they surround it.
        padding = 2 * SAMPLES_PER_FRAME
        return self.front_end(F.pad(audio, (padding, padding)), start - 2)

    def _repaint(
        self, networks: Wav2LipNetworks, frames: Tensor, reference: Tensor, mel: Tensor
    ) -> Tensor:
        """Frames (N, 3, H, W) in [-1, 1] with a lower half that was painted anew."""
        upper = frames[:, :, : self.image_size // 2]
        masked = F.pad((upper + 1) / 2, (0, 0, 0, self.image_size - upper.shape[2]))
        painted = 2 * networks(masked, (reference + 1) / 2, mel) - 1
        return torch.cat([upper, painted[:, :, upper.shape[2] :].to(upper)], 2)

    def _judge(self, video: Tensor) -> Tensor:
        """What the discriminator makes of the lower halves of frames (B, T, 3, H, W)."""
        halves = video.flatten(0, 1)[:, :, self.image_size // 2 :]
        return cast(Tensor, self.discriminator(halves)[-1])

    # ------------------------------------------------------------------------------- animation

    def _animate(
        self,
        source: Tensor,
        audio: Tensor | None,
        driving: Frames | None,
        pose: Tensor | None,
        frontal: bool,
        chunk: int,
    ) -> Iterator[Tensor]:
        """Paint the mouth of ``driving``, the video to dub, or else of the picture all the time."""
        if audio is None:
            raise ValueError("audio is missing: Wav2Lip reads no lips, give it speech.")
        if pose is not None or frontal:
            raise ValueError("pose and frontal turn the head, which Wav2Lip leaves: drop them.")
        networks = cast(Wav2LipNetworks, self.inference_networks)
        for start in range(0, total := frame_count(audio), chunk):
            stop = min(start + chunk, total)
            window = audio_window(audio.float(), start, stop - start)[None].to(self.device)
            mel = self._mel(window, torch.tensor([start], device=self.device))[0]
            reference = source[:1].expand(stop - start, -1, -1, -1)
            frames = reference if driving is None else self.motion(driving, start, stop)
            yield self._repaint(networks, frames, reference, mel)

    def card(self) -> dict[str, Any]:
        """What a user of the weights has to know."""
        return super().card() | {"crop_template": "pc_avs", "front_end": "Wav2LipMel"}

    def configure_optimizers(self) -> Any:
        """Adam for each player."""
        players = (self.networks, self.discriminator)
        return [torch.optim.Adam(part.parameters(), self.lr, self.betas) for part in players]
