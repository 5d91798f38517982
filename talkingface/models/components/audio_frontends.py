"""Front ends that turn the waveform into what the audio networks read."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import create_dct, melscale_fbanks


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


class DAVSMFCC(nn.Module):
    r"""MFCC of DAVS, cut into one window per video frame.

    Samples of a 16-bit range, pre-emphasis 0.97, frames of 400 samples with a hop of 160 under a
    Hamming window, magnitudes of 512 frequencies, 13 triangular filters (300 to 3700 Hz, equally
    spaced in mel), natural logarithm, orthonormal DCT, lifter :math:`1 + 11 \sin(\pi k / 22)`; of
    the 13 coefficients the first is dropped. Column m covers samples [160 m, 160 m + 400), and the
    window of video frame i holds columns 4 i - 8 to 4 i + 11.

    Filter outputs are held above 0.01, far below those of 16-bit sound: where the released code
    gives minus infinity, digital silence gives 0 throughout.

    Shape:
        - audio: (B, 640 T + 6400), 16 kHz mono in [-1, 1]: the sound of T frames with 3200 samples
          of context on each side (zeros outside the file).
        - output: (B, T, 20, 12), time by cepstra, mostly within [-20, 20].

    Example:
        >>> windows = DAVSMFCC()(torch.zeros(2, 5 * 640 + 6400))
        >>> windows.shape, float(windows.abs().max()) < 1e-4
        (torch.Size([2, 5, 20, 12]), True)
    """

    window: Tensor
    filters: Tensor
    cosines: Tensor

    frame, hop, bins, columns_per_window, floor = 400, 160, 512, 20, 0.01
    samples_per_frame, context = 640, 3200

    def __init__(self) -> None:
        super().__init__()
        window = torch.hamming_window(self.frame, periodic=False)
        filters = melscale_fbanks(self.bins // 2 + 1, 300.0, 3700.0, 13, 16000)
        lifter = 1 + 11 * torch.sin(torch.pi * torch.arange(1, 13) / 22)
        cosines = create_dct(13, 13, "ortho")[:, 1:] * lifter
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("cosines", cosines, persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Compute the windows of all video frames that the sound belongs to.

        Raises:
            ValueError: If the number of samples is not 640 T + 6400 with T >= 1.
        """
        frames, rest = divmod(audio.shape[-1] - 2 * self.context, self.samples_per_frame)
        if rest or frames < 1:
            raise ValueError(
                f"DAVSMFCC got {audio.shape[-1]} samples; it takes T * {self.samples_per_frame} + "
                f"{2 * self.context} samples for T >= 1 video frames"
            )
        columns = 4 * (frames - 1) + self.columns_per_window
        # One sample more at the left, which pre-emphasis looks back to.
        start = self.context - 8 * self.hop - 1
        stop = start + 1 + (columns - 1) * self.hop + self.frame
        mfcc = self._mfcc(audio[..., start:stop])
        return mfcc.unfold(1, self.columns_per_window, 4).transpose(-1, -2)

    def _mfcc(self, audio: Tensor) -> Tensor:
        # The spectrum spans five decades: half precision would spoil it, also under autocast.
        with torch.autocast(audio.device.type, enabled=False):
            samples = audio.float() * 2**15
            emphasised = samples[..., 1:] - 0.97 * samples[..., :-1]
            frames = emphasised.unfold(-1, self.frame, self.hop) * self.window
            magnitudes = torch.fft.rfft(frames, self.bins).abs()
            return (magnitudes @ self.filters).clamp_min(self.floor).log() @ self.cosines


