"""Sounds: what is decoded, how a folder is divided, librosa's numbers, and runs from files to predictions."""

import csv
import shutil
from pathlib import Path

import numpy
import pytest
import soundfile
import torch

import predict
from data_loader.sounds.decoding import fitted, info_of, read_sound, sound_of
from data_loader.sounds.folder import SoundFolder
from data_loader.sounds.spectrograms import MFCC, LogMel, SpecAugment
from tests.running import assert_same_end, evaluate, resume, train
from utils.errors import UserError

RATE = 8000
CONFIG = """\
name: tones
device: cpu
dataset:
  type: SoundFolder
  args: {{root: {root}}}
  batch_transforms:
    train: [{{type: LogMel, args: {{window: 256, hop: 128, num_mels: 20}}}}, {{type: SpecAugment, args: {{}}}}]
    eval: [{{type: LogMel, args: {{window: 256, hop: 128, num_mels: 20}}}}]
data_loader: {{batch_size: 16, num_workers: 0}}
model: {{type: SoundCNN, args: {{channels: [8, 8]}}}}
loss: CrossEntropyLoss
metrics: [accuracy]
optimizer: {{type: Adam, args: {{lr: 1e-2}}}}
trainer: {{epochs: 6, tensorboard: false, monitor: min val_loss}}
"""


def tone(pitch, seconds=0.2, rate=RATE, seed=0):
    """A tone with noise, float32 (T,)."""
    times = numpy.arange(round(seconds * rate)) / rate
    noise = numpy.random.default_rng(seed).standard_normal(len(times))
    return (0.3 * numpy.sin(2 * numpy.pi * pitch * times) + 0.02 * noise).astype(numpy.float32)


def write(path, samples, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """40 low and 40 high tones of four speakers in class folders, as WAV and FLAC."""
    root = tmp_path_factory.mktemp("tones") / "sounds"
    for number in range(40):
        for name, pitch in (("low", 300), ("high", 1500)):
            ending = ("wav", "flac")[number % 2]
            speaker = "abcd"[number % 4]
            write(root / name / f"{number:02d}_{speaker}.{ending}", tone(pitch + 5 * number, seed=number))
    return root


def test_a_file_is_decoded_at_the_rate_that_is_asked_for(tmp_path):
    stereo = numpy.stack([tone(440, rate=16000), numpy.zeros(3200, numpy.float32)], axis=1)
    path = write(tmp_path / "stereo.wav", stereo, 16000)
    assert info_of(path) == (16000, 3200)
    assert numpy.allclose(read_sound(path, 16000), stereo.mean(axis=1), atol=1e-4)
    halved = read_sound(path, 8000)
    assert halved.dtype == numpy.float32 and halved.shape == (1600,)
    spectrum = abs(numpy.fft.rfft(halved))
    assert spectrum.argmax() * 8000 / 1600 == pytest.approx(440, abs=5)  # the same pitch
    assert fitted(halved, 2000)[1600:].tolist() == [0] * 400 and len(fitted(halved, 100)) == 100
    write(tmp_path / "empty.wav", numpy.zeros(0, numpy.float32))
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "cut.wav").write_bytes(path.read_bytes()[:4000])
    for name, samples in (("nan", [0, numpy.nan]), ("loud", [0, 20000.0]), ("infinite", [numpy.inf])):
        soundfile.write(tmp_path / f"{name}.wav", numpy.array(samples, numpy.float32), 8000, subtype="FLOAT")
    for name, message in (
        ("empty", "holds no sound"),
        ("text", "text.wav: Format not"),
        ("none", "none.wav: No such file"),
        ("cut", r"it is cut off: 4,000 of 12,844 bytes are there"),
        ("nan", "found nan; expected samples from -1 to 1"),
        ("loud", "found 20000; expected samples from -1 to 1"),
        ("infinite", "found inf; expected samples from -1 to 1"),
    ):
        with pytest.raises(OSError, match=message):
            read_sound(tmp_path / f"{name}.wav", 8000)


def test_sounds_in_memory():
    assert torch.equal(torch.from_numpy(sound_of(torch.ones(1, 5), RATE)), torch.ones(5))
    for given, message in (
        (numpy.ones((2, 5)), r"found the shape \(2, 5\)"),
        (numpy.ones(5, numpy.int16), "found int16; expected floats from -1 to 1 at 8,000 Hz"),
        (numpy.array([0.0, numpy.nan]), "found nan; expected floats from -1 to 1"),
        (numpy.array([0.0, 20000.0]), "found 20000; expected floats from -1 to 1"),
        (object(), "found the shape"),
    ):
        with pytest.raises(UserError, match=message):
            sound_of(given, RATE)


