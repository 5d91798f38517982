"""The identity reader: a unit vector that says who somebody is."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkingface.data.batch import Batch
from talkingface.metrics.probe import VerificationAUC, pair_cosines
from talkingface.models.experts.readers.augmentation import degrade, reframe
from talkingface.models.experts.readers.networks import IdentityNetwork
from talkingface.models.experts.readers.reader import Reader


class IdentityReader(Reader):
    r"""Embed the synthetic corpus's faces so that frames of one person point the same way.

    Trained to tell the training people apart by the large-margin cosine loss,

    .. math::
        \mathcal{L} = -\log\frac{e^{s(\cos\theta_y - m)}}
        {e^{s(\cos\theta_y - m)} + \sum_{j\neq y} e^{s\cos\theta_j}}

    and, since few people teach little about many, to give the face's traits as linear functions of
    the vector, by their mean absolute error.

    Args:
        num_identities: Number of people to train on.
        image_size: Side at which frames are read, a multiple of 16.
        channels: Channels of the encoder's stages.
        blocks: Residual blocks of each stage.
        dim: Size of the embedding.
        traits: Number of traits that the data labels (``traits``), or 0.
        trait_weight: Weight of their error.
        scale: s.
        margin: m.
        augment: Mirror, shift, scale and degrade the frames in training.
        lr: Largest learning rate.

    References:
        Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018,
        eq. 4, https://arxiv.org/abs/1801.09414

    Example:
        >>> reader = IdentityReader(10, 32, channels=(8, 8), dim=4).eval()
        >>> reader(torch.rand(2, 3, 64, 64)).norm(dim=1).allclose(torch.ones(2))
        True
    """

    def __init__(
        self,
        num_identities: int,
        image_size: int = 96,
        channels: tuple[int, ...] = (32, 64, 128, 192),
        blocks: int = 1,
        dim: int = 128,
        traits: int = 0,
        trait_weight: float = 200.0,
        scale: float = 24.0,
        margin: float = 0.1,
        augment: bool = True,
        lr: float = 3e-3,
    ) -> None:
        super().__init__(image_size, lr)
        self.save_hyperparameters()
        self.networks = IdentityNetwork(channels, blocks, dim)
        # Only their directions count; short ones turn fast under Adam.
        self.people = nn.Parameter(0.05 * torch.randn(num_identities, dim))
        self.describe = nn.Linear(dim, traits) if traits else None
        if self.describe is not None:
            nn.init.constant_(self.describe.bias, 0.5)  # the middle of a trait
        self.scale, self.margin, self.augment = scale, margin, augment
        self.trait_weight = trait_weight

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames (N, 3, S, S) in [-1, 1], of any size: unit rows (N, dim).

        Raises:
            ValueError: If the frames have another shape or range.
        """
        return self.networks(self.fit_size(frames))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Large-margin cosine loss over all frames, and the error of the traits."""
        frames, count = self.fit_size(batch["video"].flatten(0, 1)), batch["video"].shape[1]
        labels = batch["identity"].repeat_interleave(count)
        if self.augment:
            frames = torch.where(
                torch.rand(len(frames), 1, 1, 1, device=frames.device) < 0.5,
                frames.flip(-1),
                frames,
            )
            frames, _ = reframe(frames, frames.new_zeros(len(frames), 1, 2), shift=0.06, zoom=0.12)
            frames = degrade(frames)
        vectors = self.networks(frames)
        cosines = vectors @ F.normalize(self.people, dim=1).T
        margin = self.margin * F.one_hot(labels, len(self.people))
        loss = F.cross_entropy(self.scale * (cosines - margin), labels)
        accuracy = (cosines.argmax(1) == labels).float().mean()
        self.log_dict({"train/loss": loss, "train/accuracy": accuracy}, prog_bar=True)
        if self.describe is not None:
            values: Any = batch
            traits = values["traits"].repeat_interleave(count, 0)
            error = (self.describe(vectors * vectors.shape[1] ** 0.5) - traits).abs().mean()
            self.log("train/traits", error)
            loss = loss + self.trait_weight * error
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the pairs of the epoch before."""
        self._vectors: list[Tensor] = []
        self._labels: list[Tensor] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect embeddings of people who are not trained on."""
        self._vectors.append(self(batch["video"].flatten(0, 1)).detach())
        self._labels.append(batch["identity"].repeat_interleave(batch["video"].shape[1]))

    def on_validation_epoch_end(self) -> None:
        """Log how well frames of one person are told from frames of two, and their cosines."""
        cosines, same = pair_cosines(torch.cat(self._vectors), torch.cat(self._labels))
        if same.any() and not same.all():
            auc = VerificationAUC()
            auc.update(cosines, same)
            self.log("val/auc", auc.compute(), prog_bar=True)
            self.log("val/cosine_same", cosines[same].mean())
            self.log("val/cosine_different", cosines[~same].mean())
