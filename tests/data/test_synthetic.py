"""The drawn corpus: what is seen and heard is what the labels say."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from talkingface.data.audio import read_audio
from talkingface.data.batch import to_float
from talkingface.data.synthetic.dataset import make_clip, write_clips
from talkingface.data.synthetic.face import Identity, express, render, sample_identity
from talkingface.data.synthetic.speech import (
    PHONEMES,
    Voice,
    duration,
    random_sentence,
    sample_voice,
    speak,
)
from talkingface.data.video import VideoClip

MAN = Voice(pitch=100.0, tract=1.0)


def person(**traits: float) -> Tensor:
    """An average person, lit from the front, with the named traits changed."""
    return torch.tensor([traits.get(name, 0.5) for name in Identity._fields])


def frontal(frames: int) -> Tensor:
    return torch.zeros(frames, 3)


def iris_pixels(pose: Tensor, expression: Tensor, size: int = 96) -> Tensor:
    """(T, size, size), 1 where the picture depends on the colour of the iris."""
    brown, blue = (render(person(iris_colour=c), pose, expression, size) for c in (0.0, 0.75))
    return ((brown - blue).abs().sum(1) > 0.1).float()


def centroids(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean x to the right and y down, in pixels from the picture's centre."""
    axis = torch.arange(pixels.shape[-1]) + 0.5 - pixels.shape[-1] / 2
    area = pixels.sum((-2, -1))
    return (pixels * axis).sum((-2, -1)) / area, (pixels * axis[:, None]).sum((-2, -1)) / area


# --- face


def test_turning_the_other_way_gives_the_mirror_image() -> None:
    pose = torch.tensor([[35.0, 12.0, 9.0], [-18.0, -20.0, 4.0], [0.0, 5.0, 0.0]]).double()
    mirrored = pose * torch.tensor([-1.0, 1.0, -1.0])
    motion = express(3, opening=0.5, width=0.3, gaze_x=torch.tensor([0.6, -0.3, 0.0]), gaze_y=0.4)
    opposite = motion.clone()
    opposite[:, 6] *= -1
    identity = person(fringe=0.1, hair_length=0.8, nose_width=0.9)

    frames = render(identity, pose, motion, 48)
    torch.testing.assert_close(
        frames.flip(-1), render(identity, mirrored, opposite, 48), rtol=0, atol=1e-8
    )
    assert (frames - frames.flip(-1)).abs()[0].max() > 0.5  # the pose is not symmetric itself


def test_light_from_the_right_is_brighter_on_the_right() -> None:
    frame = render(person(light_side=1.0), frontal(1), express(1), 32)[0]
    cheeks = frame[:, 14:20]
    assert cheeks[..., 19:23].mean() > cheeks[..., 9:13].mean() + 0.1


def test_pose_turns_lifts_and_tilts() -> None:
    degrees = 15.0
    pose = torch.cat([frontal(1), degrees * torch.eye(3)])
    pixels = iris_pixels(pose, express(4))
    between = centroids(pixels)[0].round().long() + 48
    columns = torch.arange(96)
    is_left = (columns < between[:, None])[:, None]
    (left_x, left_y), (right_x, right_y) = centroids(pixels * is_left), centroids(pixels * ~is_left)
    x, y = (left_x + right_x) / 2, (left_y + right_y) / 2
    # The eyes lie 0.40 before the axis of rotation and 0.045 above it; 48 pixels are 0.86 long.
    angle = math.radians(degrees)
    turn, lift = 0.40 * math.sin(angle), 0.40 * math.sin(angle) + 0.045 * (math.cos(angle) - 1)
    assert x[1] - x[0] == pytest.approx(turn * 48 / 0.86, rel=0.15)
    assert y[2] - y[0] == pytest.approx(-lift * 48 / 0.86, rel=0.15)
    assert y[1] - y[0] == pytest.approx(0.0, abs=0.5)
    tilt = math.degrees(math.atan2(right_y[3] - left_y[3], right_x[3] - left_x[3]))
    assert tilt == pytest.approx(degrees, abs=1.5)  # clockwise: the right eye sinks


