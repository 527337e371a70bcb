"""The stateless predictor (Ghodsi et al. 2020): the last few symbols' embeddings through one causal convolution."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from audiorec.decoders.predictor import PREDICTORS, Predictor, PredictorConfig
from audiorec.streaming import State
from audiorec.text import BLANK

GROUP = 4  # channels that the convolution mixes


class StatelessConfig(PredictorConfig):
    kind: Literal["stateless"] = "stateless"
    dim: PositiveInt = Field(256, multiple_of=GROUP, description="of the embedding and of its output")
    context: PositiveInt = Field(2, description="number of last symbols that it reads")


@PREDICTORS.register
class StatelessPredictor(Predictor):
    """relu(convolution(embedding)) over the last ``context`` symbols, ``start``s before the first.

    State: ``context`` (B, context) int64, the symbols themselves.
    """

    Config = StatelessConfig

    def __init__(self, config: StatelessConfig, vocabulary: int):
        super().__init__()
        self.output_dim = config.dim
        self.context = config.context
        self.embedding = config.embedding(vocabulary, config.dim)
        self.conv = nn.Conv1d(config.dim, config.dim, config.context, groups=config.dim // GROUP, bias=False)

    def forward(self, symbols: Tensor) -> Tensor:
        x = self.embedding(F.pad(symbols, (self.context, 0), value=BLANK))
        return self.conv(x.transpose(1, 2)).relu().transpose(1, 2)

    def initial_state(self, batch_size: int) -> State:
        device = self.embedding.weight.device
        return {"context": torch.full((batch_size, self.context), BLANK, dtype=torch.int64, device=device)}

    def step(self, symbols: Tensor, state: State) -> State:
        return {"context": torch.cat([state["context"][:, 1:], symbols[:, None]], 1)}

    def output(self, state: State) -> Tensor:
        # The convolution at a single position, as a product: three times as fast for one row.
        x = self.embedding(state["context"]).unflatten(-1, (-1, GROUP))
        weight = self.conv.weight.unflatten(0, (-1, GROUP))
        return torch.einsum("bkgi,goik->bgo", x, weight).flatten(1).relu()
