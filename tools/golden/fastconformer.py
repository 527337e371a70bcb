"""Makes tests/golden/nemo anew: small random models of NeMo's own classes as .nemo files, and what NeMo itself makes of speech.

    python tools/golden/fastconformer.py tests/golden/nemo egs/digits/recordings/theo.opus

Needs nemo_toolkit[asr] in an environment of its own (tried: nemo_toolkit 3.0.0, torch 2.13), not audiorec.
"""

import argparse
import gzip
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import soundfile
import torch
from omegaconf import OmegaConf
from scipy.signal import resample_poly

logging.disable(logging.WARNING)

SECONDS = 9.3  # more than the left context of 70 frames, and no whole number of frames or hops
CONTEXTS = [[70, 13], [70, 6], [70, 1], [70, 0]]
WORDS = "zero one two three four five six seven eight nine"
# Two tokenizers of sentencepiece, as NeMo's scripts train them: id 0 is <unk>, and the blank comes after the last.
PIECES = {"bpe": 40, "unigram": 36}


def encoder(bins: int, contexts: list, **options) -> dict:
    return {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        **{"feat_in": bins, "feat_out": -1, "n_layers": 2, "d_model": 24, "n_heads": 4, "ff_expansion_factor": 2},
        **{"subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_conv_channels": 8},
        **{"causal_downsampling": True, "self_attention_model": "rel_pos", "xscaling": False, "untie_biases": True},
        **{"att_context_size": contexts, "att_context_style": "chunked_limited", "pos_emb_max_len": 5000},
        **{"conv_kernel_size": 9, "conv_norm_type": "layer_norm", "conv_context_size": "causal"},
        **{"dropout": 0.1, "dropout_pre_encoder": 0.1, "dropout_emb": 0.0, "dropout_att": 0.1},
        **options,
    }


def preprocessor(bins: int) -> dict:
    return {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        **{"sample_rate": 16000, "normalize": "NA", "window_size": 0.025, "window_stride": 0.01, "window": "hann"},
        **{"features": bins, "n_fft": 512, "frame_splicing": 1, "dither": 0.00001, "pad_to": 0},
    }


def common(folder: Path, kind: str, bins: int, contexts: list, **options) -> dict:
    return {
        "sample_rate": 16000,
        "tokenizer": {"dir": str(tokenizer(folder, kind)), "type": "bpe"},
        "preprocessor": preprocessor(bins),
        "encoder": encoder(bins, contexts, **options),
        "optim": {"name": "adamw", "lr": 0.001},
    }


def ctc_decoder() -> dict:
    return {
        **{"_target_": "nemo.collections.asr.modules.ConvASRDecoder", "feat_in": 24, "num_classes": -1},
        "vocabulary": [],
    }


def transducer(layers: int) -> dict:
    return {
        "model_defaults": {"enc_hidden": 24, "pred_hidden": 24, "joint_hidden": 24},
        "decoder": {
            **{"_target_": "nemo.collections.asr.modules.RNNTDecoder", "normalization_mode": None},
            **{"random_state_sampling": False, "blank_as_pad": True},
            "prednet": {"pred_hidden": 24, "pred_rnn_layers": layers, "t_max": None, "dropout": 0.2},
        },
        "joint": {
            **{"_target_": "nemo.collections.asr.modules.RNNTJoint", "log_softmax": None, "fuse_loss_wer": False},
            "jointnet": {"joint_hidden": 24, "activation": "relu", "dropout": 0.2},
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}},
        "loss": {"loss_name": "default", "warprnnt_numba_kwargs": {"fastemit_lambda": 0.0}},
    }


def tokenizer(folder: Path, kind: str) -> Path:
    """A folder with a tokenizer of this kind, as NeMo takes it."""
    at = folder / kind
    at.mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS, *WORDS.split()] * 20),
        model_prefix=str(at / "tokenizer"),
        **{"model_type": kind, "vocab_size": PIECES[kind], "bos_id": -1, "eos_id": -1, "hard_vocab_limit": False},
        normalization_rule_name="identity",  # NeMo's default brings tables of 200 kB
        minloglevel=10,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(at / "tokenizer.model"))
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    (at / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces[1:]))
    return at