def test_a_folder_is_divided_by_class_speaker_or_name(tones):
    by_lot = {split: SoundFolder(split, str(tones)) for split in ("train", "valid", "test")}
    names = [name for dataset in by_lot.values() for name in dataset.names]
    assert len(set(names)) == len(names) == 80 and len(by_lot["test"]) in range(5, 13)
    assert by_lot["train"].classes == ["high", "low"] and by_lot["train"].part_sizes["test"] == len(by_lot["test"])
    sound, target = by_lot["train"][3]
    assert sound.shape == (1, 1600) and int(target) == ["high", "low"].index(by_lot["train"].names[3].split("/")[0])

    grouped = {split: SoundFolder(split, str(tones), group=r"_([a-d])\.") for split in ("train", "valid", "test")}
    speakers = {split: {name[-5] if name.endswith("wav") else name[-6] for name in dataset.names} for split, dataset in
                grouped.items()}  # fmt: skip
    assert sum(map(len, speakers.values())) == len(set.union(*speakers.values()))

    held_out = {split: SoundFolder(split, str(tones), test_files="_d") for split in ("train", "valid", "test")}
    assert all(("_d" in name) == (split == "test") for split, dataset in held_out.items() for name in dataset.names)
    assert [len(held_out["test"]), len(held_out["train"]) + len(held_out["valid"])] == [20, 60]


def test_copies_that_come_into_two_parts_are_told(tones, tmp_path):
    shutil.copytree(tones, tmp_path / "sounds")
    for path in tones.rglob("*.wav"):
        shutil.copy(path, tmp_path / "sounds" / path.parent.name / f"again-{path.name}")
    copied, once = ("".join(SoundFolder("train", str(root)).notes) for root in (tmp_path / "sounds", tones))
    assert "sounds of the test part are in the training part too" in copied and "too" not in once


def test_the_class_may_be_in_the_name_and_parts_in_folders(tones, tmp_path):
    for part, numbers in (("train", range(0, 40, 2)), ("test", range(1, 5))):
        for path in sorted(tones.rglob("*.*")):
            if int(path.name[:2]) in numbers:
                (tmp_path / part).mkdir(exist_ok=True)
                shutil.copy(path, tmp_path / part / f"{path.parent.name}-{path.name}")
    by_name = SoundFolder("test", str(tmp_path), label="^([a-z]+)-")
    assert by_name.classes == ["high", "low"] and by_name.targets.tolist() == [0] * 4 + [1] * 4
    write(tmp_path / "test/middle-1.wav", tone(700))
    with pytest.raises(UserError, match="none of the 2 classes trained on: middle\nThe classes: high, low"):
        SoundFolder("test", str(tmp_path), label="^([a-z]+)-")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"label": "^([a-z]+)-"}, r"dataset.args.label: '.*' is not found in 80 of 80 paths"),
        ({"label": "[a-z]"}, "dataset.args.label: .* has 0 groups"),
        ({"test_files": "_z"}, "dataset.args.test_files: '_z' is found in none of 80 paths"),
        (
            {"test_files": "_[ab]|low/0", "group": "_([a-d])"},
            "test_files: it takes some .* and not all: c, d. Files",
        ),
        ({"test_files": "_a", "test_fraction": 0.1}, "test_files and test_fraction both give the test part"),
        ({"root": "{root}/low"}, "no class folders; sounds are expected as .*/low/CLASS/FILE.wav"),
        ({"root": "{root}/middle"}, "no such folder"),
    ],
)
def test_a_folder_that_is_not_as_said_is_told(args, message, tones):
    args = {"root": str(tones), **args}
    with pytest.raises(UserError, match=message):
        SoundFolder("train", **{key: str(value).format(root=tones) for key, value in args.items()} | {
            key: value for key, value in args.items() if not isinstance(value, str)})  # fmt: skip


