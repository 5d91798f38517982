"""Read words from lips alone, and from sound alone, of people never seen or heard before.

Two small networks learn words from the synthetic corpus: 29 frames with the word in the middle of
others, as in LRW. Many words of the corpus look alike (pat, bat, mat), so no reader of lips can be
right about all of them, and its mistakes should stay among those; a listener has no such excuse.

python examples/read_lips.py
"""

import argparse
import itertools
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchaudio.transforms import MelSpectrogram

from talkingface import SyntheticDataModule
from talkingface.data.batch import to_float
from talkingface.data.synthetic.speech import HOMOPHENES

CROP = 32
"""Side of the picture of a mouth."""
NOSE = 33
"""The landmark between the nostrils: it goes with the head, and knows nothing of the mouth."""


def cut_mouths(video: Tensor, landmarks: Tensor) -> Tensor:
    """The part of the frames below the nose, 0.3 of their side: (B, T, 3, 32, 32) uint8."""
    size = video.shape[-1]
    centre = 2 * (landmarks[:, :, NOSE] + 0.5) / size - 1 + torch.tensor([0.0, 0.18])
    axis = torch.linspace(-0.3, 0.3, CROP)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y], -1) + centre.flatten(0, 1)[:, None, None]
    mouths = F.grid_sample(video.flatten(0, 1).float(), grid, align_corners=False)
    return mouths.round().to(torch.uint8).unflatten(0, video.shape[:2])


def load(loader: DataLoader) -> tuple[Tensor, Tensor, Tensor]:
    """All windows of a loader: mouths, log mel spectra (B, 40, S) and words."""
    mel = MelSpectrogram(16_000, n_fft=400, hop_length=160, n_mels=40)
    mouths, sounds, words = [], [], []
    for batch in loader:
        mouths.append(cut_mouths(batch["video"], batch["landmarks"]))
        sounds.append(mel(batch["audio"] * batch["audio_gain"][:, None]).add(1e-4).log())
        words.append(batch["word"])
    return torch.cat(mouths), torch.cat(sounds), torch.cat(words)


class Pool(nn.Module):
    """Mean over time, weighted by what is said and by when: (B, C, T) to (B, C)."""

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.score = nn.Conv1d(channels, 1, 1)
        self.when = nn.Parameter(torch.zeros(steps))

    def forward(self, features: Tensor) -> Tensor:
        """Pool."""
        weights = (self.score(features) + self.when).softmax(-1)
        return (features * weights).sum(-1)


def listen(channels: int, width: int, steps: int, classes: int) -> nn.Sequential:
    """Convolutions over time and a classifier."""
    layers: list[nn.Module] = []
    for index in range(3):
        layers += [nn.Conv1d(channels if index == 0 else width, width, 5, padding=2)]
        layers += [nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, Pool(width, steps), nn.Dropout(0.3), nn.Linear(width, classes))


class LipReader(nn.Module):
    """Mouths (B, T, 3, 32, 32) uint8 to scores of words (B, C)."""

    def __init__(self, classes: int, frames: int) -> None:
        super().__init__()
        widths = (3, 24, 48, 96)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 5, 2, 2), nn.BatchNorm2d(after), nn.ReLU()]
        self.look = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * (CROP // 8) ** 2, 128))
        self.follow = listen(128, 192, frames, classes)

    def forward(self, mouths: Tensor) -> Tensor:
        """Score words."""
        if self.training:  # mirrored, moved, brighter or darker, the same for all frames of a clip
            clips = [clip.flip(-1) if torch.rand(()) < 0.5 else clip for clip in mouths]
            moves = torch.randint(-2, 3, (len(clips), 2)).tolist()
            moved = [clip.roll(move, (-2, -1)) for clip, move in zip(clips, moves, strict=True)]
            light = 1 + 0.2 * torch.randn(len(mouths), 1, 3, 1, 1)
            pixels = to_float(torch.stack(moved)) * light
        else:
            pixels = to_float(mouths)
        features = self.look(pixels.flatten(0, 1)).unflatten(0, mouths.shape[:2])
        return self.follow(features.transpose(1, 2))


class Listener(nn.Module):
    """Log mel spectra (B, 40, S) to scores of words (B, C)."""

    def __init__(self, classes: int, steps: int) -> None:
        super().__init__()
        self.follow = listen(40, 128, steps, classes)

    def forward(self, sounds: Tensor) -> Tensor:
        """Score words."""
        sounds = (sounds + 4) / 3
        if self.training:  # another vocal tract, another microphone
            shift = int(torch.randint(-2, 3, ()))
            sounds = sounds.roll(shift, 1) + 0.1 * torch.randn_like(sounds)
        return self.follow(sounds)


def train(model: nn.Module, inputs: Tensor, words: Tensor, epochs: int) -> None:
    """Minimise the cross entropy."""
    batch = min(32, len(words))
    steps = epochs * (len(words) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(words)).split(batch):
            if len(chosen) < batch:
                continue
            with torch.autocast("cpu", torch.bfloat16):
                scores = model(inputs[chosen])
            loss = F.cross_entropy(scores.float(), words[chosen], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def guess(model: nn.Module, inputs: Tensor) -> Tensor:
    """The word that the model takes each input for."""
    model.eval()
    return torch.cat([model(part).argmax(1) for part in inputs.split(64)])


def report(name: str, guesses: Tensor, words: Tensor, names: list[str]) -> None:
    """Print how many words are right, and how many mistakes are between words that look alike."""
    looks = {word: group[0] for group in HOMOPHENES for word in group}
    classes = sorted({looks.get(word, word) for word in names})
    look = torch.tensor([classes.index(looks.get(word, word)) for word in names])
    wrong = guesses != words
    alike = look[guesses[wrong]] == look[words[wrong]]
    share = f", {alike.float().mean():.0%} of mistakes between words that look alike"
    print(
        f"{name}: {1 - wrong.float().mean():.1%} of {len(words)} words right"
        + (share if len(alike) else ""),
        flush=True,
    )


def main() -> None:
    """Draw, train, and print what unseen people's words are taken for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, default=48, help="people to learn from")
    parser.add_argument("--takes", type=int, default=40, help="words of each of them")
    parser.add_argument("--size", type=int, default=64, help="of the frames, pixels")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    data = SyntheticDataModule(
        size=options.size,
        frames=29,
        batch_size=8,
        num_workers=options.workers,
        identities=options.identities,
        takes=options.takes,
        words=True,
        test_identities=max(options.identities // 4, 1),
        held_out_takes=options.takes,
    )
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:.0f} s: {what}", flush=True)

    mouths, sounds, words = load(data.train_dataloader())
    test_mouths, test_sounds, test_words = load(data.test_dataloader())  # type: ignore[arg-type]
    tell(f"{len(words)} clips of {options.identities} people to learn from are drawn")
    count = len(data.word_names)
    learners: dict[str, tuple[Callable[[], nn.Module], Tensor, Tensor]] = {
        "sound": (lambda: Listener(count, sounds.shape[-1]), sounds, test_sounds),
        "lips": (lambda: LipReader(count, mouths.shape[1]), mouths, test_mouths),
    }
    for name, (make, inputs, test_inputs) in learners.items():
        model = make()
        train(model, inputs, words, options.epochs)
        report(name, guess(model, test_inputs), test_words, data.word_names)
        tell(f"{name} done")


if __name__ == "__main__":
    main()
