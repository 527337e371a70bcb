"""The LSTM predictor (Graves 2012): all symbols so far, in a state of fixed size."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from audiorec_kernels.rnn import dense_lstm
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.decoders.predictor import PREDICTORS, Predictor, PredictorConfig
from audiorec.streaming import State
from audiorec.text import BLANK


class LstmPredictorConfig(PredictorConfig):
    kind: Literal["lstm"] = "lstm"
    dim: PositiveInt = Field(256, description="of the embedding and of every layer")
    layers: PositiveInt = Field(1, description="their number")
    dropout: float = Field(0.1, ge=0, lt=1, description="of the embedding")


@PREDICTORS.register
class LstmPredictor(Predictor):
    """LSTM layers over the symbols' embeddings. State: ``h`` and ``c`` (B, D) of each layer."""

    Config = LstmPredictorConfig

    def __init__(self, config: LstmPredictorConfig, vocabulary: int):
        super().__init__()
        self.output_dim = dim = config.dim
        self.embedding = config.embedding(vocabulary, dim)
        self.dropout = nn.Dropout(config.dropout)
        # The cells hold and initialise the weights; dense_lstm and lstm_cell compute with them.
        self.layers = nn.ModuleDict({f"layer{i}": nn.LSTMCell(dim, dim) for i in range(config.layers)})

    def forward(self, symbols: Tensor) -> Tensor:
        x = self.dropout(self.embedding(F.pad(symbols, (1, 0), value=BLANK)))
        for layer in self.layers.values():
            x, _ = dense_lstm(x, *weights_of(layer))
        return x

    def initial_state(self, batch_size: int) -> State:
        weight = self.embedding.weight
        zeros = weight.new_zeros(batch_size, self.output_dim, dtype=torch.promote_types(weight.dtype, torch.float32))
        blank = torch.full((batch_size,), BLANK, dtype=torch.int64, device=weight.device)
        return self.step(blank, {name: {"h": zeros, "c": zeros} for name in self.layers})

    def step(self, symbols: Tensor, state: State) -> State:
        x, next_state = self.dropout(self.embedding(symbols)), {}
        for name, layer in self.layers.items():
            h, c = state[name]["h"], state[name]["c"]
            x, next_c = torch.lstm_cell(x, (h.to(x.dtype), c.to(x.dtype)), *weights_of(layer))
            next_state[name] = {"h": x.to(h.dtype), "c": next_c.to(c.dtype)}
        return next_state

    def output(self, state: State) -> Tensor:
        return state[f"layer{len(self.layers) - 1}"]["h"]


def weights_of(layer: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh
