"""Front ends that turn the waveform into what the audio networks read."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks


class PCAVSMel(nn.Module):
    """Mel spectrogram of PC-AVS, cut into one window per video frame.

    The loudness-normalised waveform is analysed in frames of 1280 samples with a hop of 160 and a
    half-scale sine window; bin m covers samples [160 m - 1120, 160 m + 160). Magnitudes go through
    80 Slaney bands (125 to 7600 Hz), and ``clip((20 log10(max(1e-5, mel)) + 80) / 100, 0, 1)`` is
    the value, so digital silence is 0. The window of video frame i holds bins 4 i - 8 to 4 i + 11.

    Shape:
        - audio: (B, 640 T + 6400), 16 kHz mono in [-1, 1]: the sound of T frames with 3200 samples
          of context on each side (zeros outside the file).
        - gain: (B,), factor that brings the whole utterance to an rms of 0.1.
        - output: (B, T, 1, 80, 20) in [0, 1].

    Example:
        >>> PCAVSMel()(torch.zeros(2, 5 * 640 + 6400), torch.ones(2)).shape
        torch.Size([2, 5, 1, 80, 20])
    """

    window: Tensor
    filters: Tensor

    frame, hop, bands, bins_per_window = 1280, 160, 80, 20
    samples_per_frame, context = 640, 3200

    def __init__(self) -> None:
        super().__init__()
        phase = (torch.arange(self.frame, dtype=torch.float64) + 0.5) / self.frame
        filters = melscale_fbanks(
            self.frame // 2 + 1, 125.0, 7600.0, self.bands, 16000, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("window", 0.5 * torch.sin(torch.pi * phase).float(), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, audio: Tensor, gain: Tensor) -> Tensor:
        """Compute the windows of all video frames that the sound belongs to.

        Raises:
            ValueError: If the number of samples is not 640 T + 6400 with T >= 1.
        """
        frames, rest = divmod(audio.shape[-1] - 2 * self.context, self.samples_per_frame)
        if rest or frames < 1:
            raise ValueError(
                f"PCAVSMel got {audio.shape[-1]} samples; it takes T * {self.samples_per_frame} + "
                f"{2 * self.context} samples for T >= 1 video frames"
            )
        # Bin 4 i - 8 of frame i = 0 starts at sample -2400, that is 800 samples into the context.
        start = self.context - 8 * self.hop - (self.frame - self.hop)
        bins = 4 * (frames - 1) + self.bins_per_window
        stop = start + (bins - 1) * self.hop + self.frame
        mel = self._mel(audio[..., start:stop] * gain[..., None])
        return mel.unfold(1, self.bins_per_window, 4).unsqueeze(2)

    def utterance(self, audio: Tensor, gain: Tensor | float) -> Tensor:
        """Compute all bins of one utterance.

        Shape:
            - audio: (samples,), 16 kHz mono in [-1, 1].
            - output: (bins, 80) in [0, 1], with (1120 + samples, rounded up to the hop) / 160 bins.

        Example:
            >>> PCAVSMel().utterance(torch.zeros(32000), 1.0).shape
            torch.Size([207, 80])
        """
        lead = self.frame - self.hop
        bins = -(-(lead + audio.shape[-1]) // self.hop)
        padded = F.pad(
            audio * gain, (lead, (bins - 1) * self.hop + self.frame - lead - audio.shape[-1])
        )
        return self._mel(padded[None])[0]

    def _mel(self, audio: Tensor) -> Tensor:
        # The spectrum spans five decades: half precision would spoil it, also under autocast.
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(
                audio.float(),
                self.frame,
                self.hop,
                window=self.window,
                center=False,
                return_complex=True,
            )
            mel = spectrum.abs().transpose(-1, -2) @ self.filters
            return ((20 * mel.clamp_min(1e-5).log10() + 80) / 100).clamp(0, 1)
