"""``Recognizer``: a trained model that transcribes files, arrays and live streams."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from audiorec.audio.read import Resampler, blocks, check, read
from audiorec.config import parse
from audiorec.errors import UserError
from audiorec.models import AsrModel, load_model
from audiorec.recognizer.result import Result, alternatives, make_segment
from audiorec.recognizer.stream import Stream
from audiorec.search import GREEDY, Automaton, Hypothesis, SearchConfig, build_automata
from audiorec.text import Tokenizer

Audio = str | Path | np.ndarray | Tensor


class Recognizer:
    """A model with its tokeniser. Offline and live use give the same words (docs/design.md, section 2)."""

    def __init__(
        self,
        model: AsrModel,
        tokenizer: Tokenizer,
        head: str | None = None,
        search: SearchConfig = GREEDY,
        automata: Sequence[Automaton] = (),
    ):
        self.model = model.float().eval()
        self.tokenizer = tokenizer
        self.head = head
        self.search_config = search
        self.device = next(model.parameters()).device
        self.automata = tuple(automaton.to(self.device) for automaton in automata)
        self.search()  # what the head does not offer is an error here already

    @property
    def sample_rate(self) -> int:
        """The rate of the model's features, Hz; other rates are resampled."""
        return self.model.sample_rate

    def search(self) -> Any:
        return self.model.search(self.head, self.search_config, self.automata)

    def stream(self, sample_rate: int | None = None) -> Stream:
        """A live stream of samples at ``sample_rate`` Hz (the model's own unless given)."""
        rate = self.sample_rate if sample_rate is None else sample_rate
        if rate < 1:
            raise UserError(f"stream: sample_rate must be positive, got {rate}")
        if not self.model.streams:
            raise UserError(
                "stream: this model sees whole utterances and cannot stream; choose a latency, or transcribe"
            )
        return Stream(self, rate)

    @overload
    def transcribe(self, audio: Audio, sample_rate: int | None = None) -> Result: ...
    @overload
    def transcribe(self, audio: list[Audio], sample_rate: int | None = None) -> list[Result]: ...
    def transcribe(self, audio: Any, sample_rate: int | None = None) -> Any:
        """The words of a file, of an array or tensor (T,) at ``sample_rate`` Hz, or of a list of these.

        A file is read, and any audio stepped, in long pieces, so that hours take no more memory than a minute.
        """
        if isinstance(audio, list | tuple):
            return [self.transcribe(one, sample_rate) for one in audio]
        if not self.model.streams:
            return self._transcribe_whole(audio, sample_rate)
        stream = None
        if isinstance(audio, str | Path):
            for samples, rate in blocks(audio):
                stream = stream or self.stream(rate)
                stream.accept(samples)
        else:
            stream = self.stream(sample_rate)
            if not len(audio):
                raise UserError("transcribe: the array holds no samples")
            stream.accept(audio)
        assert stream is not None  # a file without samples is refused
        return stream.finish()

    def _transcribe_whole(self, audio: Audio, sample_rate: int | None) -> Result:
        if isinstance(audio, str | Path):
            samples, _ = read(audio, self.sample_rate)
        else:
            resampler = Resampler(sample_rate or self.sample_rate, self.sample_rate)
            samples = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else audio
            samples = np.concatenate([resampler.push(check(samples, "transcribe")), resampler.flush()])
        return self.transcribe_batch([samples])[0]

    def at_latency(self, ms: float) -> "Recognizer":
        """A recogniser whose attention looks ``ms`` ahead; it shares the weights, and this one stays as it is.

        Raises UserError where the model was not trained for it.
        """
        return Recognizer(self.model.at_latency(ms), self.tokenizer, self.head, self.search_config, self.automata)

    def result(self, said: Hypothesis, margin: float, nbest: Sequence[Hypothesis] = ()) -> Result:
        """What a search said, as text with times."""
        segment = make_segment(self.tokenizer, said, self.model.frame_seconds)
        return Result([segment] if segment.text else [], margin, alternatives(self.tokenizer, nbest))

    @torch.inference_mode()
    def transcribe_batch(self, utterances: Sequence[np.ndarray]) -> list[Result]:
        """Offline: whole utterances (T,) at the model's rate in one forward pass."""
        lengths = torch.tensor([len(samples) for samples in utterances], device=self.device)
        samples = torch.zeros(len(utterances), int(lengths.max()), device=self.device)
        for row, utterance in zip(samples, utterances, strict=True):
            row[: len(utterance)] = torch.from_numpy(check(utterance, "utterance"))
        x, frame_counts = self.model(samples, lengths)
        search = self.search()
        tokens, state = search.step(x, frame_counts, search.initial_state(len(utterances), self.device))
        last = search.flush(state)
        results = []
        for i in range(len(utterances)):
            said = tokens.hypothesis(i)
            nbest = [said + one for one in search.hypotheses(state, i)]
            results.append(self.result(said + last.hypothesis(i), float(state["margin"][i]), nbest))
        return results


def load(
    path: str | Path,
    device: str | torch.device = "cpu",
    head: str | None = None,
    search: SearchConfig | Mapping[str, Any] = GREEDY,
) -> Recognizer:
    """The recogniser of a model directory or of a run (``exp/…``). Raises UserError naming what is wrong with it.

    ``search`` is a SearchConfig or its keys: ``{"kind": "beam", "beam": 4, "lm": "digits.arpa", "hotwords": ["one two"]}``.
    """
    search = parse(SearchConfig, search, prefix="search")
    model, tokenizer, config = load_model(path)
    if head is not None and head not in config.heads:
        raise UserError(f"{path}: has no head {head!r}; it has {', '.join(config.heads)}")
    automata = build_automata(search, tokenizer, config.tokenizer.normalize)
    return Recognizer(model.to(device), tokenizer, head, search, automata)