def test_the_far_eye_is_foreshortened() -> None:
    pixels = iris_pixels(torch.tensor([[45.0, 0.0, 0.0]]), express(1))[0]
    x = centroids(pixels[None])[0].item() + 48
    near, far = pixels[:, : int(x)].sum(), pixels[:, int(x) :].sum()
    assert 0 < far < 0.7 * near


def test_opening_changes_only_the_lower_face_and_grows() -> None:
    opening = torch.tensor([0.0, 0.25, 0.5, 1.0])
    frames = render(person(), frontal(4), express(4, opening=opening), 96)
    changed = (frames - frames[:1]).abs().sum(1) > 0
    nose = 48 - round((0.06 - 0.19) / 0.86 * 48)  # row of the tip's lower edge
    assert not changed[:, :nose].any()
    clearly = ((frames - frames[:1]).abs().sum(1) > 0.3).sum((-2, -1)).tolist()
    assert clearly[0] == 0 and clearly[1] > 20
    assert clearly == sorted(clearly)


def test_a_wide_mouth_is_wider_than_a_round_one() -> None:
    motion = express(
        3, opening=0.4, width=torch.tensor([0.0, 1.0, 0.0]), rounding=torch.tensor([0.0, 0.0, 1.0])
    )
    # Where the colour of the lips shows is where the lips are.
    pale, red = (render(person(lip_colour=c), frontal(3), motion, 96) for c in (0.0, 1.0))
    columns = ((pale - red).abs().sum(1) > 0.05).any(-2).sum(-1)
    neutral, wide, round_ = columns.tolist()
    assert wide > 1.15 * neutral and round_ < 0.75 * neutral


def test_press_thins_the_lips() -> None:
    motion = express(2, press=torch.tensor([0.0, 1.0]))
    pale, red = (render(person(lip_colour=c), frontal(2), motion, 96) for c in (0.0, 1.0))
    relaxed, pressed = ((pale - red).abs().sum(1) > 0.05).sum((-2, -1)).tolist()
    assert 0 < pressed < 0.6 * relaxed


def test_blink_hides_the_iris() -> None:
    areas = iris_pixels(frontal(3), express(3, blink=torch.tensor([0.0, 0.5, 1.0]))).sum((-2, -1))
    assert areas[0] > areas[1] > areas[2] == 0


def test_gaze_moves_the_iris_alone() -> None:
    motion = express(3, gaze_x=torch.tensor([0.0, 0.7, 0.0]), gaze_y=torch.tensor([0.0, 0.0, 0.7]))
    x, y = centroids(iris_pixels(frontal(3), motion))
    assert x[1] - x[0] > 1 and abs(y[1] - y[0]) < 0.3
    assert y[2] - y[0] < -0.5 and abs(x[2] - x[0]) < 0.3


def test_edges_are_soft() -> None:
    # Hard edges would turn whole pixels from one colour into another however small the step is.
    pose = torch.tensor([[10.0, 0.0, 0.0], [10.1, 0.0, 0.0]])
    before, after = render(person(), pose, express(2), 64)
    assert 0 < (after - before).abs().max() < 0.3


