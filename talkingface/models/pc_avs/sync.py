"""PC-AVS's second pre-training stage: the speech content space that lips and sound share."""

from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from talkingface.data.batch import Batch
from talkingface.losses import (
    cross_modal_l1,
    inverse_distance_contrastive,
    retrieval_accuracy,
    symmetric_info_nce,
)
from talkingface.models.components.audio_frontends import PCAVSMel
from talkingface.models.options import check_option
from talkingface.models.pc_avs.augmentation import PCAVSAugmentation
from talkingface.models.pc_avs.networks import AudioEncoder, NonIdentityEncoder
from talkingface.models.reproducible import ReproducibleModule

Contrastive = Literal["infonce", "inverse_distance"]


def content_loss(
    module: Any, visual: Tensor, audio: Tensor, temperature: float, contrastive: Contrastive
) -> Tensor:
    """Synchronise content features of one moment, with negatives from all ranks.

    Args:
        module: The LightningModule that gathers over ranks.
        visual: Visual content features (N, D); row i belongs to ``audio``'s row i.
        audio: Audio content features (N, D).
        temperature: See :func:`~talkingface.losses.info_nce`.
        contrastive: ``"infonce"``, eq. 2 and 3, or the released code's ``"inverse_distance"``.
    """
    all_visual, all_audio, offset = visual, audio, 0
    if module.trainer.world_size > 1:
        all_visual = module.all_gather(visual, sync_grads=True).flatten(0, 1)
        all_audio = module.all_gather(audio, sync_grads=True).flatten(0, 1)
        offset = module.global_rank * len(visual)
    if contrastive == "infonce":
        return symmetric_info_nce(
            visual, audio, all_visual, all_audio, offset=offset, temperature=temperature
        )
    return inverse_distance_contrastive(visual, all_audio, offset) + inverse_distance_contrastive(
        audio, all_visual, offset
    )


class PCAVSSync(ReproducibleModule):
    r"""Learn when lips and sound belong together (PC-AVS, section 3.2, eq. 2 and 3).

    Every frame of a batch is a moment: its negatives are the other moments of its own clip (time
    shifts) and those of the other clips, on all ranks.

    Args:
        image_size: Height and width of the frames, a multiple of 4.
        feature_dim: Size of the content features.
        trunk_channels: Channels of the face alignment trunk.
        trunk_depth: Levels of its hourglass.
        audio_channels: Channels of the audio encoder's stages.
        audio_layers: Blocks of the audio encoder's stages.
        augment: Colour, perspective (eq. 1) and crop augmentation of the frames.
        temperature: Of InfoNCE; the paper has none (1). Lower ones learn faster on little data.
        contrastive: ``"infonce"``, or ``"inverse_distance"`` as in the released code.
        cross_modal_weight: Weight of the released code's L1 between the two features.
        lr: Learning rate of Adam.

    Example:
        >>> model = PCAVSSync(32, 64, 16, 2, (4, 8, 8, 16), (1, 1, 1, 1))
        >>> model.networks["audio_encoder"](torch.zeros(2, 1, 80, 20)).shape
        torch.Size([2, 64])
    """

    def __init__(
        self,
        image_size: int = 224,
        feature_dim: int = 512,
        trunk_channels: int = 256,
        trunk_depth: int = 4,
        audio_channels: tuple[int, ...] = (32, 64, 128, 256),
        audio_layers: tuple[int, ...] = (3, 4, 6, 3),
        augment: bool = True,
        temperature: float = 1.0,
        contrastive: Contrastive = "infonce",
        cross_modal_weight: float = 0.0,
        lr: float = 5e-4,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_option("contrastive", contrastive, get_args(Contrastive))
        self.temperature, self.contrastive = temperature, contrastive
        self.cross_modal_weight, self.lr = cross_modal_weight, lr
        self.front_end = PCAVSMel()
        self.augmentation = PCAVSAugmentation() if augment else nn.Identity()
        self.networks = nn.ModuleDict(
            {
                "non_identity_encoder": NonIdentityEncoder(
                    size=image_size,
                    feature_dim=feature_dim,
                    channels=trunk_channels,
                    depth=trunk_depth,
                ),
                "audio_encoder": AudioEncoder(
                    channels=audio_channels, layers=audio_layers, feature_dim=feature_dim
                ),
            }
        )

    def forward(self, video: Tensor, audio: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Content features of frames (B, T, 3, H, W) and of their sound, (B * T, D) each."""
        encoder = cast(NonIdentityEncoder, self.networks["non_identity_encoder"])
        visual = encoder.content(encoder(video.flatten(0, 1)))
        mel = self.front_end(audio, gain).flatten(0, 1)
        return visual, self.networks["audio_encoder"](mel)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """InfoNCE in both directions."""
        visual, audio = self(self.augmentation(batch["video"]), batch["audio"], batch["audio_gain"])
        loss = content_loss(self, visual, audio, self.temperature, self.contrastive)
        if self.cross_modal_weight:
            loss = loss + self.cross_modal_weight * cross_modal_l1(visual, audio)
        accuracy = retrieval_accuracy(visual, audio)
        self.log_dict({"train/loss": loss, "train/accuracy": accuracy}, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Find each moment's sound among those of the batch, and the other way round."""
        visual, audio = self(batch["video"], batch["audio"], batch["audio_gain"])
        scores = {
            "val/loss": symmetric_info_nce(visual, audio, temperature=self.temperature),
            "val/video_to_audio": retrieval_accuracy(visual, audio),
            "val/audio_to_video": retrieval_accuracy(audio, visual),
        }
        self.log_dict(scores, prog_bar=True, sync_dist=True, batch_size=len(batch["video"]))

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.networks.parameters(), self.lr)
