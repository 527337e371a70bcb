"""Align a data directory with its texts: begin and end of every token and word, as CTM."""

import json
from collections.abc import Sequence, Sized
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from audiorec.audio.levels import Levels
from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.errors import UserError
from audiorec.evaluation.decode import batches
from audiorec.evaluation.folder import whole_folder
from audiorec.progress import progress
from audiorec.text import words
from audiorec.transcript import WordTimes
from audiorec.transcript.formats import ctm_line


@torch.inference_mode()
def align(
    model_path: Path | str,
    data: Path | str,
    out: Path | str,
    head: str | None = None,
    device: str | torch.device = "cpu",
    allow_pipes: bool = False,
) -> dict:
    """Align every utterance of ``data`` by a head of the model, the first unless named.

    Writes ``tokens.ctm``, ``words.ctm`` and ``align.json``, all or nothing, and returns the content of ``align.json``: under
    ``left_out`` the utterances without an alignment and why, under ``scores`` the log-probability per frame of the others.
    A token lies in the frames that the head gives to it, a word where ``audiorec.transcript.times`` finds it, as in recognition.
    Raises UserError where the data or the model cannot be used, or no utterance has an alignment.
    """
    from audiorec.models import delay_name, load_model, read_delays

    model, tokenizer, config = load_model(model_path)
    model.to(device)
    name = head or next(iter(config.heads))
    if name not in model.heads:
        raise UserError(f"{model_path}: has no head {name!r}; it has {', '.join(config.heads)}")
    model = model.exit(name)
    delay = read_delays(model_path).get(delay_name(name, model.look_ahead_ms))
    utterances = read_data_dir(data, require_text=False, allow_pipes=allow_pipes)
    ids = {u.id: tokenizer.encode(config.tokenizer.normalize(u.text)) for u in utterances}
    left_out = {utterance: "its text is empty" for utterance, row in ids.items() if not row}
    with_text = [u for u in utterances if u.id not in left_out]
    scores: dict[str, float] = {}
    lines: dict[str, list[str]] = {"tokens.ctm": [], "words.ctm": []}
    with progress("aligning", len(with_text)) as advance:
        for names, samples in batches(with_text, Recordings(), model.sample_rate):
            rows = [torch.tensor(ids[utterance]) for utterance in names]
            audio = pad_sequence([torch.from_numpy(row) for row in samples], batch_first=True).to(device)
            tokens = pad_sequence(rows, batch_first=True).to(device)
            x, lengths = model(audio, _sizes(samples, device))
            alignment = model.head(name).align(x, lengths, tokens, _sizes(rows, device))
            for i, utterance in enumerate(names):
                count, frames = len(ids[utterance]), int(lengths[i])
                if alignment.scores[i] == -torch.inf:
                    left_out[utterance] = f"its {count} tokens do not fit into {frames} frames"
                    continue
                scores[utterance] = round(float(alignment.scores[i]) / frames, 4)
                starts = (alignment.starts[i, :count] * model.frame_seconds).tolist()
                ends = (alignment.ends[i, :count] * model.frame_seconds).tolist()
                for token, start, end in zip(ids[utterance], starts, ends, strict=True):
                    lines["tokens.ctm"].append(ctm_line(utterance, start, end, tokenizer.pieces[token]))
                if delay is not None:  # it was measured from the end of the frame that emits
                    ends = [start + model.frame_seconds for start in starts]
                spelled = words(tokenizer, ids[utterance])
                emissions = [(starts[word.start], ends[word.end - 1]) for word in spelled]
                times = WordTimes(Levels(model.sample_rate, samples[i]), delay)(emissions)
                for word, (start, end) in zip(spelled, times, strict=True):
                    lines["words.ctm"].append(ctm_line(utterance, start, end, word.text))
            advance(len(names))
    if not scores:
        utterance, reason = next(iter(left_out.items()))
        raise UserError(f"{data}: no utterance has an alignment; {utterance}: {reason}")
    summary = {"head": name, "utterances": len(scores), "left_out": left_out, "scores": scores}
    with whole_folder(Path(out), "align.json") as folder:
        for file, content in lines.items():
            (folder / file).write_text("".join(content), encoding="utf-8")
        (folder / "align.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _sizes(rows: Sequence[Sized], device: str) -> torch.Tensor:
    return torch.tensor([len(row) for row in rows], device=device)