def test_frames_do_not_depend_on_their_neighbours() -> None:
    pose = torch.tensor([[20.0, 5.0, -3.0], [-10.0, 0.0, 8.0]])
    motion = express(2, opening=torch.tensor([0.2, 0.9]))
    people = torch.stack([sample_identity(1), sample_identity(2)])
    together = render(people, pose, motion, 32)
    alone = [render(people[i], pose[i : i + 1], motion[i : i + 1], 32) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
    assert together.min() >= -1 and together.max() <= 1


def test_people_differ() -> None:
    identities = torch.stack([sample_identity(seed) for seed in range(200)])
    assert identities.min() >= 0 and identities.max() <= 1
    torch.testing.assert_close(identities.mean(0), torch.full((22,), 0.5), rtol=0, atol=0.08)
    faces = render(identities[:6], frontal(6), express(6), 24).flatten(1)
    assert torch.pdist(faces, p=1).min() / faces.shape[1] > 0.05


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(1, 8\)"):
        render(person(), frontal(2), express(1), 16)
    with pytest.raises(ValueError, match=r"identity must be \(22,\)"):
        render(person()[:5], frontal(1), express(1), 16)
    with pytest.raises(ValueError, match="no expression 'smile'"):
        express(1, smile=1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_any_device_draws_the_same() -> None:
    pose, motion = torch.tensor([[20.0, 5.0, -3.0]]), express(1, opening=0.5)
    drawn = render(person(), pose.cuda(), motion, 64)
    torch.testing.assert_close(drawn.cpu(), render(person(), pose, motion, 64), rtol=0, atol=1e-3)


# --- speech


def spectrum(audio: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitudes of the middle half second, smoothed over 100 Hz, and their frequencies."""
    middle = audio[len(audio) // 2 - 4000 : len(audio) // 2 + 4000]
    power = torch.fft.rfft(middle * torch.hann_window(8000)).abs().square()
    smooth = torch.nn.functional.avg_pool1d(power[None], 51, stride=1, padding=25)[0]
    return smooth.sqrt(), torch.fft.rfftfreq(8000, 1 / 16000)


def peak(audio: Tensor, low: float, high: float) -> float:
    magnitude, hertz = spectrum(audio)
    band = (hertz >= low) & (hertz <= high)
    return hertz[band][magnitude[band].argmax()].item()


@pytest.mark.parametrize(
    ("vowel", "first", "second"),  # adult male averages, Peterson and Barney (1952), table II
    [("a", 730, 1090), ("i", 270, 2290), ("u", 300, 870)],
)
def test_vowels_have_their_formants(vowel: str, first: float, second: float) -> None:
    audio, _ = speak(vowel * 8, MAN)
    assert peak(audio, 150, first + 150) == pytest.approx(first, abs=80)
    assert peak(audio, second - 200, second + 200) == pytest.approx(second, abs=110)


def test_a_short_tract_raises_the_formants() -> None:
    short, _ = speak("a" * 8, Voice(pitch=100, tract=0.8))
    assert peak(short, 150, 1100) == pytest.approx(730 / 0.8, abs=80)


@pytest.mark.parametrize("pitch", [100.0, 200.0])
def test_pitch_is_the_voice_s(pitch: float) -> None:
    audio, _ = speak("a" * 8, Voice(pitch, 1.0))
    middle = audio[8000:12000]
    lags = range(50, 230)  # 70 to 320 Hz
    likeness = torch.stack([(middle[:-lag] * middle[lag:]).sum() for lag in lags])
    assert 16000 / lags[int(likeness.argmax())] == pytest.approx(pitch, rel=0.1)


@pytest.mark.parametrize(("fricative", "hertz"), [("s", 6000), ("S", 3200)])
def test_fricatives_are_bands_of_noise(fricative: str, hertz: float) -> None:
    audio, _ = speak(fricative * 12, MAN)
    magnitude, frequencies = spectrum(audio)
    power = magnitude.square()
    assert (power * frequencies).sum() / power.sum() == pytest.approx(hertz, rel=0.1)


def test_silence_is_silent() -> None:
    audio, articulation = speak("   ", MAN)
    assert len(audio) == 12 * 640 and not audio.any() and not articulation.any()
    empty, nothing = speak("", MAN)
    assert empty.shape == (0,) and nothing.shape == (0, 4)


def test_loudness_follows_the_mouth() -> None:
    for seed in range(4):
        audio, articulation = speak(random_sentence(seed, 4.0), sample_voice(seed))
        loudness = audio.view(-1, 640).square().mean(1).sqrt()
        both = torch.stack([loudness, articulation[:, 0]])
        assert torch.corrcoef(both)[0, 1] > 0.7
        assert 0.07 < audio.square().mean().sqrt() < 0.1001
        assert audio.abs().max() <= 1


@pytest.mark.parametrize("plosive", ["p", "b"])
def test_lips_close_in_the_gap_of_the_sound(plosive: str) -> None:
    audio, articulation = speak(f"aa{plosive}aa", MAN)
    opening, press = articulation[:, 0], articulation[:, 3]
    inner = slice(2, -3)  # without the fade at the ends
    quietest = audio.view(-1, 640).square().mean(1)[inner].argmin()
    assert abs(int(quietest - press[inner].argmax())) <= 1
    assert press.max() > 0.9 and opening[press.argmax()] < 0.1
    assert opening.max() > 0.95


@pytest.mark.parametrize("phoneme", sorted(PHONEMES))
def test_sound_and_frames_are_of_one_length(phoneme: str) -> None:
    audio, articulation = speak(f"a{phoneme}", MAN)
    assert len(articulation) == math.ceil(duration(f"a{phoneme}") * 25 - 1e-6)
    assert len(audio) == len(articulation) * 640
    assert articulation.min() >= 0 and articulation.max() <= 1


def test_speech_is_repeatable_and_voices_differ() -> None:
    first, again = speak("sata", MAN)[0], speak("sata", MAN)[0]
    assert torch.equal(first, again)
    assert len({sample_voice(seed) for seed in range(20)}) == 20


def test_sentences_fill_their_time() -> None:
    sentences = [random_sentence(seed, 4.0) for seed in range(20)]
    assert len(set(sentences)) == 20
    assert all(2.5 < duration(sentence) <= 4.0 for sentence in sentences)
    assert set("".join(sentences)) == set(PHONEMES)
    assert random_sentence(0, 0.1) == ""


def test_an_unknown_phoneme_is_named() -> None:
    with pytest.raises(ValueError, match="no phoneme 'x'"):
        speak("taxi", MAN)


# --- clips


def test_a_clip_agrees_with_itself() -> None:
    clip = make_clip(seed=5, seconds=2.0, size=16)
    assert clip.frames.shape == (50, 3, 16, 16)
    assert clip.audio.shape == (50 * 640,)
    audio, articulation = speak(clip.phonemes, sample_voice(5))
    torch.testing.assert_close(clip.audio[: len(audio)], audio)
    torch.testing.assert_close(clip.articulation[: len(articulation)], articulation)
    assert not clip.audio[len(audio) :].any()
    again = render(clip.identity, clip.pose[30:31], clip.expression[30:31], 16)
    torch.testing.assert_close(clip.frames[30:31], again, rtol=0, atol=1e-5)
    assert torch.equal(clip.frames, make_clip(seed=5, seconds=2.0, size=16).frames)


def test_heads_wander_as_declared() -> None:
    pose = torch.stack([make_clip(seed, seconds=0.04, size=8).pose[0] for seed in range(100)])
    deviation = pose.std(0)
    assert deviation.tolist() == pytest.approx([15, 8, 5], rel=0.2)
    assert (pose.abs() < torch.tensor([43, 23, 15])).all()
    motion = make_clip(0, seconds=3.0, size=8).pose
    # No wave is faster than 0.6 Hz.
    fastest = 2 * math.pi * 0.6 / 25 * 2.83 * torch.tensor([15, 8, 5])
    assert (motion.diff(dim=0).abs() < fastest).all() and (motion.std(0) > 0.5).all()


def test_eyes_shut_and_open() -> None:
    clip = make_clip(1, seconds=5.0, size=8)
    assert clip.blink.max() == 1 and (clip.blink == 0).float().mean() > 0.7


def test_a_clip_has_a_frame() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        make_clip(0, seconds=0.0)


def test_written_clips_read_back(tmp_path: Path) -> None:
    paths = write_clips(tmp_path / "drawn", count=2, seconds=1.0, size=48, seed=7)
    assert [path.name for path in paths] == ["000007.mp4", "000008.mp4"]
    assert {path.suffix for path in (tmp_path / "drawn").iterdir()} == {".mp4", ".safetensors"}
    clip, film = make_clip(8, seconds=1.0, size=48), VideoClip(paths[1])
    assert (film.frame_count, film.height, film.width) == (25, 48, 48)
    error = (to_float(film.read()) - clip.frames).square().mean((1, 2, 3))
    assert (10 * torch.log10(4 / error) > 25).all()

    audio = read_audio(paths[1])
    assert len(audio) == 25 * 640
    lags = range(-64, 65)
    middle = clip.audio[640:-640]
    assert middle.any()
    likeness = [torch.dot(middle, audio[640 + lag : len(audio) - 640 + lag]) for lag in lags]
    assert abs(lags[int(torch.stack(likeness).argmax())]) <= 1

    labels = load_file(paths[1].with_suffix(".safetensors"))
    for name, label in labels.items():
        assert torch.equal(label, getattr(clip, name))
    assert labels.keys() >= {"pose", "blink", "articulation"}
