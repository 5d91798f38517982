"""The cosine expert: trained to tell a mouth's own sound from the same sound at other times."""

import math
from pathlib import Path
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from talkingface.data.batch import Batch
from talkingface.losses.sync import cosine_bce_loss, shift_info_nce
from talkingface.models.components.audio_frontends import SyncNetMFCC, Wav2LipMel
from talkingface.models.conversion import Rule, convert_state_dict
from talkingface.models.experts.syncnet.embedding import embed_audio, embed_video
from talkingface.models.experts.syncnet.mouths import SyncAugmentation, check_box, crop_mouth
from talkingface.models.experts.syncnet.offsets import Padding, find_offset
from talkingface.models.experts.syncnet.plateau import PlateauWarning
from talkingface.models.experts.syncnet.syncnet import SyncNet
from talkingface.models.experts.syncnet.wav2lip import Wav2LipSync
from talkingface.models.reproducible import ReproducibleModule, evaluating, half_cosine
from talkingface.models.transfer import transfer
from talkingface.models.weights import load_state_dict_file

# Of a checkpoint of the authors' training: weights, the optimizer's state and counters.
_WAV2LIP_RULES: list[Rule] = [(r"optimizer\..+", None), (r"^(state_dict\.)?(module\.)?", "")]


class SyncExpert(ReproducibleModule):
    r"""Learn from talking faces when lips and sound are in sync.

    Sound and mouth of 0.2 s (five frames) become unit vectors; their cosine says whether they are
    of the same moment. Trains on any datamodule with windows of six frames or more: the other
    moments of a window are its negatives, so longer ones teach more.

    Args:
        network: ``"wav2lip"``, the expert of Wav2Lip which FC-TFG's sync loss uses, or
            ``"syncnet"``, the architecture of SyncNet v2.
        width: Channels of the network's first convolution; released weights have 32 (Wav2Lip) and
            64 (SyncNet).
        box: Crop that is read, as fractions (top, left, bottom, right) of a frame; by default the
            network's own: the lower half for ``"wav2lip"``, the whole frame for ``"syncnet"``.
        loss: ``"infonce"``, :func:`~talkingface.losses.shift_info_nce`, or ``"bce"``, Wav2Lip's own
            :func:`~talkingface.losses.cosine_bce_loss` with half of the pairs shifted.
        temperature: Of InfoNCE.
        augment: Vary crop, sides and colours of the frames, loudness and noise of the sound.
        padding: See :class:`~talkingface.models.components.audio_frontends.Wav2LipMel`.
        lr: Learning rate of Adam at the start; it falls to zero along half a cosine.

    Raises:
        ValueError: If an argument is unknown or out of range.

    References:
        Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The
        Wild", ACM MM 2020, section 3.2, https://arxiv.org/abs/2008.10010

    Example:
        >>> expert = SyncExpert(width=2).eval()
        >>> frames, sound = torch.zeros(12, 3, 96, 96), torch.zeros(12 * 640)
        >>> expert.embed_video(frames).shape, expert.embed_audio(sound).shape
        (torch.Size([8, 32]), torch.Size([8, 32]))
    """

    def __init__(
        self,
        network: Literal["wav2lip", "syncnet"] = "wav2lip",
        width: int = 32,
        box: tuple[float, float, float, float] | None = None,
        loss: Literal["infonce", "bce"] = "infonce",
        temperature: float = 0.1,
        augment: bool = True,
        padding: Literal["zero", "reflect"] = "zero",
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if network not in ("wav2lip", "syncnet"):
            raise ValueError(f'network must be "wav2lip" or "syncnet", not {network!r}')
        if loss not in ("infonce", "bce"):
            raise ValueError(f'loss must be "infonce" or "bce", not {loss!r}')
        if (network, loss) == ("syncnet", "bce"):
            raise ValueError(
                '"bce" needs cosines in [0, 1], which "syncnet" has not: use "infonce"'
            )
        self.networks: Any
        self.front_end: Any
        if network == "wav2lip":
            self.networks, self.front_end = Wav2LipSync(width), Wav2LipMel(padding)
        else:
            self.networks, self.front_end = SyncNet(width), SyncNetMFCC()
        self.size, self.windows = self.networks.size, self.networks.windows
        self.box = check_box(self.networks.box if box is None else box)
        self.loss, self.temperature, self.lr = loss, temperature, lr
        self.augmentation = SyncAugmentation(self.box) if augment else None
        self.plateau = PlateauWarning()

    @classmethod
    def from_official(cls, path: str | Path) -> Self:
        """Open the expert that Wav2Lip's authors released, in eval mode.

        Its sound is padded by reflection, as presumably in the authors' training.

        Args:
            path: ``lipsync_expert.pth`` of https://github.com/Rudrabha/Wav2Lip (for research,
                academic and personal use; no commercial use).

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged or holds another network.
        """
        expert = cls(padding="reflect")
        state = load_state_dict_file(path)
        state, _ = convert_state_dict(state, _WAV2LIP_RULES, expert.networks.state_dict())
        expert.networks.load_state_dict(state)
        return expert.eval()

    def initialise(self, expert: str | Path) -> Self:
        """Start from the weights of another expert of the same architecture and width.

        Args:
            expert: A saved model or a checkpoint; its path is not kept.

        Raises:
            FileNotFoundError: If there is no such model.
            ValueError: If it does not fit.
        """
        other = SyncExpert.from_pretrained(expert)
        transfer(other.networks.state_dict(), self.networks, str(expert))
        return self

    def card(self) -> dict[str, Any]:
        """Facts for ``config.json``."""
        return {**super().card(), "front_end": type(self.front_end).__name__}

    def forward(self, video: Tensor, audio: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Embed the windows of five frames of a batch, and their sound; differentiable.

        Shape:
            - video: (B, T, 3, H, W) in [-1, 1]; audio: (B, 640 T + 6400); start: (B,), index of
              each item's first frame in its clip
            - output: (B, T - 4, D) each, of length one

        Raises:
            ValueError: If there are fewer than five frames.
        """
        mouths = [crop_mouth(clip, self.box, self.size) for clip in video]
        return self._embed(torch.stack(mouths), audio, start)

    def _embed(self, mouths: Tensor, audio: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        if (frames := mouths.shape[1]) < 5:
            raise ValueError(
                f"windows have {frames} frames, but a sync expert looks at five at a time: give "
                "--data.frames 5 or more."
            )
        faces, sound = self.windows(mouths), self.front_end(audio, start)
        visual = self.encode_faces(faces.flatten(0, 1)).unflatten(0, faces.shape[:2])
        return visual, self.encode_audio(sound.flatten(0, 1)).unflatten(0, sound.shape[:2])

    def encode_faces(self, faces: Tensor) -> Tensor:
        """Embed the network's windows of frames, (N, D), of length one."""
        return F.normalize(self.networks.encode_faces(faces).float(), dim=-1)

    def encode_audio(self, sound: Tensor) -> Tensor:
        """Embed the front end's windows of sound, (N, D), of length one."""
        return F.normalize(self.networks.encode_audio(sound).float(), dim=-1)

    def embed_video(self, frames: Tensor, batch_size: int = 64) -> Tensor:
        """Embed a clip, one unit row per window of five frames.

        Shape:
            - frames: (T, 3, H, W) in [-1, 1], of any size; output: (T - 4, D).

        Raises:
            ValueError: If frames are of another range or shape, or fewer than five.
        """
        return embed_video(self, frames, self.box, batch_size)

    def embed_audio(self, audio: Tensor, batch_size: int = 256) -> Tensor:
        """Embed the sound of a clip, one unit row per window of five frames.

        Shape:
            - audio: (samples,), 16 kHz mono in [-1, 1], T = samples // 640 frames; output:
              (T - 4, D).

        Raises:
            ValueError: If the sound is of another shape or shorter than five frames.
        """
        return embed_audio(self, self.front_end, audio, batch_size)

    @torch.inference_mode()
    def offset(
        self, frames: Tensor, audio: Tensor, vshift: int = 15, padding: Padding = "mean"
    ) -> int:
        """Frames by which the sound is ahead of the picture (below zero: behind).

        Args:
            frames: A clip (T, 3, H, W) in [-1, 1].
            audio: Its sound (samples,).
            vshift: Largest shift searched; the clip has more windows than that.
            padding: See :func:`~talkingface.models.experts.syncnet.offsets.find_offset`.

        Raises:
            ValueError: If shapes or ranges do not fit, or the clip is too short.
        """
        with evaluating(self):
            features = self.embed_video(frames), self.embed_audio(audio)
        return find_offset(*features, vshift, padding)[0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Tell each moment's sound from that of other moments of its clip."""
        video, audio = batch["video"], batch["audio"]
        if self.augmentation is None:
            visual, sound = self(video, audio, batch["start"])
        else:
            mouths, audio = self.augmentation(video, audio, self.size)
            visual, sound = self._embed(mouths, audio, batch["start"])
        loss, chance = self._score(visual, sound)
        self.plateau(float(loss.detach()), chance)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def _score(self, visual: Tensor, audio: Tensor) -> tuple[Tensor, float]:
        """The loss, and its value at chance."""
        clips, moments = visual.shape[:2]
        if moments < 2:
            raise ValueError(f"windows of {moments + 4} frames have one moment: use six or more")
        if self.loss == "infonce":
            return shift_info_nce(visual, audio, self.temperature), math.log(moments)
        draw = torch.rand(2, clips, moments, device=visual.device)
        own = torch.arange(moments, device=visual.device).expand(clips, -1)
        other = (own + 1 + (draw[1] * (moments - 1)).long()) % moments
        shifted = draw[0] < 0.5
        index = torch.where(shifted, other, own)[..., None].expand_as(audio)
        return cosine_bce_loss(visual, audio.gather(1, index), (~shifted).float()), math.log(2)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Find each moment among its clip's, and how far true cosines lie above those 0.2 s off."""
        visual, audio = self(batch["video"], batch["audio"], batch["start"])
        cosines = visual @ audio.mT
        time = torch.arange(cosines.shape[-1], device=cosines.device)
        true = cosines.diagonal(dim1=1, dim2=2).mean()
        scores = {
            "val/loss": shift_info_nce(visual, audio, self.temperature),
            "val/accuracy": (cosines.argmax(-1) == time).float().mean(),
            "val/cosine": true,
        }
        far = (time[:, None] - time).abs() >= 5
        if far.any():
            scores["val/gap"] = true - cosines[:, far].mean()
        self.log_dict(scores, prog_bar=True, sync_dist=True, batch_size=len(visual))

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.networks.parameters(), self.lr)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Lower the learning rate along half a cosine, to zero at the end of the last epoch."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.lr * half_cosine(self.trainer, batch_idx)
