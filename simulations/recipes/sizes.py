"""What memory and arithmetic follow from: parameters, bytes and operations of a transformer.

Llama and Qwen3 have the same blocks: attention with grouped keys and values, a gated network of
three matrices, two norms; Qwen3 norms queries and keys as well.
"""

from __future__ import annotations

from simulations.recipes.schema import Model, Policy, Reward

#: bytes of a number
BF16, FP32 = 2, 4
#: Adam's two moments
MOMENTS = 2


def linear_maps(model: Model) -> list[tuple[int, int]]:
    """Return inputs and outputs of a layer's linear maps: q, k, v, o, gate, up, down."""
    q, kv = model.heads * model.head_size, model.kv_heads * model.head_size
    attention = [(model.width, q), (model.width, kv), (model.width, kv), (q, model.width)]
    return [*attention, *[(model.width, model.inner)] * 2, (model.inner, model.width)]


def parameters(model: Model) -> int:
    """Return the number of a model's parameters; a reward model has one output, no vocabulary.

    Examples
    --------
    >>> sizes = {"vocabulary": 128256, "width": 2048, "layers": 16, "heads": 32, "kv_heads": 8}
    >>> sizes |= {"head_size": 64, "inner": 8192, "tied": True}
    >>> parameters(Model(source="Llama-3.2-1B", kind="llama", **sizes))
    1235814400
    """
    norms = 2 * model.width + 2 * model.head_size * (model.kind == "qwen3")
    layer = sum(a * b for a, b in linear_maps(model)) + norms
    embedding = model.vocabulary * model.width
    if isinstance(model, Reward):
        head = model.width
    else:
        head = 0 if model.tied else embedding
    return embedding + model.layers * layer + model.width + head


def trained(policy: Policy) -> int:
    """Return how many numbers are trained: all, or two thin matrices beside each linear map."""
    if not policy.lora_rank:
        return parameters(policy)
    return policy.layers * policy.lora_rank * sum(a + b for a, b in linear_maps(policy))


def cache_bytes(model: Model) -> int:
    """Return the bytes of keys and values that a token leaves, in bfloat16."""
    return 2 * model.layers * model.kv_heads * model.head_size * BF16


def checkpoint_bytes(model: Model) -> int:
    """Return the bytes of a token's activations in training: a state at each layer's entrance."""
    return model.layers * model.width * BF16


def layer_bytes(model: Model) -> int:
    """Return the bytes of a token's activations while one layer is computed again, backwards."""
    return (10 * model.width + 4 * model.inner) * BF16


def training_operations(policy: Policy) -> int:
    """Return the operations on each token of a step, in multiplications and additions.

    Two for each parameter forward, and as many again for the log-probabilities that vLLM's are
    compared with, for recomputing the layers, for the states' gradient, and for the weights'
    gradient if there are any. Attention's own products are left out: 3 % at 1000 tokens.
    """
    passes = 4 if policy.lora_rank else 5
    return 2 * passes * parameters(policy)


def reading_operations(model: Model) -> int:
    """Return the operations on each token that is read: two for each parameter."""
    return 2 * parameters(model)
