"""Writes a softmax decoder with a key/value cache as Optimum exports it, for transformers.js to load, with random weights.

    python scripts/peers/decoder_with_past.py --shape gpt2|smollm2|tiny-gpt2|tiny-llama --form plain|gqa --out DIR

`plain` is attention in ONNX's own operators (past keys joined with the new, keys repeated for grouped queries); `gqa` is
com.microsoft.GroupQueryAttention with its own rotation, as newer exports of Llama have it. Only onnx and numpy are needed.
"""

import argparse
import json
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPES = {
    "gpt2": dict(family="gpt2", layers=12, width=768, heads=12, key_heads=12, inner=3072, vocab=50257, positions=33024),
    "smollm2": dict(family="llama", layers=30, width=576, heads=9, key_heads=3, inner=1536, vocab=49152, positions=33024),
    "tiny-gpt2": dict(family="gpt2", layers=2, width=32, heads=2, key_heads=2, inner=128, vocab=997, positions=1100),
    "tiny-llama": dict(family="llama", layers=2, width=48, heads=3, key_heads=1, inner=64, vocab=997, positions=1100),
}


class Graph:
    """Nodes, and weights whose bytes go to a file beside the model."""

    def __init__(self, folder):
        self.nodes, self.initializers, self.count = [], [], 0
        self.data = open(os.path.join(folder, "model.onnx_data"), "wb")
        self.rng = np.random.default_rng(0)

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        names = [f"{kind.lower()}_{self.count}_{i}" for i in range(outputs)]
        self.count += 1
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array, dtype):
        name = f"constant_{self.count}"
        self.count += 1
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def ints(self, *values):
        return self.constant(values, np.int64)

    def weight(self, name, array):
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        start = self.data.tell()
        self.data.write(np.ascontiguousarray(array, np.float32).tobytes())
        for key, value in (("location", "model.onnx_data"), ("offset", start), ("length", self.data.tell() - start)):
            tensor.external_data.add(key=key, value=str(value))
        tensor.data_location = TensorProto.EXTERNAL
        self.initializers.append(tensor)
        return name

    def normal(self, name, *shape):
        return self.weight(name, 0.02 * self.rng.standard_normal(shape, np.float32))


def build(shape, form, folder):
    graph = Graph(folder)
    s = argparse.Namespace(**shape)
    d = s.width // s.heads
    table = graph.normal("embedding", s.vocab, s.width)
    x = graph.op("Gather", table, "input_ids")
    if s.family == "gpt2":
        x = graph.op("Add", x, graph.op("Gather", graph.normal("positions", s.positions, s.width), "position_ids"))
    angles = np.outer(np.arange(s.positions), 10000.0 ** (-np.arange(0, d, 2) / d))
    shared = lengths(graph) if form == "gqa" else mask(graph)
    tables = None
    if s.family == "llama":
        tables = [graph.weight("cosine", np.cos(angles)), graph.weight("sine", np.sin(angles))]
        if form == "plain":
            rows = [graph.op("Unsqueeze", graph.op("Gather", one, "position_ids"), graph.ints(1)) for one in tables]
            tables = [graph.op("Concat", one, one, axis=-1) for one in rows]
    outputs = []
    for i in range(s.layers):
        x, key, value = block(graph, s, d, i, x, form, shared, tables)
        outputs += [(f"present.{i}.key", key), (f"present.{i}.value", value)]
    last = norm(graph, s, "final", x)
    outputs.append(("logits", graph.op("MatMul", last, graph.op("Transpose", table, perm=[1, 0]))))
    for name, value in outputs:
        graph.nodes.append(helper.make_node("Identity", [value], [name]))
    graph.data.close()
    return finished(graph, s, d, [name for name, _ in outputs])


