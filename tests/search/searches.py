"""Every search of the library in small, for the laws on tokens: a new one is one line."""

import torch

from audiorec.decoders import PREDICTORS, Joiner
from audiorec.search import CtcGreedySearch, TdtGreedySearch, TransducerGreedySearch

DIM, VOCABULARY = 6, 5
DURATIONS = (0, 1, 2, 4)


def parts(predictor: str, outputs: int = VOCABULARY) -> tuple:
    """A predictor and a joiner whose random weights give symbols and blanks in turn."""
    torch.manual_seed(5)
    predictor = PREDICTORS.build({"kind": predictor, "dim": 8}, VOCABULARY).eval()
    joiner = Joiner(DIM, 8, 16, outputs)
    with torch.no_grad():
        for parameter in [*predictor.parameters(), *joiner.parameters()]:
            parameter.mul_(3)
        joiner.output.bias.zero_()[0] = 3.0
    return predictor, joiner


SEARCHES = {
    "ctc greedy": lambda: CtcGreedySearch(lambda x: x),
    "greedy": lambda: TransducerGreedySearch(*parts("stateless")),
    "greedy, lstm predictor": lambda: TransducerGreedySearch(*parts("lstm"), max_symbols=3, block=3),
    "greedy, one symbol a frame": lambda: TransducerGreedySearch(*parts("lstm"), max_symbols=1),
    "tdt greedy": lambda: TdtGreedySearch(*parts("stateless", VOCABULARY + len(DURATIONS)), DURATIONS),
    "tdt greedy, lstm predictor": lambda: TdtGreedySearch(*parts("lstm", VOCABULARY + len(DURATIONS)), DURATIONS),
}
