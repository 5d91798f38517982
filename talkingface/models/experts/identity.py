"""The identity expert: a face classifier whose features say who somebody is."""

from typing import Any

import torch
from torch import Tensor

from talkingface.data.batch import Batch
from talkingface.losses import classification_loss
from talkingface.models.components.identity_encoder import IdentityEncoder
from talkingface.models.reproducible import ReproducibleModule


class IdentityClassifier(ReproducibleModule):
    r"""Train an identity encoder to name the person in a frame.

    The softmax identity loss of PC-AVS (Zhou et al., CVPR 2021, section 3.2),
    :math:`\mathcal{L}_i = -\log \mathrm{softmax}(W f_i)_{y}`. Frames count as they come, one by
    one; each is mirrored half of the time.

    Args:
        num_identities: Number of people.
        layers: Bottlenecks per stage of the ResNeXt; (3, 4, 6, 3) is ResNeXt-50.
        width: Channels of the stem.
        groups: Groups of the 3x3 convolutions.
        width_per_group: Channels per group of the first stage, for a stem of 64.
        map_channels: Channels of the identity map.
        map_size: Height and width of the identity map.
        lr: Learning rate of Adam.

    Example:
        >>> model = IdentityClassifier(3, (1, 1, 1, 1), width=16, groups=4, width_per_group=16)
        >>> model(torch.zeros(2, 3, 96, 96)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        num_identities: int = 5994,
        layers: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 64,
        groups: int = 32,
        width_per_group: int = 4,
        map_channels: int = 512,
        map_size: int = 7,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.networks = IdentityEncoder(
            num_classes=num_identities,
            map_channels=map_channels,
            layers=layers,
            width=width,
            groups=groups,
            width_per_group=width_per_group,
            map_size=map_size,
        )
        self.lr = lr

    def forward(self, frames: Tensor) -> Tensor:
        """Score the people for frames (B, 3, H, W) in [-1, 1]: logits (B, num_identities)."""
        vector, _ = self.networks(frames)
        return self.networks.classify(vector)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross entropy over all target frames."""
        frames = batch["video"]
        mirrored = torch.rand(len(frames), 1, 1, 1, 1, device=frames.device) < 0.5
        frames = torch.where(mirrored, frames.flip(-1), frames)
        loss, accuracy = self._score(frames, batch["identity"])
        self.log_dict({"train/loss": loss, "train/accuracy": accuracy}, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Accuracy on held-out frames."""
        loss, accuracy = self._score(batch["video"], batch["identity"])
        scores = {"val/loss": loss, "val/accuracy": accuracy}
        self.log_dict(scores, prog_bar=True, sync_dist=True, batch_size=len(batch["video"]))

    def _score(self, video: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        logits = self(video.flatten(0, 1))
        labels = identity.repeat_interleave(video.shape[1])
        return classification_loss(logits, labels), (logits.argmax(1) == labels).float().mean()

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.networks.parameters(), self.lr)