def test_rates_and_lengths(tones, tmp_path):
    root = tmp_path / "sounds"
    shutil.copytree(tones, root)
    write(root / "low/long.wav", tone(300, seconds=0.5, rate=16000), 16000)
    with pytest.raises(UserError, match=r"several sample rates: 8,000 Hz \(\d+ files\), 16,000 Hz \(1 files\); set"):
        SoundFolder("train", str(root), test_fraction=0, valid_fraction=0)
    longest = SoundFolder("train", str(root), sample_rate=8000, test_fraction=0, valid_fraction=0)
    assert longest.length == 4000 and longest.sample_rate == 8000
    cut = SoundFolder("train", str(root), sample_rate=8000, seconds=0.1, test_fraction=0, valid_fraction=0)
    assert cut[0][0].shape == (1, 800) and "81 sounds are longer than 0.1 s, and lose their end" in cut.notes[-1]
    read_singly = SoundFolder(
        *("train", str(root)), sample_rate=8000, seconds=0.1, test_fraction=0, valid_fraction=0, in_memory=False
    )
    assert read_singly.notes == cut.notes
    (root / "low/bad.wav").write_text("no sound")
    with pytest.raises(UserError, match=r"1 of 82 sounds cannot be read: take them out, .*bad.wav"):
        SoundFolder("train", str(root), sample_rate=8000, seconds=1, test_fraction=0, valid_fraction=0)


def chirp():
    """A rising tone that fades into a little noise, and silence at the end: float32 (1, 1, 6000)."""
    times = numpy.arange(6000) / 8000
    noise = numpy.sin(numpy.arange(6000) * 12.9898) * 43758.5453 % 1 - 0.5
    samples = 0.3 * numpy.sin(2 * numpy.pi * (200 + 1500 * times) * times) * numpy.exp(-3 * times) + 0.02 * noise
    samples[5000:] = 0
    return torch.from_numpy(samples.astype(numpy.float32))[None, None]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("even", {"window": 512, "hop": 256, "num_mels": 40}),
        ("odd", {"window": 401, "hop": 160, "num_mels": 24, "low": 100, "high": 3000}),
    ],
)
def test_spectrograms_are_librosas(name, settings):
    """golden/librosa.npz: of `chirp`, by librosa 0.11, power_to_db(melspectrogram) and mfcc(n_mfcc=13)."""
    expected = numpy.load(Path(__file__).parent / "golden/librosa.npz")
    log_mel = LogMel(8000, **settings)(chirp())[0, 0].numpy()
    numpy.testing.assert_allclose(log_mel, expected[name], rtol=1e-4, atol=1e-4)
    mfcc = MFCC(8000, num_coefficients=13, **settings)(chirp())[0, 0].numpy()
    numpy.testing.assert_allclose(mfcc, expected[f"{name}_mfcc"], rtol=1e-4, atol=1e-4)


def test_a_spectrogram_does_not_depend_on_the_others_of_its_batch():
    quiet, loud = chirp() / 5, chirp()
    transform = LogMel(8000, num_mels=20)
    together = transform(torch.cat([quiet, loud]))
    torch.testing.assert_close(together[:1], transform(quiet), rtol=0, atol=1e-4)
    assert (together.amax(dim=(1, 2, 3)) - together.amin(dim=(1, 2, 3))).tolist() == pytest.approx([80, 80])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_mels": 400}, "400 bands are too many for a window of 512 samples"),
        ({"low": 3000, "high": 2000}, "bands from 3000 to 2000 Hz; expected low < high <= 4000"),
        ({"high": 5000}, "expected low < high <= 4000"),
    ],
)
def test_bands_that_make_no_sense_are_told(settings, message):
    with pytest.raises(UserError, match=message):
        LogMel(8000, **settings)


def test_spec_augment_replaces_bands_and_stretches_by_the_mean():
    spectrograms = torch.randn(200, 1, 30, 50, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    changed = SpecAugment(widest_band=5, longest_stretch=10)(spectrograms) != spectrograms
    bands, stretches = changed.all(dim=3).sum(dim=(1, 2)), changed.all(dim=2).sum(dim=(1, 2))
    assert bands.unique().tolist() == [*range(6)] and stretches.unique().tolist() == [*range(11)]
    expected = 50 * bands + 30 * stretches - bands * stretches
    assert torch.equal(changed.sum(dim=(1, 2, 3)), expected)
    assert SpecAugment(bands=0, stretches=0)(spectrograms) is spectrograms
    torch.manual_seed(2)
    wide = SpecAugment(widest_band=1000, stretches=0)(spectrograms)  # of a spectrogram with fewer rows
    assert (wide != spectrograms).any()


@pytest.fixture(scope="module")
def trained(tones, tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), config=CONFIG.format(root=tones))


