"""Use a trained encoder in code of your own: plain PyTorch, no trainer.

A frozen encoder looks at the lips of drawn people. A small head on its features learns which mouth
shape (viseme) they make, and is tested on people never seen before. Two floors say what that is
worth: the share of the most frequent shape, and a head on the same encoder with random weights.

    python examples/import_encoder.py
    python examples/import_encoder.py --model runs/pc_avs/model
"""

import argparse
import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkingface import DAVS, PCAVS
from talkingface.data.synthetic.dataset import PEOPLE, make_clip
from talkingface.data.synthetic.phonemes import VISEME_NAMES
from talkingface.models.davs.recognition import DAVSRecognition
from talkingface.models.experts.syncnet.expert import SyncExpert
from talkingface.models.pretrained import load_pretrained


@torch.no_grad()
def encode(model: Any, frames: Tensor) -> Tensor:
    """Features (T - 4, D) of the lips in frames (T, 3, H, W), without the first and last two."""
    if isinstance(model, SyncExpert):  # sees five frames at a time
        return model.embed_video(frames)
    networks: Any = model.networks
    if isinstance(model, PCAVS):
        encoder = networks.non_identity_encoder
        return encoder.content(encoder(frames[2:-2]))
    return networks.lip_encoder((frames[2:-2] + 1) / 2)  # DAVS's take frames in [0, 1]


def forget(model: Any) -> Any:
    """The same model with random weights."""
    twin = copy.deepcopy(model)
    for part in twin.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    return twin.eval()


def look(
    models: Sequence[Any], people: Sequence[int], seconds: float, size: int
) -> tuple[list[Tensor], Tensor]:
    """Features of each model (N, D), and visemes (N,), of a sentence of each person."""
    features: list[list[Tensor]] = [[] for _ in models]
    shapes = []
    for person in people:
        clip = make_clip(person, seconds=seconds)
        frames = clip.frames(size)
        shapes.append(clip.viseme[2:-2])
        for model, rows in zip(models, features, strict=True):
            rows.append(encode(model, frames))
    return [torch.cat(rows) for rows in features], torch.cat(shapes)


def learn(features: Tensor, shapes: Tensor, steps: int) -> nn.Module:
    """Train a head."""
    scale = nn.BatchNorm1d(features.shape[1], affine=False)
    head = nn.Sequential(scale, nn.Linear(features.shape[1], 64), nn.ReLU(), nn.Dropout(0.3))
    head.append(nn.Linear(64, len(VISEME_NAMES)))
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.05)
    for _ in range(steps):
        chosen = torch.randint(len(features), (256,))
        loss = F.cross_entropy(head(features[chosen]), shapes[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.eval()


def main() -> None:
    """Look, learn, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model",
        default="sync-expert",
        help="of a sync expert, PC-AVS, DAVS or its recognition stage (default: %(default)s)",
    )
    parser.add_argument("--people", type=int, default=40, help="to learn from (default: 40)")
    parser.add_argument("--unseen", type=int, default=20, help="to test on (default: 20)")
    parser.add_argument("--seconds", type=float, default=2.0, help="said by each (default: 2)")
    parser.add_argument("--steps", type=int, default=400, help="of the head (default: 400)")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = load_pretrained(options.model)
    if not isinstance(model, SyncExpert | PCAVS | DAVS | DAVSRecognition):
        parser.error(f"{type(model).__name__} has no encoder of lips that this example knows.")
    models = {"the same with random weights": forget(model), options.model: model}
    size = getattr(model, "image_size", 96)

    # The last people of the training split: models are trained on the first ones.
    known, unseen = PEOPLE["train"][-options.people :], PEOPLE["test"][: options.unseen]
    features, shapes = look(list(models.values()), known, options.seconds, size)
    others, truth = look(list(models.values()), unseen, options.seconds, size)
    print(f"{len(truth)} frames of {len(unseen)} people never seen before, visemes right:")
    print(f"{(truth == shapes.mode().values).float().mean():7.1%}  the most frequent one, always")
    for name, mine, theirs in zip(models, features, others, strict=True):
        right = learn(mine, shapes, options.steps)(theirs).argmax(1) == truth
        print(f"{right.float().mean():7.1%}  a head on {name}")


if __name__ == "__main__":
    main()
