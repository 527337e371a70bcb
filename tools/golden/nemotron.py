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


def build(weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    """transformers' class with these weights."""
    from transformers import NemotronAsrStreamingConfig, NemotronAsrStreamingForRNNT

    vocabulary, joint = weights["joint.head.weight"].shape
    hidden = weights["encoder.subsampling.linear.weight"].shape[0]
    encoder = {
        **{"hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 2 * hidden},
        **{"subsampling_conv_channels": 8, "num_mel_bins": 80, "scale_input": False, "conv_kernel_size": 9},
    }
    config = NemotronAsrStreamingConfig(
        **{"vocab_size": vocabulary, "blank_token_id": vocabulary - 1, "decoder_hidden_size": joint},
        num_decoder_layers=2,
        encoder_config=encoder,
    )
    config._attn_implementation = "sdpa"
    model = NemotronAsrStreamingForRNNT(config)
    model.load_state_dict(weights)
    return model.eval()


@torch.no_grad()
def main() -> None:
    from transformers import NemotronAsrStreamingFeatureExtractor

    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("golden", type=Path)
    arguments.add_argument("folder", type=Path, nargs="?")
    arguments = arguments.parse_args()
    weights = weights_of(arguments.golden / "hybrid.nemo")
    model = build(weights)
    if arguments.folder:
        model.save_pretrained(arguments.folder)
        NemotronAsrStreamingFeatureExtractor().save_pretrained(arguments.folder)
    samples = np.load(arguments.golden / "speech.npz")["samples"].astype(np.float32) / 32768
    features = NemotronAsrStreamingFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")
    found = {}
    history = torch.tensor([[model.config.blank_token_id, 3, 5, 7]])
    predicted = model.decoder(history)
    for right in LOOKAHEADS:
        output = model.encoder(**features, num_lookahead_tokens=right)
        frames = output.last_hidden_state[:, : int(output.attention_mask.sum())]
        projected = model.encoder_projector(frames[:, ::10])[:, :, None]
        found[f"{right}/joint"] = model.joint(predicted[:, None], projected)[0].log_softmax(-1).numpy()
        found[f"{right}/frames"] = np.array(frames.shape[1])
        print(right, frames.shape)
    np.savez_compressed(arguments.golden / "nemotron.npz", **found)


if __name__ == "__main__":
    main()