def predicted(capsys, run, *arguments, code=0):
    capsys.readouterr()
    assert predict.main(["-r", str(run), *map(str, arguments)]) == code
    return list(csv.DictReader(capsys.readouterr().out.splitlines()))


def test_a_network_learns_tones_and_tells_others(trained, tones, tmp_path, capsys):
    assert evaluate(trained)["accuracy"] == 1
    shutil.copy((trained / "checkpoints/best.pt").resolve(), tmp_path / "tones.pt")
    new = [write(tmp_path / "new" / name, tone(pitch, rate=rate), rate) for name, pitch, rate in (
        ("a.wav", 320, 8000), ("b.flac", 1480, 16000), ("c.wav", 1510, 44100))]  # fmt: skip
    (tmp_path / "new/d.wav").write_text("no sound")
    write(tmp_path / "long.wav", tone(320, seconds=1.0))
    assert predict.main(["-r", str(tmp_path / "tones.pt"), str(tmp_path / "long.wav")]) == 0
    assert "inputs: 1 sounds are longer than 0.2 s, and lose their end" in capsys.readouterr().err
    rows = predicted(capsys, tmp_path / "tones.pt", tmp_path / "new", code=1)
    assert [row["prediction"] for row in rows] == ["low", "high", "high", ""]
    assert "d.wav: Format not" in rows[-1]["error"]
    model = predict.load_model(str(tmp_path / "tones.pt"))
    capsys.readouterr()
    both = model.predict([str(new[0]), torch.from_numpy(tone(320))])
    assert not capsys.readouterr().err
    model.predict([tone(320, seconds=0.3), object()])
    assert "inputs: 1 sounds are longer than 0.2 s, and lose their end" in capsys.readouterr().err
    assert [each["prediction"] for each in both] == ["low", "low"]
    assert both[0]["score"] == pytest.approx(both[1]["score"], abs=1e-2)


def test_a_run_goes_on_with_the_same_bits_and_from_files(trained, tones, tmp_path):
    config = CONFIG.format(root=tones)
    other = train(tmp_path, "trainer.epochs=3", config=config)
    resume(other, "trainer.epochs=6", "data_loader.num_workers=1")
    assert_same_end(trained, other)
    from_files = train(tmp_path / "", "dataset.args.in_memory=false", "name=files", config=config)
    assert (evaluate(from_files)["loss"], 0) == (evaluate(trained)["loss"], 0)


def test_what_does_not_go_together_is_told(tones, tmp_path, capsys):
    config = CONFIG.format(root=tones)
    wrong_rate = "dataset.batch_transforms.eval=[{type: LogMel, args: {sample_rate: 16000}}]"
    train(tmp_path, wrong_rate, config=config, code=2)
    told = capsys.readouterr().err
    assert "dataset.batch_transforms.eval.0.args.sample_rate: found 16000, but the data have 8000; leave it out" in told
    train(tmp_path, "dataset.batch_transforms.train=[{type: SpecAugment}]", config=config, code=2)
    assert "SoundCNN" in capsys.readouterr().err
    pictures = "dataset={type: Digits, batch_transforms: {train: [{type: LogMel, args: {sample_rate: 8000}}]}}"
    train(tmp_path, pictures, "data_loader.validation_split=0.1", config=config, code=2)
    assert "LogMel: found an input of shape (2, 1, 8, 8); it takes recordings (N, C, T)" in capsys.readouterr().err


def test_other_spectrograms_in_evaluation_are_told(trained, tones, tmp_path, capsys, caplog):
    other = "dataset.batch_transforms.eval=[{type: LogMel, args: {window: 256, hop: 128, num_mels: 20, low: 500}}]"
    train(tmp_path, other, "--dry-run", config=CONFIG.format(root=tones))
    assert "inputs go through LogMel(window=256, hop=128, num_mels=20) in training, and in evaluation" in caplog.text
    capsys.readouterr()
    evaluate(trained)
    assert "warning" not in capsys.readouterr().err
    evaluate(trained, other)
    told = "warning: the test part is not as it was in training: another dataset.batch_transforms.eval"
    assert told in capsys.readouterr().err


def test_other_lengths_than_those_of_the_training_are_refused(trained, capsys):
    evaluate(trained, "dataset.args.seconds=0.1", code=2)
    assert "the model was trained on 0.2 s at 8,000 Hz" in capsys.readouterr().err
