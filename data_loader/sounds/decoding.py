"""Decode a sound file, at one sample rate and in one channel."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from utils.errors import UserError

if TYPE_CHECKING:
    from types import ModuleType

ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
LOUDEST = 10.0  # 1 is full scale, which floats may go a little beyond; whole numbers taken for floats go far beyond
UNKNOWN_SIZE = 0x7FFF0000  # what stands in a WAV file whose writer could not go back to its beginning is above it


class SoundInfo(NamedTuple):
    """What a file says of itself. length: in samples of a channel."""

    sample_rate: int
    length: int


def soundfile() -> ModuleType:
    """The library that decodes. UserError where it is not installed."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: without libsndfile
        raise UserError(f"sounds are decoded by soundfile: pip install -r requirements-sound.txt ({error})") from error
    return soundfile


def info_of(path: Path) -> SoundInfo:
    """OSError when the file cannot be read, or is no sound."""
    library = soundfile()
    try:
        info = library.info(str(path))
    except library.LibsndfileError as error:
        raise OSError(f"{path}: {error.error_string}") from error
    return SoundInfo(info.samplerate, info.frames)


def read_sound(path: Path, sample_rate: int) -> numpy.ndarray:
    """A file as float32 (T,), from -1 to 1, at this sample rate; of several channels the mean.

    OSError when it cannot be read, is no sound, holds nothing or no samples from -1 to 1, or lacks its end.
    """
    library = soundfile()
    _check_end(path)
    try:
        samples, found = library.read(str(path), dtype="float32", always_2d=True)
    except library.LibsndfileError as error:
        raise OSError(f"{path}: {error.error_string}") from error
    if not len(samples):
        raise OSError(f"{path}: it holds no sound")
    if not are_samples(samples):
        raise OSError(f"{path}: found {abs(samples).max():g}; expected samples from -1 to 1")
    return resampled(samples.mean(axis=1), found, sample_rate)


def are_samples(values: numpy.ndarray) -> bool:
    """Whether floats may be samples from -1 to 1: none is nan or far beyond."""
    return bool(abs(values).max() <= LOUDEST)


def _check_end(path: Path) -> None:
    """OSError for a WAV file that is shorter than it says, which libsndfile reads as far as it goes."""
    try:
        with open(path, "rb") as file:
            start, found = file.read(8), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}") from error
    said = 8 + int.from_bytes(start[4:], "little")
    if start.startswith(b"RIFF") and found < said - 1 and said < UNKNOWN_SIZE:  # some lack the byte that makes it even
        raise OSError(f"{path}: it is cut off: {found:,} of {said:,} bytes are there")


def resampled(samples: numpy.ndarray, found: int, wanted: int) -> numpy.ndarray:
    """Samples (T,) at another rate, by scipy's polyphase filter."""
    if found == wanted:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(found, wanted)
    return resample_poly(samples, wanted // common, found // common).astype(numpy.float32)


def fitted(samples: numpy.ndarray, length: int) -> numpy.ndarray:
    """Samples (T,) -> (length,): a longer sound loses its end, a shorter one is followed by silence."""
    return numpy.pad(samples[:length], (0, max(0, length - len(samples))))


def told_of_longer(place: str, sounds: Iterable[Any], sample_rate: int, length: int) -> list[str]:
    """A line where sounds are longer than `length` samples at this rate, of which the end is lost.

    sounds: paths of files, of which only the header is read, or samples at this rate.
    """
    count = 0
    for each in sounds:
        if isinstance(each, (str, Path)):
            with suppress(OSError):  # whoever reads it tells
                info = info_of(Path(each))
                count += math.ceil(info.length * sample_rate / info.sample_rate) > length
        else:
            count += (getattr(each, "shape", None) or (0,))[-1] > length
    seconds = length / sample_rate
    return [f"{place}: {count:,} sounds are longer than {seconds:.3g} s, and lose their end"] if count else []


def sound_of(given: Any, sample_rate: int) -> numpy.ndarray:
    """A path, or samples at this rate, (T,) or (1, T), floats from -1 to 1, as float32 (T,)."""
    if isinstance(given, (str, Path)):
        return read_sound(Path(given), sample_rate)
    try:
        samples = numpy.asarray(given)
    except (TypeError, ValueError) as error:
        raise UserError(f"found {type(given).__name__}; expected a path, or samples as an array or a tensor") from error
    samples = samples[0] if samples.ndim == 2 and len(samples) == 1 else samples
    if samples.ndim != 1 or not len(samples):
        raise UserError(f"found the shape {samples.shape}; expected (T,) or (1, T)")
    if samples.dtype.kind != "f" or not are_samples(samples):
        found = f"{abs(samples).max():g}" if samples.dtype.kind == "f" else samples.dtype
        raise UserError(f"found {found}; expected floats from -1 to 1 at {sample_rate:,} Hz")
    return samples.astype(numpy.float32)