def shake(model: torch.nn.Module) -> None:
    """Weights that tell something: nothing at its first value, and outputs that change with what is heard."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in sorted(model.named_parameters()):
        draw = torch.randn(parameter.shape, generator=generator)
        scale = 1.0 if parameter.ndim < 2 else (parameter[0].numel()) ** -0.5
        if name.endswith(("decoder_layers.0.weight", "joint_net.2.weight")):
            scale *= 6
        if "embed" in name:
            scale = 1.0
        if ".norm" in name or "batch_norm" in name:
            draw = draw * 0.2 + (1.0 if name.endswith("weight") else 0.0)
        elif parameter.ndim < 2:
            scale = 0.2
        with torch.no_grad():
            parameter.copy_(draw * scale)
        if name.endswith("prediction.embed.weight"):
            with torch.no_grad():
                parameter[-1] = 0  # the blank, whose row NeMo keeps at zero
        if name.endswith(("decoder_layers.0.bias", "joint_net.2.bias")):
            with torch.no_grad():
                parameter[-1] += 1.5


@torch.no_grad()
def level(model: torch.nn.Module, samples: torch.Tensor) -> None:
    """What the layers read has mean 0 and deviation 1 on these samples, so that it is not the same whatever is heard."""
    model.eval()
    features, frames = model.preprocessor(input_signal=samples[None], length=torch.tensor([len(samples)]))
    out = model.encoder.pre_encode.out
    x, _ = model.encoder.pre_encode(x=features.transpose(1, 2), lengths=frames)
    deviation = x[0].std(0)
    out.weight /= deviation[:, None]
    out.bias.copy_((out.bias - x[0].mean(0)) / deviation)


def some(x: np.ndarray, step: int) -> np.ndarray:
    """Every so manieth frame, and the last three: enough to tell, and small."""
    return np.concatenate([x[:-3:step], x[-3:]])


def exact_positions(encoder: torch.nn.Module) -> None:
    """Sinusoids in double precision: NeMo's are rounded to float32 whatever the module's."""
    table = encoder.pos_enc.pe[0]
    size, dim = table.shape
    place = torch.arange(size // 2, -(size // 2) - 1, -1, dtype=torch.float64)[:, None]
    angles = place * 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    exact = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    assert (exact - table).abs().max() < 1e-3
    encoder.pos_enc.pe = exact[None]


@torch.no_grad()
def outputs(model: torch.nn.Module, samples: torch.Tensor, contexts: list) -> dict[str, np.ndarray]:
    """What NeMo gives offline of samples (N,) in each context."""
    model.eval()
    model.preprocessor.featurizer.dither = 0.0
    lengths = torch.tensor([len(samples)])
    features, frames = model.preprocessor(input_signal=samples[None], length=lengths)
    found = {"features": some(features[0, :, : int(frames)].T.numpy(), 10)}
    for context in contexts:
        key = f"{context[0]}_{context[1]}"
        model.encoder.set_default_att_context_size(context)
        encoded, count = model.encoder(audio_signal=features, length=frames)
        encoded = encoded[:, :, : int(count)]
        ctc = getattr(model, "ctc_decoder", None) or (
            model.decoder if hasattr(model.decoder, "decoder_layers") else None
        )
        if ctc is not None:
            scores = ctc(encoder_output=encoded)[0]
            found[f"{key}/ctc"] = scores.numpy()
            path = torch.unique_consecutive(scores.argmax(-1))
            found[f"{key}/ctc_tokens"] = path[path < scores.shape[1] - 1].numpy()
        if hasattr(model, "joint"):
            best = model.decoding.rnnt_decoder_predictions_tensor(encoded, count, return_hypotheses=True)
            found[f"{key}/tokens"] = np.array([int(i) for i in best[0].y_sequence])
            found[f"{key}/text"] = np.array(best[0].text)
            # The joiner beside the history of the blank alone, and of the first tokens that were found.
            history = torch.tensor([found[f"{key}/tokens"][:5].tolist()], dtype=torch.int64)
            predicted, _ = model.decoder.predict(history, add_sos=True)
            joint = model.joint.joint(encoded.transpose(1, 2)[:, ::20], predicted)[0]
            found[f"{key}/joint"] = joint.log_softmax(-1).numpy()
    twin = model.encoder.double()
    twin.eval()
    exact_positions(twin)
    for context in contexts:
        twin.set_default_att_context_size(context)
        noise = np.random.default_rng(0).standard_normal((930, features.shape[1])) * 2 - 6
        encoded, count = twin(audio_signal=torch.from_numpy(noise.T.copy())[None], length=torch.tensor([930]))
        found[f"{context[0]}_{context[1]}/encoded"] = some(encoded[0, :, : int(count)].T.numpy(), 3)
    model.encoder.float()
    return found


def compress(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def main() -> None:
    from nemo.collections.asr.models import (
        EncDecCTCModelBPE,
        EncDecHybridRNNTCTCBPEModel,
    )

    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("out", type=Path)
    arguments.add_argument("speech", type=Path)
    arguments = arguments.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    audio, rate = soundfile.read(arguments.speech, dtype="float32", frames=int(SECONDS * 48000))
    audio = resample_poly(audio, 16000, rate)[: int(SECONDS * 16000) + 77]
    audio = np.round(audio * 32767).astype(np.int16)
    np.savez_compressed(arguments.out / "speech.npz", samples=audio)
    samples = torch.from_numpy(audio).float() / 32768

    out = arguments.out.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the config keeps the tokenizer's folder: a name that says nothing of this machine
        folder = Path()
        hybrid = common(folder, "bpe", 80, CONTEXTS) | transducer(2)
        hybrid["aux_ctc"] = {"ctc_loss_weight": 0.3, "decoder": ctc_decoder()}
        ctc = common(folder, "unigram", 128, [70, 13], xscaling=True, use_bias=False) | {"decoder": ctc_decoder()}
        made = {
            "hybrid": (EncDecHybridRNNTCTCBPEModel, hybrid, CONTEXTS),
            "ctc": (EncDecCTCModelBPE, ctc, [[70, 13]]),
        }
        for name, (kind, config, contexts) in made.items():
            torch.manual_seed(0)
            model = kind(cfg=OmegaConf.create(config))
            shake(model)
            level(model, samples)
            model.save_to(str(out / f"{name}.nemo"))
            if name == "ctc":  # NeMo writes plain ones and reads both
                compress(out / f"{name}.nemo")
            found = outputs(model, samples, contexts)
            np.savez_compressed(out / f"{name}.npz", **found)
            for key, value in found.items():
                print(name, key, value.shape, value if "tokens" in key or "text" in key else "")


if __name__ == "__main__":
    main()
