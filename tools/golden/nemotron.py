"""Makes tests/golden/nemo/nemotron.npz anew: what transformers' class gives of the weights in hybrid.nemo beside it.

    python tools/golden/nemotron.py tests/golden/nemo [FOLDER]

FOLDER gets the model as transformers writes it. Needs transformers (tried: 5.24 with torch 2.13), with "sdpa": the mask of its
eager attention is inverted in 5.23 and 5.24.
"""

import argparse
import io
import re
import tarfile
from pathlib import Path

import numpy as np
import torch

LANGUAGES = {"en-US": 0, "de-DE": 3, "auto": 5}
LOOKAHEADS = [13, 6, 3, 1, 0]  # 3: its left context of 70 frames is 17 chunks, which are 68
RENAMED = [
    (r"^encoder\.pre_encode\.conv\.0\.", "encoder.subsampling.conv_in."),
    (r"^encoder\.pre_encode\.conv\.2\.", "encoder.subsampling.layers.0.depthwise_conv."),
    (r"^encoder\.pre_encode\.conv\.3\.", "encoder.subsampling.layers.0.pointwise_conv."),
    (r"^encoder\.pre_encode\.conv\.5\.", "encoder.subsampling.layers.1.depthwise_conv."),
    (r"^encoder\.pre_encode\.conv\.6\.", "encoder.subsampling.layers.1.pointwise_conv."),
    (r"^encoder\.pre_encode\.out\.", "encoder.subsampling.linear."),
    (r"\.linear_([qkv])\.", r".\1_proj."),
    (r"\.linear_out\.", ".o_proj."),
    (r"\.linear_pos\.", ".relative_k_proj."),
    (r"\.pos_bias_([uv])$", r".bias_\1"),
    (r"\.conv\.batch_norm\.", ".conv.norm."),
    (r"^joint\.enc\.", "encoder_projector."),
    (r"^joint\.pred\.", "decoder.decoder_projector."),
    (r"^decoder\.prediction\.embed\.", "decoder.embedding."),
    (r"^decoder\.prediction\.dec_rnn\.lstm\.", "decoder.lstm."),
    (r"^joint\.joint_net\.2\.", "joint.head."),
]


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """The encoder and the transducer of a .nemo file under transformers' names."""
    with tarfile.open(path) as tar:
        member = next(m for m in tar if m.name.endswith("model_weights.ckpt"))
        weights = torch.load(io.BytesIO(tar.extractfile(member).read()), weights_only=True)
    found = {}
    for name, tensor in weights.items():
        if name.startswith(("preprocessor", "ctc_decoder")):
            continue
        for nemo, theirs in RENAMED:
            name = re.sub(nemo, theirs, name)
        found[name] = tensor
    return found


def prompt_weights(dim: int, classes: int = 8) -> dict[str, torch.Tensor]:
    """Of a language prompt after the encoder, as Nemotron 3.5 has it."""
    draw = np.random.default_rng(5).standard_normal
    sizes = {"linear_1": (2 * dim, dim + classes), "linear_2": (dim, 2 * dim)}
    found = {}
    for name, (rows, columns) in sizes.items():
        found[f"prompt_projector.{name}.weight"] = torch.from_numpy(draw((rows, columns)) * columns**-0.5).float()
        found[f"prompt_projector.{name}.bias"] = torch.from_numpy(draw(rows) * 0.1).float()
    return found


def build(weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    """transformers' class with these weights: Nemotron 3.5's where there is a prompt."""
    from transformers import (
        Nemotron3_5AsrConfig,
        Nemotron3_5AsrForRNNT,
        NemotronAsrStreamingConfig,
        NemotronAsrStreamingForRNNT,
    )

    vocabulary, joint = weights["joint.head.weight"].shape
    hidden = weights["encoder.subsampling.linear.weight"].shape[0]
    encoder = {
        **{"hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 2 * hidden},
        **{"subsampling_conv_channels": 8, "num_mel_bins": 80, "scale_input": False, "conv_kernel_size": 9},
    }
    prompted = "prompt_projector.linear_1.weight" in weights
    options = {"num_prompts": 8, "prompt_intermediate_size": 2 * hidden, "default_prompt_id": 5} if prompted else {}
    config = (Nemotron3_5AsrConfig if prompted else NemotronAsrStreamingConfig)(
        **{"vocab_size": vocabulary, "blank_token_id": vocabulary - 1, "decoder_hidden_size": joint},
        num_decoder_layers=2,
        encoder_config={"model_type": "nemotron_asr_streaming_encoder", **encoder},
        **options,
    )
    config._attn_implementation = "sdpa"
    model = (Nemotron3_5AsrForRNNT if prompted else NemotronAsrStreamingForRNNT)(config)
    model.load_state_dict(weights)
    return model.eval()


@torch.no_grad()
def outputs(golden: Path, folder: Path | None = None) -> dict[str, np.ndarray]:
    """What transformers gives of the speech in ``golden``, at each look-ahead, and of Nemotron 3.5 in each language."""
    from transformers import NemotronAsrStreamingFeatureExtractor

    weights = weights_of(golden / "hybrid.nemo")
    model, extract = build(weights), NemotronAsrStreamingFeatureExtractor()
    if folder:
        model.save_pretrained(folder)
        extract.save_pretrained(folder)
    samples = np.load(golden / "speech.npz")["samples"].astype(np.float32) / 32768
    features = extract(samples, sampling_rate=16000, return_tensors="pt")
    predicted = model.decoder(torch.tensor([[model.config.blank_token_id, 3, 5, 7]]))[:, None]

    def scores(projected: torch.Tensor) -> np.ndarray:
        return model.joint(predicted, projected[:, ::10, None])[0].log_softmax(-1).numpy()

    found = {}
    for right in LOOKAHEADS:
        output = model.encoder(**features, num_lookahead_tokens=right)
        frames = output.last_hidden_state[:, : int(output.attention_mask.sum())]
        found[f"{right}/joint"] = scores(model.encoder_projector(frames))
        found[f"{right}/frames"] = np.array(frames.shape[1])
    model = build(weights | prompt_weights(frames.shape[2]))
    for language, place in LANGUAGES.items():
        output = model.get_audio_features(**features, prompt_ids=torch.tensor([place]), num_lookahead_tokens=6)
        found[f"{language}/joint"] = scores(output.pooler_output[:, : found["6/frames"]])
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("golden", type=Path)
    arguments.add_argument("folder", type=Path, nargs="?")
    arguments = arguments.parse_args()
    np.savez_compressed(arguments.golden / "nemotron.npz", **outputs(arguments.golden, arguments.folder))


if __name__ == "__main__":
    main()
