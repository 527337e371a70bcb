"""``LanguageModel``: what a text says next, by the recurrences of encoders. Its directory is a model directory like any other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.config import Config
from audiorec.encoders.dropout import Dropout
from audiorec.encoders.stack import LAYERS, build_layers
from audiorec.errors import ConfigError
from audiorec.models.directory import read_model
from audiorec.streaming import Pointwise, Sequential, State, StreamingModule
from audiorec.text import BLANK, TOKENIZERS, Tokenizer


class LanguageConfig(Config):
    dim: PositiveInt = Field(512, description="width of the embedding and of every layer")
    pattern: list[LAYERS.field] = Field(
        ["min_gru"],
        min_length=1,
        validate_default=True,
        description="kinds of layers, or mappings with a kind, in order; none that looks ahead",
    )
    repeats: PositiveInt = Field(1, description="times that the pattern stands one after another")
    dropout: float = Field(0.1, ge=0, lt=1, description="of the embedding, and before the softmax")


class LanguageModelConfig(Config):
    """The part of a language model's recipe that stays with the model."""

    format: Literal[1] = Field(1, description="of the model folder")
    language: LanguageConfig = Field(LanguageConfig(), description="what predicts the next piece")
    tokenizer: TOKENIZERS.field = Field({}, description="what the model's symbols are")


class LanguageModel(nn.Module):
    """Embedding, layers of the encoders' kinds, norm, and a softmax that shares the embedding (Press and Wolf 2017).

    Symbols are a tokenizer's. The blank, which no text has, is the begin of a text and its end. ``body``, all between embedding
    and softmax, is a StreamingModule, so a text may be read whole, or piece by piece with a ``State``, to the same numbers.
    State: ``body``'s own, and ``last`` (B, dim), what it says of the next symbol.
    """

    def __init__(self, config: LanguageConfig, vocabulary: int):
        super().__init__()
        dim = config.dim
        self.embedding = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.embedding.weight, std=0.02)  # so small that no layer's sum yet says its own symbol again
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.dropout = Dropout(config.dropout)
        layers = build_layers([layer for _ in range(config.repeats) for layer in config.pattern], dim, 1)
        for layer in layers.values():
            _must_be_causal(layer)
        self.body = Sequential(**layers, norm=Pointwise(nn.LayerNorm(dim), dim))

    def losses(self, symbols: Tensor, lengths: Tensor) -> Tensor:
        """(B,): −log P of texts, symbols (B, S) with ``lengths`` (B,) valid each, and of their ends."""
        frames, counts = self.body(self._embed(F.pad(symbols, (1, 0), value=BLANK)), lengths + 1)
        place = torch.arange(symbols.shape[1] + 1, device=symbols.device)
        said = torch.where(place < lengths[:, None], F.pad(symbols, (0, 1), value=BLANK), BLANK)
        valid = place < counts[:, None]
        logits = self._logits(frames[valid])
        taken = F.cross_entropy(
            logits.float() if logits.dtype != torch.float64 else logits, said[valid], reduction="none"
        )
        return taken.new_zeros(said.shape).masked_scatter(valid, taken).sum(1)

    def initial_state(self, batch_size: int, ragged: bool = True) -> State:
        """That of texts that have not begun, after their begin. Of rows that are not ``ragged`` all symbols are valid."""
        begin = torch.full((batch_size, 1), BLANK, dtype=torch.int64, device=self.bias.device)
        lengths = begin.new_ones(batch_size) if ragged else None
        last, _, body = self.body.step(self._embed(begin), lengths, self.body.initial_state(batch_size, ragged))
        return {"body": body, "last": last[:, 0]}

    def step(self, symbols: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, State]:
        """log P of the next symbols (B, S), ``lengths`` (B,) valid each, any number: its sum (B,), and the next state."""
        frames, after = self._read(symbols, lengths, state)
        log_probs = self._log_probs(frames).gather(2, symbols[..., None])[..., 0]
        valid = torch.arange(symbols.shape[1], device=symbols.device) < lengths[:, None]
        return log_probs.masked_fill(~valid, 0).sum(1), after

    def read(self, symbols: Tensor, lengths: Tensor | None, state: State) -> State:
        """The next state alone, without ``lengths`` where the rows are not ragged."""
        return self._read(symbols, lengths, state)[1]

    def next(self, state: State) -> Tensor:
        """(B, V): log P of every symbol that may come next, of the text's end in the blank's place."""
        return self._log_probs(state["last"])

    def end(self, state: State) -> Tensor:
        """(B,): log P of the texts' end."""
        return self.next(state)[:, BLANK]

    def _read(self, symbols: Tensor, lengths: Tensor | None, state: State) -> tuple[Tensor, State]:
        """What was said of each symbol before it came (B, S, dim), and the next state."""
        if not symbols.shape[1]:
            return state["last"][:, None, :].expand(-1, 0, -1), state
        frames, _, body = self.body.step(self._embed(symbols), lengths, state["body"])
        frames = torch.cat([state["last"][:, None], frames], 1)
        last = frames[:, -1] if lengths is None else frames[torch.arange(len(frames), device=frames.device), lengths]
        return frames[:, :-1], {"body": body, "last": last}

    def _embed(self, symbols: Tensor) -> Tensor:
        return self.dropout(self.embedding(symbols))

    def _logits(self, frames: Tensor) -> Tensor:
        return F.linear(self.dropout(frames), self.embedding.weight, self.bias)

    def _log_probs(self, frames: Tensor) -> Tensor:
        logits = self._logits(frames)
        return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def pad(texts: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Texts of ids as symbols (B, S) and their lengths (B,)."""
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.int64, device=device)
    size = max(map(len, texts), default=0)
    rows = [[*text, *[BLANK] * (size - len(text))] for text in texts]
    return torch.tensor(rows, dtype=torch.int64, device=device).view(len(texts), size), lengths


def load_language_model(path: Path | str) -> tuple[LanguageModel, Tokenizer, LanguageModelConfig]:
    """The language model of a model or run directory, in evaluation mode, with its tokenizer and configuration.

    Raises UserError naming the file that is missing, damaged, foreign or of an unknown format.
    """
    return read_model(
        path, LanguageModelConfig, lambda config, vocabulary: LanguageModel(config.language, vocabulary), "language"
    )


def _must_be_causal(layer: StreamingModule) -> None:
    if layer.lookahead > 0 or layer.stride != 1 or layer.block != 1:
        raise ConfigError("language.pattern: a layer looks ahead; a language model may only see what came before")