class SyncNetMFCC(nn.Module):
    """Cepstra of SyncNet, cut into one window of 0.2 s per video frame.

    Those of ``python_speech_features.mfcc`` with its defaults, on 16-bit samples: pre-emphasis
    0.97, rectangular frames of 400 samples with a hop of 160, power ``|FFT_512|^2 / 512`` in 26
    triangular filters (0 to 8000 Hz, corners at bins ``floor(513 f / 16000)``), logarithm,
    orthonormal DCT-II, 13 coefficients, lifter ``1 + 11 sin(pi k / 22)``, and the logarithm of the
    frame's whole power in the place of the first one. A sum of zero becomes 2.2e-16, so digital
    silence is finite (its first coefficient is -36). The window of video frame i holds frames 4 i
    to 4 i + 19.

    Shape:
        - audio: (B, 640 T + 6400), 16 kHz mono in [-1, 1]: the sound of T >= 5 frames with 3200
          samples of context on each side.
        - output: (B, T - 4, 1, 13, 20).

    Example:
        >>> SyncNetMFCC()(torch.zeros(2, 7 * 640 + 6400)).shape
        torch.Size([2, 3, 1, 13, 20])
    """

    filters: Tensor
    cosines: Tensor

    frame, hop, transform, bands, coefficients, columns = 400, 160, 512, 26, 13, 20
    samples_per_frame, context = 640, 3200

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", self._triangles().float(), persistent=False)
        k = torch.arange(self.coefficients, dtype=torch.float64)[:, None]
        n = torch.arange(self.bands, dtype=torch.float64) + 0.5
        cosines = (2 / self.bands) ** 0.5 * (torch.pi * k * n / self.bands).cos()
        lifter = 1 + 11 * (torch.pi * k / 22).sin()
        self.register_buffer("cosines", (lifter * cosines).float(), persistent=False)

    def forward(self, audio: Tensor, start: Tensor | None = None) -> Tensor:
        """Compute the windows of the frames that the sound belongs to, all but the last four.

        ``start`` is there for the sake of front ends whose windows depend on it; these do not: four
        hops are one video frame.

        Raises:
            ValueError: If the number of samples is not 640 T + 6400 with T >= 5.
        """
        frames = _count_frames(self, audio)
        begin, count = self.context, 4 * frames
        sound = audio[..., begin - 1 : begin + (count - 1) * self.hop + self.frame]
        return self._cut(self._mfcc(sound[..., 1:] - 0.97 * sound[..., :-1]))

    def utterance(self, audio: Tensor) -> Tensor:
        """Compute all columns of one utterance, the last one filled up with zeros.

        Shape:
            - audio: (samples,), 16 kHz mono in [-1, 1].
            - output: (1 + max(samples - 400, 0) / 160 rounded up, 13).

        Example:
            >>> SyncNetMFCC().utterance(torch.zeros(32000)).shape
            torch.Size([199, 13])
        """
        columns = 1 + -(-max(audio.shape[-1] - self.frame, 0) // self.hop)
        return self._utterance(audio, columns)

    def windows(self, audio: Tensor) -> Tensor:
        """Compute the cepstra of one utterance once, and cut them into windows.

        The very last window needs one column more than :meth:`utterance` gives: of 160 samples and
        zeros. SyncNet's own scores leave this window out.

        Shape:
            - audio: (samples,) of T = samples // 640 frames, T >= 5.
            - output: (T - 4, 1, 13, 20).

        Raises:
            ValueError: If the sound is shorter than 5 frames.

        Example:
            >>> SyncNetMFCC().windows(torch.zeros(32000)).shape
            torch.Size([46, 1, 13, 20])
        """
        frames = _count_whole_frames(self, audio)
        return self._cut(self._utterance(audio, 4 * frames)[None])[0]

    def _utterance(self, audio: Tensor, columns: int) -> Tensor:
        emphasised = audio - 0.97 * F.pad(audio[:-1], (1, 0))
        length = (columns - 1) * self.hop + self.frame
        emphasised = F.pad(emphasised, (0, max(length - len(audio), 0)))[:length]
        return self._mfcc(emphasised[None])[0]

    def _mfcc(self, audio: Tensor) -> Tensor:
        with torch.autocast(audio.device.type, enabled=False):
            frames = (audio.float() * 2**15).unfold(-1, self.frame, self.hop)
            power = torch.fft.rfft(frames, self.transform).abs().square() / self.transform
            energy, bands = power.sum(-1, keepdim=True), power @ self.filters
            energy, bands = (x.masked_fill(x == 0, self._floor).log() for x in (energy, bands))
            return torch.cat([energy, (bands @ self.cosines.T)[..., 1:]], -1)

    def _cut(self, mfcc: Tensor) -> Tensor:
        return mfcc.unfold(1, self.columns, 4).unsqueeze(2)

    _floor = torch.finfo(torch.float64).eps

    def _triangles(self) -> Tensor:
        def mel(hertz: float) -> float:
            return 2595 * math.log10(1 + hertz / 700)

        points = torch.linspace(mel(0), mel(8000), self.bands + 2, dtype=torch.float64)
        hertz = 700 * (10 ** (points / 2595) - 1)
        corners = (hertz * (self.transform + 1) / 16000).floor()
        left, middle, right = corners[:-2], corners[1:-1], corners[2:]
        bins = torch.arange(self.transform // 2 + 1, dtype=torch.float64)[:, None]
        rise, fall = (bins - left) / (middle - left), (right - bins) / (right - middle)
        return torch.minimum(rise, fall).clamp_min(0)


class Wav2LipMel(nn.Module):
    """Mel spectrogram of Wav2Lip, cut into one window of 0.2 s per video frame.

    Pre-emphasis 0.97, frames of 800 samples with a hop of 200 and a periodic Hann window,
    magnitudes through 80 Slaney bands (55 to 7600 Hz), then
    ``clip(8 (20 log10(max(1e-5, mel)) + 80) / 100 - 4, -4, 4)``, so digital silence is -4. Column c
    is centred on sample 200 c. The window of frame i holds columns ``floor(3.2 i)`` to
    ``floor(3.2 i) + 15``; i counts from the start of the utterance, since 640 samples are no whole
    number of hops.

    Args:
        padding: What lies before and after an utterance: ``"zero"``, or ``"reflect"``, which
            librosa before 0.9 took and so, presumably, the released weights of Wav2Lip saw. It
            changes the first and the last two columns of :meth:`utterance` and nothing else.

    Shape:
        - audio: (B, 640 T + 6400), 16 kHz mono in [-1, 1]: the sound of T >= 5 frames with 3200
          samples of context on each side.
        - start: (B,), index of each item's first frame in its utterance.
        - output: (B, T - 4, 1, 80, 16) in [-4, 4].

    Example:
        >>> Wav2LipMel()(torch.zeros(2, 7 * 640 + 6400), torch.tensor([0, 3])).shape
        torch.Size([2, 3, 1, 80, 16])
    """

    window: Tensor
    filters: Tensor

    frame, hop, bands, columns = 800, 200, 80, 16
    samples_per_frame, context = 640, 3200

    def __init__(self, padding: Literal["zero", "reflect"] = "zero") -> None:
        super().__init__()
        if padding not in ("zero", "reflect"):
            raise ValueError(f'padding must be "zero" or "reflect", not {padding!r}')
        self.padding = "constant" if padding == "zero" else padding
        filters = melscale_fbanks(
            self.frame // 2 + 1, 55.0, 7600.0, self.bands, 16000, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("window", torch.hann_window(self.frame), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, audio: Tensor, start: Tensor) -> Tensor:
        """Compute the windows of the frames that the sound belongs to, all but the last four.

        They are those of the whole utterance, but for the last one of a file that ends with its
        last frame, whose last column sees the pre-emphasis of the end.

        Raises:
            ValueError: If the number of samples is not 640 T + 6400 with T >= 5.
        """
        frames = _count_frames(self, audio)
        start = start.to(audio.device)
        # Columns of the windows, counted from the first frame's: 16 columns are 5 frames.
        first = (16 * start) // 5
        offsets = (16 * (start[:, None] + torch.arange(frames - 4, device=start.device))) // 5
        offsets = offsets - first[:, None]
        count = (16 * (frames - 4)) // 5 + self.columns
        # The first column's centre, counted from the beginning of the context.
        centre = self.context + self.hop * first - self.samples_per_frame * start
        begin = centre - self.frame // 2
        length = (count - 1) * self.hop + self.frame
        index = begin[:, None] + torch.arange(length, device=start.device)
        emphasised = audio[:, 1:] - 0.97 * audio[:, :-1]
        mel = self._mel(emphasised.gather(1, index - 1))
        # (B, N, 16) columns of each window
        columns = offsets[..., None] + torch.arange(self.columns, device=start.device)
        rows = torch.arange(len(mel), device=start.device)[:, None, None]
        return mel[rows, columns].transpose(-1, -2).unsqueeze(2)

    def utterance(self, audio: Tensor) -> Tensor:
        """Compute all columns of one utterance.

        Shape:
            - audio: (samples,), 16 kHz mono in [-1, 1].
            - output: (1 + samples // 200, 80) in [-4, 4].

        Example:
            >>> Wav2LipMel().utterance(torch.zeros(32000)).shape
            torch.Size([161, 80])
        """
        emphasised = audio - 0.97 * F.pad(audio[:-1], (1, 0))
        half = self.frame // 2
        padded = F.pad(emphasised[None, None], (half, half), mode=self.padding)
        return self._mel(padded[0])[0]

    def windows(self, audio: Tensor) -> Tensor:
        """Compute the mel of one utterance once, and cut it into windows.

        Shape:
            - audio: (samples,) of T = samples // 640 frames, T >= 5.
            - output: (T - 4, 1, 80, 16).

        Raises:
            ValueError: If the sound is shorter than 5 frames.

        Example:
            >>> Wav2LipMel().windows(torch.zeros(32000)).shape
            torch.Size([46, 1, 80, 16])
        """
        count = _count_whole_frames(self, audio) - 4
        mel = self.utterance(audio)
        first = 16 * torch.arange(count, device=audio.device) // 5
        columns = first[:, None] + torch.arange(self.columns, device=audio.device)
        return mel[columns].transpose(-1, -2).unsqueeze(1)

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
            return (8 * (20 * mel.clamp_min(1e-5).log10() + 80) / 100 - 4).clamp(-4, 4)


def _count_frames(front_end: Any, audio: Tensor) -> int:
    """Number of video frames of a batch's sound, which has context on both sides."""
    frames, rest = divmod(audio.shape[-1] - 2 * front_end.context, front_end.samples_per_frame)
    if rest or frames < 5:
        raise ValueError(
            f"{type(front_end).__name__} got {audio.shape[-1]} samples; it takes T * "
            f"{front_end.samples_per_frame} + {2 * front_end.context} samples for T >= 5 video "
            "frames"
        )
    return int(frames)


def _count_whole_frames(front_end: Any, audio: Tensor) -> int:
    """Number of video frames of an utterance."""
    frames = audio.shape[-1] // front_end.samples_per_frame
    if audio.dim() != 1 or frames < 5:
        raise ValueError(
            f"{type(front_end).__name__} got sound of shape {tuple(audio.shape)}; it takes "
            f"(samples,) with {5 * front_end.samples_per_frame} samples (five frames) or more"
        )
    return int(frames)
