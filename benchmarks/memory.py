"""Peak memory of `talkingface generate` for short and long inputs, each in a process of its own.

Prints peak memory and its ratio to that of the short inputs: close to 1 where memory is flat in the
length of the speech and of the driving clip. Exits with 1 if a ratio exceeds 1.1.

    python benchmarks/memory.py --seconds 10 100
"""

import argparse
import os
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import torch

from talkingface import PCAVS
from talkingface.data.batch import FPS, SAMPLE_RATE
from talkingface.data.video import VideoWriter, write_image

SIDE = 64
LIMIT = 1.1


def write_inputs(seconds: float, folder: Path) -> None:
    """Write noise as speech and as a driving clip."""
    samples = torch.randint(-3000, 3000, (round(seconds * SAMPLE_RATE),), dtype=torch.int16)
    with wave.open(f"{folder}/speech_{seconds:g}.wav", "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(samples.numpy().tobytes())
    with VideoWriter(folder / f"driving_{seconds:g}.mp4", SIDE, SIDE) as writer:
        for _ in range(round(seconds * FPS)):
            writer.write(torch.randint(256, (3, SIDE, SIDE), dtype=torch.uint8))


def peak(speech: float, driving: float, folder: Path) -> float:
    """Peak resident memory of one run of the command, MB."""
    words = [sys.executable, "-m", "talkingface", "generate", "--crop", "none", "--device", "cpu"]
    files = {
        "model": "model",
        "source": "face.png",
        "audio": f"speech_{speech:g}.wav",
        "driving": f"driving_{driving:g}.mp4",
        "output": "out.mp4",
    }
    for name, file in files.items():
        words += [f"--{name}", str(folder / file)]
    process = subprocess.Popen(
        [*words, "--side-by-side"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return usage.ru_maxrss / 1024


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, nargs=2, default=[10.0, 100.0])
    short, long = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = PCAVS(
            image_size=SIDE,
            num_identities=2,
            identity_layers=(1, 1, 1, 1),
            identity_width=16,
            identity_groups=4,
            identity_width_per_group=16,
            trunk_channels=16,
            trunk_depth=2,
            audio_channels=(4, 8, 8, 16),
            audio_layers=(1, 1, 1, 1),
            feature_dim=32,
            content_dim=16,
            generator_channels=(16, 16, 8, 8, 8),
            map_channels=16,
        )
        model.save_pretrained(folder / "model")
        write_image(folder / "face.png", torch.zeros(3, SIDE, SIDE))
        for seconds in (short, long):
            write_inputs(seconds, folder)
        base = peak(short, short, folder)
        print(f"{'speech':>8} {'driving':>8} {'peak MB':>8} {'ratio':>6}")
        print(f"{short:7g}s {short:7g}s {base:8.0f} {1:6.2f}")
        worst = 0.0
        for speech, driving in ((long, short), (short, long), (long, long)):
            measured = peak(speech, driving, folder)
            worst = max(worst, measured / base)
            print(f"{speech:7g}s {driving:7g}s {measured:8.0f} {measured / base:6.2f}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