def block(graph, s, d, i, x, form, shared, tables):
    normal = norm(graph, s, f"{i}.norm1", x)
    if s.family == "gpt2":
        qkv = linear(graph, f"{i}.qkv", normal, s.width, 3 * s.width, bias=True)
        q, k, v = graph.op("Split", qkv, graph.ints(s.width, s.width, s.width), outputs=3, axis=-1)
    else:
        q = linear(graph, f"{i}.q", normal, s.width, s.heads * d)
        k = linear(graph, f"{i}.k", normal, s.width, s.key_heads * d)
        v = linear(graph, f"{i}.v", normal, s.width, s.key_heads * d)
    past = [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
    if form == "gqa":
        inputs = [q, k, v, *past, *shared, *tables]
        attributes = dict(num_heads=s.heads, kv_num_heads=s.key_heads, do_rotary=1)
        y, key, value = graph.op("GroupQueryAttention", *inputs, outputs=3, domain="com.microsoft", **attributes)
    else:
        y, key, value = attention(graph, s, d, q, k, v, past, shared, tables)
    x = graph.op("Add", x, linear(graph, f"{i}.out", y, s.heads * d, s.width, bias=s.family == "gpt2"))
    normal = norm(graph, s, f"{i}.norm2", x)
    if s.family == "gpt2":
        inner = linear(graph, f"{i}.up", normal, s.width, s.inner, bias=True)
        inner = graph.op("Gelu", inner, approximate="tanh")
    else:
        gate = linear(graph, f"{i}.gate", normal, s.width, s.inner)
        swish = graph.op("Mul", gate, graph.op("Sigmoid", gate))
        inner = graph.op("Mul", swish, linear(graph, f"{i}.up", normal, s.width, s.inner))
    x = graph.op("Add", x, linear(graph, f"{i}.down", inner, s.inner, s.width, bias=s.family == "gpt2"))
    return x, key, value


def attention(graph, s, d, q, k, v, past, visible, tables):
    def heads(t, count):
        return graph.op("Transpose", graph.op("Reshape", t, graph.ints(0, 0, count, d)), perm=[0, 2, 1, 3])

    q, k, v = heads(q, s.heads), heads(k, s.key_heads), heads(v, s.key_heads)
    if tables:
        q, k = rotated(graph, d, q, tables), rotated(graph, d, k, tables)
    key, value = graph.op("Concat", past[0], k, axis=2), graph.op("Concat", past[1], v, axis=2)
    times = s.heads // s.key_heads
    wide = [repeated(graph, t, s.key_heads, times, d) if times > 1 else t for t in (key, value)]
    scores = graph.op("MatMul", q, graph.op("Transpose", wide[0], perm=[0, 1, 3, 2]))
    scores = graph.op("Mul", scores, graph.constant(d**-0.5, np.float32))
    y = graph.op("MatMul", graph.op("Softmax", graph.op("Add", scores, visible), axis=-1), wide[1])
    return graph.op("Reshape", graph.op("Transpose", y, perm=[0, 2, 1, 3]), graph.ints(0, 0, s.heads * d)), key, value


def rotated(graph, d, t, tables):
    left, right = graph.op("Split", t, graph.ints(d // 2, d // 2), outputs=2, axis=-1)
    half = graph.op("Concat", graph.op("Neg", right), left, axis=-1)
    return graph.op("Add", graph.op("Mul", t, tables[0]), graph.op("Mul", half, tables[1]))


def repeated(graph, t, count, times, d):
    wide = graph.op("Expand", graph.op("Unsqueeze", t, graph.ints(2)), graph.ints(1, 1, times, 1, 1))
    return graph.op("Reshape", wide, graph.ints(0, count * times, -1, d))


def mask(graph):
    """0 where a new position sees a key, else very low: (l s)."""

    def size(of):
        return graph.op("Squeeze", graph.op("Slice", graph.op("Shape", of), graph.ints(1), graph.ints(2)))

    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    total = size("attention_mask")
    rows = graph.op("Range", graph.op("Sub", total, size("input_ids")), total, one)
    keys = graph.op("Range", zero, total, one)
    later = graph.op("Greater", keys, graph.op("Unsqueeze", rows, graph.ints(1)))
    return graph.op("Mul", graph.op("Cast", later, to=TensorProto.FLOAT), graph.constant(-1e30, np.float32))


def lengths(graph):
    """The index of the last key of each sequence, and the number of keys."""
    summed = graph.op("ReduceSum", "attention_mask", graph.ints(1), keepdims=0)
    last = graph.op("Cast", graph.op("Sub", summed, graph.ints(1)), to=TensorProto.INT32)
    total = graph.op("Gather", graph.op("Shape", "attention_mask"), graph.constant(1, np.int64))
    return last, graph.op("Cast", total, to=TensorProto.INT32)


def linear(graph, name, x, inputs, outputs, bias=False):
    y = graph.op("MatMul", x, graph.normal(f"{name}.weight", inputs, outputs))
    return graph.op("Add", y, graph.weight(f"{name}.bias", np.zeros(outputs))) if bias else y


def norm(graph, s, name, x):
    scale = graph.weight(f"{name}.scale", np.ones(s.width))
    if s.family == "llama":
        return graph.op("SimplifiedLayerNormalization", x, scale, axis=-1, epsilon=1e-5)
    return graph.op("LayerNormalization", x, scale, graph.weight(f"{name}.shift", np.zeros(s.width)), epsilon=1e-5)


def finished(graph, s, d, outputs):
    cache = ["batch_size", s.key_heads, "past_sequence_length", d]
    longs = dict(input_ids=["batch_size", "sequence_length"], attention_mask=["batch_size", "total_sequence_length"])
    longs["position_ids"] = ["batch_size", "sequence_length"]
    used = {name for node in graph.nodes for name in node.input}
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, dims) for n, dims in longs.items() if n in used]
    for i in range(s.layers):
        for part in ("key", "value"):
            inputs.append(helper.make_tensor_value_info(f"past_key_values.{i}.{part}", TensorProto.FLOAT, cache))
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    body = helper.make_graph(graph.nodes, "decoder", inputs, infos, graph.initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=9)


def config(s):
    external = {"transformers.js_config": {"use_external_data_format": {"model.onnx": 1}}}
    if s.family == "gpt2":
        sizes = dict(n_layer=s.layers, n_head=s.heads, n_embd=s.width, n_positions=s.positions)
        return dict(model_type="gpt2", architectures=["GPT2LMHeadModel"], vocab_size=s.vocab, **sizes, **external)
    sizes = dict(num_hidden_layers=s.layers, num_attention_heads=s.heads, num_key_value_heads=s.key_heads)
    sizes.update(hidden_size=s.width, intermediate_size=s.inner, max_position_embeddings=s.positions)
    return dict(model_type="llama", architectures=["LlamaForCausalLM"], vocab_size=s.vocab, **sizes, **external)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--form", choices=["plain", "gqa"], default="plain")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    if options.form == "gqa" and SHAPES[options.shape]["family"] != "llama":
        parser.error("--form gqa is of Llama's shape")
    os.makedirs(os.path.join(options.out, "onnx"), exist_ok=True)
    model = build(SHAPES[options.shape], options.form, os.path.join(options.out, "onnx"))
    onnx.save(model, os.path.join(options.out, "onnx", "model.onnx"))
    with open(os.path.join(options.out, "config.json"), "w") as file:
        json.dump(config(argparse.Namespace(**SHAPES[options.shape])), file, indent=2)
