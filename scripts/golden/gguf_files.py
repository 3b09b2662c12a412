"""GGUF files with every type of values, and a small Llama as llama.cpp stores it.

Reference: gguf 0.19.0 (quantize and dequantize in numpy), transformers 5.24.0 with torch 2.15.0, seed 0.
Command:   python scripts/golden/gguf_files.py
Writes:    test/fixtures/gguf/

    types.gguf             a tensor per type, named for it, and metadata of every kind
    types.safetensors      what gguf.quants.dequantize makes of them, in float32
    llama.gguf             a random 2-layer Llama with grouped keys, a byte-level BPE and a chat template
    llama.safetensors      its weights, with the names and the order of rows that transformers has
    llama.json             its config, texts with their ids, logits of one text

Values of the types that gguf cannot quantize are random bytes, with scales of a usual size.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

FOLDER = Path(__file__).resolve().parents[2] / "test/fixtures/gguf"
TYPES = ["F32", "F16", "BF16", "F64", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
# Where the float16 scales are in a super-block of the types that gguf cannot quantize.
SCALES = {"Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
TEXT = "the hedgehog has 1234 small spines, and so has its attention: 'tis 5% of 10.\n\n  The rest of it isn't.\n"
TEXTS = [TEXT, "", " ", "\n\n\n a", "12 345  67", "it's <|im_start|>user\nthe spines<|im_end|>", "é 数 🦔 naïve"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def stored(name, generator):
    """Rows of values in a type, as bytes, and what they are in float32."""
    kind = gguf.GGMLQuantizationType[name]
    values = generator.normal(0, 0.7, (3, 256)).astype(np.float32)
    if name == "F64":
        return values.astype(np.float64), values
    if name not in SCALES:
        data = gguf.quants.quantize(values, kind)
        return data, gguf.quants.dequantize(data, kind)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = generator.integers(0, 256, (3, 256 // block * size), dtype=np.uint8)
    for at in SCALES[name]:
        data[:, at : at + 2] = generator.normal(0, 0.01, (3, 1)).astype(np.float16).view(np.uint8)
    return data, gguf.quants.dequantize(data, kind)


def write(file, architecture, fill):
    writer = gguf.GGUFWriter(file, architecture)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_types():
    generator = np.random.default_rng(0)
    golden = {}

    def fill(writer):
        writer.add_uint8("test.uint8", 200)
        writer.add_int8("test.int8", -100)
        writer.add_uint16("test.uint16", 60000)
        writer.add_int16("test.int16", -30000)
        writer.add_uint32("test.uint32", 4000000000)
        writer.add_int32("test.int32", -2000000000)
        writer.add_float32("test.float32", 0.5)
        writer.add_uint64("test.uint64", 2**53 - 1)
        writer.add_int64("test.int64", -(2**40))
        writer.add_float64("test.float64", 0.1)
        writer.add_bool("test.bool", True)
        writer.add_string("test.string", "hédgehog 🦔")
        writer.add_array("test.strings", ["a", "", "ü"])
        writer.add_array("test.integers", [3, -1, 2])
        writer.add_array("test.floats", [0.5, -0.25])
        writer.add_array("test.booleans", [True, False])
        for name in TYPES:
            data, values = stored(name, generator)
            raw = None if name in ("F32", "F16", "F64") else gguf.GGMLQuantizationType[name]
            writer.add_tensor(name, data, raw_dtype=raw)
            golden[name] = np.ascontiguousarray(values)
        writer.add_tensor("three", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
        golden["three"] = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

    write(FOLDER / "types.gguf", "test", fill)
    save_file(golden, FOLDER / "types.safetensors")


def bpe():
    tokenizer = Tokenizer(models.BPE())
    # As in SmolLM2's tokenizer.json.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    return tokenizer


def permuted(weights, heads):
    """Rows of a head in neighbouring pairs, as llama.cpp has them."""
    half = weights.shape[0] // heads // 2
    return weights.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(weights.shape)


def write_llama():
    torch.manual_seed(0)
    tokenizer = bpe()
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, initializer_range=0.2, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    data = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(data["vocab"], key=data["vocab"].get)

    def fill(writer):
        writer.add_block_count(config.num_hidden_layers)
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_vocab_size(config.vocab_size)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(tokens)
        writer.add_token_types([3 if i < 3 else 1 for i in range(len(tokens))])
        writer.add_token_merges([" ".join(merge) for merge in data["merges"]])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(False)
        writer.add_chat_template(TEMPLATE)
        for name, tensor in weights.items():
            if "q_proj" in name or "k_proj" in name:
                heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
                tensor = permuted(tensor, heads)
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(tensor))

    write(FOLDER / "llama.gguf", "llama", fill)
    save_file(weights, FOLDER / "llama.safetensors", metadata={"format": "pt"})

    # transformers reads the same weights from the file, so it is as llama.cpp would have written it.
    loaded = transformers.LlamaForCausalLM.from_pretrained(FOLDER, gguf_file="llama.gguf", dtype=torch.float32)
    for name, tensor in weights.items():
        assert np.array_equal(loaded.state_dict()[name].numpy(), tensor), name

    ids = [tokenizer.encode(text).ids for text in TEXTS]
    with torch.no_grad():
        logits = model.double()(torch.tensor([ids[0][:9]])).logits[0, -1, :8]
    golden = {
        "reference": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, gguf 0.19.0",
        "command": "python scripts/golden/gguf_files.py",
        "config": {
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": config.vocab_size, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
        },
        "chat_template": TEMPLATE,
        "texts": [{"text": text, "ids": found} for text, found in zip(TEXTS, ids)],
        "logits": {"ids": ids[0][:9], "of_last_first_8": logits.tolist()},
    }  # fmt: skip
    (FOLDER / "llama.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_types()
    write_llama()


if __name__ == "__main__":
    main()
