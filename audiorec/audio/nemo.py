"""NeMo's log-mel features as a streaming module on samples: those of NVIDIA's streaming checkpoints."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from audiorec_kernels.precision import full_precision
from pydantic import Field
from torch import Tensor

from audiorec.audio.mel import MelFeatures
from audiorec.config import Config
from audiorec.streaming import State, last_frames, mask, window

PREEMPHASIS = 0.97
GUARD = 2.0**-24  # added to every energy before the logarithm


class NemoMelConfig(Config):
    kind: Literal["nemo"] = "nemo"
    sample_rate: int = Field(16000, description="hertz; recordings of another rate are resampled")
    bins: int = Field(80, description="of the mel scale")
    rounding: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the window and the mel weights; some checkpoints keep theirs in bfloat16"
    )


class NemoMel(MelFeatures):
    """Samples (B, T, 1) in [−1, 1] → (B, T // hop, bins), normalised by the mean and deviation kept in the model: 0 and 1 in an
    imported one, as NeMo's ``normalize: NA``.

    At 16 kHz frame t is centred at sample 160t: pre-emphasis over the whole signal, a symmetric Hann window of 400 samples,
    |FFT|² of 512 points, Slaney's mel scale and norm up to half the rate, log(p + 2⁻²⁴), zeros beyond both ends.

    The ends are NeMo's. Frame 0 sees half a window of zeros, and no frame waits for more than half a window, 200 samples, past
    its place. There are T // hop frames, not ceil(T / hop): a recording's last samples, fewer than a hop, are seen by the frame
    before them and get none of their own, for with one more frame the encoder would give other numbers than NeMo's. An utterance
    shorter than a hop has no frame.

    State: ``last`` (B, 1, 1), the last sample; ``tail``, the samples after pre-emphasis from the next frame's first on; of
    ragged rows as many as a frame begins before a block, and ``waits`` (B,): a frame waits for what comes after it.
    """

    Config = NemoMelConfig

    def __init__(self, config: NemoMelConfig):
        super().__init__(config.sample_rate, _filters(config))
        self.side = self.length // 2
        self.keep = self.side + self.hop  # samples of a frame's window that lie before the block in which it ends

    def reach(self, t: int) -> int:
        return t * self.hop + self.side - 1

    def total(self, frames: int) -> int:
        return frames // self.hop

    def initial_state(self, batch_size: int, ragged: bool = False) -> State:
        state = {"last": self.zeros(batch_size, 1, 1)}
        if not ragged:
            return state | {"tail": self.zeros(batch_size, self.side, 1)}
        return state | {
            "tail": self.zeros(batch_size, self.keep, 1),
            "waits": self.zeros(batch_size, dtype=torch.bool),
        }

    def advance(self, x: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, Tensor | None, State]:
        x = torch.cat([state["last"], mask(x, lengths).to(state["last"].dtype)], 1)
        new = {"last": last_frames(x, lengths, 1)}
        # Masked after pre-emphasis: of the first sample past the end it would otherwise leave −0.97 of the last one.
        x = mask(x[:, 1:] - PREEMPHASIS * x[:, :-1], lengths)
        samples = torch.cat([state["tail"], x], 1)
        if lengths is None:
            y = self._whole_frames(samples)
            return y, None, new | {"tail": samples[:, y.shape[1] * self.hop :]}
        # Slot j of this step is the frame that ends within block j. For a new row slot 0 lies before the first frame and is
        # dropped. A row that ends within a block has the frame before that block as its last, full of zeros beyond the end.
        blocks = -(-lengths // self.hop)
        features = self.features(samples[:, :, 0].unfold(1, self.length, self.hop))
        fresh = (~state["waits"] & (lengths > 0)).to(lengths.dtype)
        y = mask(window(features, fresh, features.shape[1]), blocks - fresh)
        new["tail"] = window(samples, self.hop * (lengths // self.hop), self.keep)
        more = lengths > 0  # onnxruntime has no `where` of bool
        new["waits"] = (more & (lengths % self.hop == 0)) | (~more & state["waits"])
        return y, blocks - fresh, new

    def flush(self, state: State) -> tuple[Tensor, Tensor | None]:
        tail, waits = state["tail"], state.get("waits")
        if waits is None and tail.shape[1] < self.side + self.hop:
            return tail.new_zeros(tail.shape[0], 0, self.output_dim), None
        frame = self.features(F.pad(tail[:, :, 0], (0, self.length - tail.shape[1])))[:, None]
        if waits is None:
            return frame, None
        lengths = waits.to(torch.int64)
        return mask(frame, lengths), lengths

    def features(self, frames: Tensor) -> Tensor:
        """Normalised log-mel of frames (…, length) after pre-emphasis, always in the features' own precision."""
        with full_precision(frames):
            return self._normalised(self._energies(frames.to(self.spectrum.dtype)) + GUARD)


def window_and_filters(config: NemoMelConfig) -> tuple[Tensor, Tensor]:
    """Symmetric Hann window (length,) and mel weights (bins, fft / 2 + 1), float32, as NeMo's checkpoints hold them."""
    length = round(0.025 * config.sample_rate)
    size = 1 << (length - 1).bit_length()
    window = torch.hann_window(length, periodic=False, dtype=torch.float64)
    edges = _to_hertz(torch.linspace(0, float(_to_mel(config.sample_rate / 2)), config.bins + 2, dtype=torch.float64))
    hertz = torch.arange(size // 2 + 1, dtype=torch.float64) * config.sample_rate / size
    up = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    weights = torch.minimum(up, down).clamp(min=0) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return window.float(), weights.float()


def _filters(config: NemoMelConfig) -> tuple[Tensor, Tensor]:
    """The Fourier basis with the window folded in (length, 2 · fft/2), and mel weights (fft/2, bins)."""
    rounded = torch.bfloat16 if config.rounding == "bfloat16" else torch.float32
    hann, mel = (x.to(rounded).double() for x in window_and_filters(config))
    length, half = len(hann), mel.shape[1] - 1  # the highest frequency has no weight in any bin
    angle = (
        math.pi * torch.arange(length, dtype=torch.float64)[:, None] * torch.arange(half, dtype=torch.float64) / half
    )
    basis = hann[:, None] * torch.cat([angle.cos(), angle.sin()], 1)
    return basis.float(), mel[:, :half].t().float().contiguous()


# Slaney's scale: linear up to 1000 Hz, which is 15 mel, and logarithmic above, 27 mel for a factor of 6.4.


def _to_mel(hertz: float) -> float:
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _to_hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))
