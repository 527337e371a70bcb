"""Makes tests/golden/icefall anew: a small random LSTM transducer of icefall's own classes, and what icefall makes of noise.

    python tools/golden/icefall.py tests/golden/icefall --icefall FOLDER

Needs a checkout of icefall (tried: lstm.py of 50b376d, scaling.py of 4756595, decoder.py of 7557470, joiner.py of 9f515e5) and
torch, not audiorec. What only training, files or sound read (k2, sentencepiece, …) is stood for by names that hold nothing.
"""

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

RECIPE = "egs/librispeech/ASR/lstm_transducer_stateless3"
BINS, DIM, HIDDEN, INNER, LAYERS, VOCABULARY, JOINER, CONTEXT = 20, 24, 32, 30, 3, 12, 16, 2
FRAMES, CHUNK, LOOK = 403, 8, 5  # of a stream: frames a chunk, and those of the next one that it sees
SIZES = 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 100, 101, 102, 103
HISTORIES = [[0, 0], [0, 4], [4, 7], [11, 3]]


def stand_in(name: str, **names) -> None:
    module = ModuleType(name)
    vars(module).update(names)
    sys.modules.setdefault(name, module)


def modules(checkout: Path) -> dict[str, ModuleType]:
    """The files of the recipe, by name."""
    stand_in("icefall")
    stand_in("icefall.utils", is_jit_tracing=torch.jit.is_tracing, add_sos=None)
    stand_in("k2", RaggedTensor=None)
    for library in ("kaldifeat", "sentencepiece", "torchaudio"):
        stand_in(library)
    sys.path.insert(0, str(checkout / RECIPE))
    return {name: importlib.import_module(name) for name in ("lstm", "decoder", "joiner", "model", "jit_pretrained")}


def transducer(files: dict[str, ModuleType], context: int = CONTEXT) -> torch.nn.Module:
    encoder = files["lstm"].RNN(
        BINS,
        d_model=DIM,
        dim_feedforward=INNER,
        rnn_hidden_size=HIDDEN,
        num_encoder_layers=LAYERS,
        aux_layer_period=LAYERS,  # a combiner of layers, which holds no weights
    )
    decoder = files["decoder"].Decoder(VOCABULARY, DIM, 0, context)
    joiner = files["joiner"].Joiner(DIM, DIM, JOINER, VOCABULARY)
    return files["model"].Transducer(encoder, decoder, joiner, DIM, DIM, JOINER, VOCABULARY).eval()


@torch.no_grad()
def shake(model: torch.nn.Module) -> None:
    """Weights that tell something: nothing at its first value, no symbol wins everywhere; numbers of 16 bits, to be small."""
    generator = torch.Generator().manual_seed(11)
    for name, parameter in sorted(model.named_parameters()):
        draw = torch.randn(parameter.shape, generator=generator)
        if name.endswith("eps"):
            draw = draw * 0.5 - 1
        elif name.endswith("scale"):
            draw = draw * 0.3 + (1.5 if name.endswith(("encoder_proj.weight_scale", "linear.weight_scale")) else 0)
        else:
            draw = draw * (parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3)
        parameter.copy_(draw.half())
    model.decoder.embedding.weight[0] = 0  # the blank, whose row icefall keeps at zero
    bias = model.joiner.output_linear.bias
    bias[1:3], bias[0] = -50, 1.5  # searches say no <sos/eos> and no <unk>, and the blank often
    # What the layers read has mean 0 on noise, so that it is not the same whatever is heard.
    out = model.encoder.encoder_embed.out
    inner = model.encoder.encoder_embed.conv(noise(FRAMES).float()[:, None]).transpose(1, 2).flatten(2)
    out.bias.copy_((-(inner @ out.get_weight().T).mean((0, 1)) / out.bias_scale.exp()).half())


def noise(frames: int) -> torch.Tensor:
    """(1, frames, BINS), as log-mel energies are."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal((frames, BINS)) * 2 - 6)[None]


def small(weight: torch.Tensor) -> np.ndarray:
    return (weight.half() if weight.half().equal(weight) else weight).numpy()


@torch.no_grad()
def outputs(files: dict[str, ModuleType], model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Its weights, and in float64 what encoder, streamed encoder, predictor and joiner give; the words of a greedy search."""
    found = {f"weights/{name}": small(tensor) for name, tensor in model.state_dict().items()}
    padding = files["lstm"].LOG_EPSILON
    model.double()
    encoder, search = model.encoder, files["jit_pretrained"].greedy_search

    def encode(x: torch.Tensor) -> torch.Tensor:
        return encoder(x, torch.tensor([x.shape[1]]))[0]

    def padded(frames: int) -> torch.Tensor:
        return torch.nn.functional.pad(noise(frames), (0, 0, 0, 8), value=padding)

    def words(frames: torch.Tensor) -> np.ndarray:
        lengths = torch.tensor([frames.shape[1]])
        return np.array(search(model.decoder, model.joiner, frames, lengths, CONTEXT)[0])

    found["encoded"] = encode(noise(FRAMES))[0].numpy()
    # As in a batch beside a longer utterance: features of silence after the last.
    for size in SIZES:
        found[f"padded/{size}"] = encode(padded(size))[0, -3:].numpy()
    x, states, parts = padded(FRAMES), tuple(state.double() for state in encoder.get_init_states()), []
    for start in range(0, x.shape[1] - 9, CHUNK):
        piece = x[:, start : start + CHUNK + LOOK]
        y, _, states = encoder(piece, torch.tensor([piece.shape[1]]), states)
        parts.append(y)
    streamed = torch.cat(parts, 1)
    found["streamed"] = streamed[0, ::4].numpy()
    found["tokens"], found["streamed_tokens"] = words(encode(padded(FRAMES))), words(streamed)
    histories = torch.tensor(HISTORIES)
    found["predicted"] = model.decoder(histories, need_pad=False)[:, 0].numpy()
    frames = encode(noise(FRAMES))[0, :40:10]
    found["logits"] = model.joiner(frames, model.decoder(histories, need_pad=False)[:, 0]).numpy()
    short = files["decoder"].Decoder(VOCABULARY, DIM, 0, 1).double()
    short.embedding.load_state_dict(model.decoder.embedding.state_dict())
    found["predicted_of_one"] = short(histories[:, -1:], need_pad=False)[:, 0].numpy()
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--icefall", type=Path, required=True, help="the checkout")
    arguments = arguments.parse_args()
    files = modules(arguments.icefall)
    torch.manual_seed(0)
    model = transducer(files)
    shake(model)
    found = outputs(files, model)
    arguments.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.out / "lstm.npz", **found)
    for key, value in found.items():
        if not key.startswith("weights/"):
            print(key, value.shape, value if "tokens" in key else "")


if __name__ == "__main__":
    main()
