"""Spectrograms of a batch of recordings, on the device, with librosa's numbers; and SpecAugment."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from base import BATCH_TRANSFORMS, Count
from utils.errors import UserError

LEAST_POWER = 1e-10  # below it all is silence, -100 dB


@BATCH_TRANSFORMS.register
class LogMel(nn.Module):
    """Recordings (N, C, T) -> their power in decibels by mel band and frame, (N, C, num_mels, 1 + T // hop).

    What `librosa.power_to_db(librosa.feature.melspectrogram(...), top_db=top_db)` gives for each recording.
    sample_rate: filled in from the data. window: samples a frame; hop: between two frames. low, high: of the bands, in
    Hz; high None: half the sample rate. top_db: what is further below the loudest of a recording is raised to that;
    None: nothing is.
    """

    takes_signals = True

    def __init__(
        self,
        sample_rate: Count,
        window: Count = 512,
        hop: Count = 128,
        num_mels: Count = 64,
        low: Annotated[float, Field(ge=0)] = 0.0,
        high: float | None = None,
        top_db: Annotated[float, Field(gt=0)] | None = 80.0,
    ):
        super().__init__()
        high = sample_rate / 2 if high is None else high
        if not low < high <= sample_rate / 2:
            raise UserError(
                f"LogMel: bands from {low:g} to {high:g} Hz; expected low < high <= {sample_rate / 2:g}, half of the "
                "sample rate"
            )
        self.window, self.hop, self.top_db = window, hop, top_db
        bands = mel_bands(sample_rate, window, num_mels, low, high)
        if not (bands.sum(dim=1) > 0).all():
            raise UserError(
                f"LogMel: {num_mels} bands are too many for a window of {window} samples: some hold no frequency; "
                "lower num_mels, or raise window or low"
            )
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("shape_of_window", torch.hann_window(window), persistent=False)

    def forward(self, recordings: Tensor) -> Tensor:
        if recordings.ndim != 3:
            raise UserError(f"LogMel: found an input of shape {tuple(recordings.shape)}; it takes recordings (N, C, T)")
        num, channels, _ = recordings.shape
        spectrum = torch.stft(
            recordings.flatten(0, 1),
            self.window,
            self.hop,
            window=self.shape_of_window,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()  # (N * C, 1 + window // 2, frames)
        decibels = 10 * (self.bands @ power).clamp(min=LEAST_POWER).log10().unflatten(0, (num, channels))
        if self.top_db is None:
            return decibels
        return decibels.maximum(decibels.amax(dim=(1, 2, 3), keepdim=True) - self.top_db)


@BATCH_TRANSFORMS.register
class MFCC(LogMel):
    """Recordings (N, C, T) -> cepstral coefficients by frame, (N, C, num_coefficients, 1 + T // hop).

    What `librosa.feature.mfcc` gives: the orthonormal cosine transform (DCT-II) of LogMel's bands, whose arguments it
    takes too.
    """

    def __init__(self, sample_rate: Count, num_coefficients: Count = 20, **of_log_mel: Any):
        super().__init__(sample_rate, **of_log_mel)
        if num_coefficients > (num_mels := len(self.bands)):
            raise UserError(f"MFCC: num_coefficients={num_coefficients} of {num_mels} bands; expected at most as many")
        places = (torch.arange(num_mels, dtype=torch.float64) + 0.5) * math.pi / num_mels
        waves = (torch.arange(num_coefficients)[:, None] * places).cos() * math.sqrt(2 / num_mels)
        waves[0] *= math.sqrt(0.5)
        self.register_buffer("waves", waves.float(), persistent=False)

    def forward(self, recordings: Tensor) -> Tensor:
        return self.waves @ super().forward(recordings)


@BATCH_TRANSFORMS.register
class SpecAugment(nn.Module):
    """Bands and stretches of time of each spectrogram (N, C, F, T) are replaced by its mean; for training alone.

    bands, stretches: how many of each; widest_band, longest_stretch: their size at most, drawn evenly from 0, in rows
    and in frames. Source: D. S. Park et al., "SpecAugment" (2019), without its warping of time.
    """

    def __init__(
        self,
        bands: Annotated[int, Field(ge=0)] = 1,
        widest_band: Count = 8,
        stretches: Annotated[int, Field(ge=0)] = 1,
        longest_stretch: Count = 8,
    ):
        super().__init__()
        self.masks = [(2, widest_band)] * bands + [(3, longest_stretch)] * stretches

    def forward(self, spectrograms: Tensor) -> Tensor:
        mean = spectrograms.mean(dim=(1, 2, 3), keepdim=True)
        for axis, longest in self.masks:
            spectrograms = torch.where(self._drawn(spectrograms, axis, longest), mean, spectrograms)
        return spectrograms

    def _drawn(self, spectrograms: Tensor, axis: int, longest: int) -> Tensor:
        """Of each spectrogram what is replaced, bool (N, 1, F, 1) or (N, 1, 1, T)."""
        size, device = spectrograms.shape[axis], spectrograms.device
        length, place = torch.rand(2, len(spectrograms), 1, device=device)
        length = (length * (min(longest, size) + 1)).floor()
        start = (place * (size - length + 1)).floor()
        places = torch.arange(size, device=device)
        is_in = (places >= start) & (places < start + length)  # (N, size)
        return is_in[:, None, :, None] if axis == 2 else is_in[:, None, None, :]


def mel_bands(sample_rate: int, window: int, num_mels: int, low: float, high: float) -> Tensor:
    """How much each frequency of a spectrum counts in each band, float32 (num_mels, 1 + window // 2).

    Triangles whose corners lie evenly on Slaney's mel scale (linear to 1,000 Hz, logarithmic above), each of area 1.
    Source: M. Slaney, "Auditory Toolbox" (1998); librosa.filters.mel's defaults.
    """
    ends = _mels(torch.tensor([low, high], dtype=torch.float64))
    corners = _hertz(torch.linspace(*ends.tolist(), num_mels + 2, dtype=torch.float64))
    frequencies = torch.arange(1 + window // 2, dtype=torch.float64) * sample_rate / window
    widths = corners.diff()
    away = corners[:, None] - frequencies
    rising, falling = -away[:-2] / widths[:-1, None], away[2:] / widths[1:, None]
    area = 2 / (corners[2:] - corners[:-2])
    return (rising.minimum(falling).clamp(min=0) * area[:, None]).float()


HERTZ_A_MEL = 200 / 3  # below 1,000 Hz
LOG_STEP = math.log(6.4) / 27  # above


def _mels(hertz: Tensor) -> Tensor:
    above = 1000 / HERTZ_A_MEL + (hertz.clamp(min=1000) / 1000).log() / LOG_STEP
    return torch.where(hertz < 1000, hertz / HERTZ_A_MEL, above)


def _hertz(mels: Tensor) -> Tensor:
    above = 1000 * ((mels - 1000 / HERTZ_A_MEL) * LOG_STEP).exp()
    return torch.where(mels < 1000 / HERTZ_A_MEL, mels * HERTZ_A_MEL, above)
