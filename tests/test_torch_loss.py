"""The policy-gradient loss: autograd of it is −ĝ, and its expectation the exact gradient."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.enumeration import LAWS, Array, SmallLaw, best_of

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode

from tea_stats import torch_bridge
from tea_stats.torch_bridge import policy_gradient_loss

pytestmark = pytest.mark.torch

EXACT = 1e-12
#: a bias that nobody calls rounding
VISIBLE = 1e-3


def gradient(loss: Any, parameters: Any) -> Array:
    """Return the gradient of a loss as an array."""
    (result,) = torch.autograd.grad(loss, parameters, retain_graph=True)
    return result.numpy()


class Batch:
    """4 prompts, 6 rollouts each of 1 to 5 tokens out of 7, and a tabular policy per prompt."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.logits = torch.randn(4, 7, dtype=torch.float64, generator=generator).requires_grad_()
        self.tokens = torch.randint(7, (4, 6, 5), generator=generator)
        self.mask = torch.arange(5) < torch.randint(1, 6, (4, 6, 1), generator=generator)
        self.advantages = torch.randn(4, 6, dtype=torch.float64, generator=generator)
        # another policy, near enough for some ratios to lie within 1 ± 0.2
        shift = 0.3 * torch.randn(4, 7, dtype=torch.float64, generator=generator)
        self.logprobs = self.under(self.logits)
        self.old_logprobs = self.under(self.logits.detach() + shift)

    def under(self, logits: Any) -> Any:
        """Log-probabilities (4, 6, 5) of the tokens."""
        table = logits.log_softmax(-1)[:, None].expand(4, 6, 7)
        return table.gather(-1, self.tokens)

    def scores(self) -> Array:
        """∇ log π of each token, e_y − p by hand; shape (4, 6, 5, 7), zero where masked."""
        probabilities = self.logits.detach().softmax(-1).numpy()
        scores = np.eye(7)[self.tokens.numpy()] - probabilities[:, None, None]
        return scores * self.mask.numpy()[..., None]


@pytest.fixture
def batch() -> Batch:
    return Batch()


# --- REINFORCE ----------------------------------------------------------------------------------


def test_autograd_is_minus_the_mean_of_advantage_times_score(batch: Batch) -> None:
    a = batch.advantages.requires_grad_()
    loss = policy_gradient_loss(batch.logprobs, a, batch.mask)
    weighted = np.einsum("gi,gitd->gd", a.detach().numpy(), batch.scores())
    # each group is divided by its 6 rollouts, and the 4 groups are averaged
    assert np.abs(gradient(loss, batch.logits) + weighted / 6 / 4).max() < EXACT
    assert np.abs(weighted).max() > VISIBLE
    assert torch.autograd.grad(loss, a, allow_unused=True) == (None,)


def test_whole_rollouts_and_tokens_agree(batch: Batch) -> None:
    by_token = policy_gradient_loss(batch.logprobs, batch.advantages, batch.mask)
    whole = batch.logprobs.masked_fill(~batch.mask, 0.0).sum(-1)
    torch.testing.assert_close(policy_gradient_loss(whole, batch.advantages), by_token)


def expected_gradient(
    law: SmallLaw, m: int, name: str, N: int, drawn_from: Any = None, ratio: bool = False
) -> Array:
    """Return E[−∇loss] over all ordered groups of m, drawn from the law or from another one."""
    logits = torch.tensor(law.probabilities, dtype=torch.float64).log().requires_grad_()
    logprobs = logits.log_softmax(0)
    old = logprobs.detach() if drawn_from is None else drawn_from.log()
    total = np.zeros(len(law.rewards))
    for group in itertools.product(range(len(law.rewards)), repeat=m):
        drawn = torch.tensor(group)
        rewards = torch.tensor(law.rewards, dtype=torch.float64)[drawn]
        a = torch_bridge.advantages(name, rewards, N)
        loss = policy_gradient_loss(logprobs[drawn], a, old_logprobs=old[drawn] if ratio else None)
        total -= old[drawn].sum().exp().item() * gradient(loss, logits)
    return total


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_expectation_over_every_group_is_the_exact_gradient(law: SmallLaw) -> None:
    for k in (1, 2, 3):
        mean = expected_gradient(law, 3, "max_at_k", k)
        assert np.abs(mean - best_of(law, k)).max() < EXACT, k
    # a biased estimator fails
    biased = expected_gradient(law, 3, "dr_grpo", 1)
    assert np.abs(biased - best_of(law, 1)).max() > VISIBLE


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_off_policy_the_ratio_of_whole_rollouts_keeps_the_mean_reward_unbiased(
    law: SmallLaw,
) -> None:
    uniform = torch.full((len(law.rewards),), 1 / len(law.rewards), dtype=torch.float64)
    mean = expected_gradient(law, 3, "rloo", 1, drawn_from=uniform, ratio=True)
    assert np.abs(mean - best_of(law, 1)).max() < EXACT
    plain = expected_gradient(law, 3, "rloo", 1, drawn_from=uniform)
    assert np.abs(plain - best_of(law, 1)).max() > VISIBLE


def test_expectation_over_answers_of_several_tokens() -> None:
    """A policy that writes 0, 1 or the end, at most two tokens: all groups of 3 answers."""
    end, padding = 2, torch.tensor(torch.nan, dtype=torch.float64)
    answers = [(end,), (0, end), (1, end), *itertools.product((0, 1), repeat=2)]
    rewards = torch.tensor([0.0, 1.0, -0.5, 2.0, 2.0, 0.3, 1.5], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    # one row of logits at the start, one after each token
    logits = torch.randn(3, 3, dtype=torch.float64, generator=generator).requires_grad_()
    table = logits.log_softmax(-1)
    written = [[table[0, a[0]], table[1 + a[0], a[1]]] if len(a) == 2 else [table[0, end], padding]
               for a in answers]  # fmt: skip
    logprobs = torch.stack([torch.stack(row) for row in written])
    mask = ~logprobs.isnan()
    probability = logprobs.masked_fill(~mask, 0.0).sum(-1).exp()
    assert abs(probability.sum().item() - 1.0) < EXACT

    pairs = torch.maximum(rewards[:, None], rewards)
    exact = gradient((probability[:, None] * probability * pairs).sum(), logits)
    total = np.zeros((3, 3))
    for group in itertools.product(range(len(answers)), repeat=3):
        drawn = torch.tensor(group)
        a = torch_bridge.advantages("max_at_k", rewards[drawn], 2)
        loss = policy_gradient_loss(logprobs[drawn], a, mask[drawn])
        total -= probability[drawn].prod().item() * gradient(loss, logits)
    assert np.abs(total - exact).max() < EXACT
    assert np.abs(exact).max() > VISIBLE


# --- ratios, clipped or not ---------------------------------------------------------------------


def surrogate(
    batch: Batch, low: float, high: float, by_token: bool, length_normalised: bool
) -> float:
    """Return the clipped loss, one rollout and one token at a time."""
    new, old = batch.logprobs.detach().numpy(), batch.old_logprobs.numpy()
    total = 0.0
    for g, i in np.ndindex(4, 6):
        a, there = batch.advantages[g, i].item(), batch.mask[g, i].numpy()
        difference = (new - old)[g, i][there]
        ratios = np.exp(difference if by_token else difference.sum(keepdims=True))
        terms = [min(x * a, min(max(x, 1 - low), 1 + high) * a) for x in ratios]
        total += sum(terms) / (len(terms) if length_normalised else 1)
    return -total / 6 / 4


@pytest.mark.parametrize("clip", [None, 0.2, (0.2, 0.28), (1.0, 0.05)])
def test_the_clipped_surrogate(batch: Batch, clip: Any) -> None:
    low, high = (1e9, 1e9) if clip is None else np.broadcast_to(clip, 2)
    padded, old = batch.logprobs, batch.old_logprobs
    for length_normalised in (False, True):
        result = policy_gradient_loss(
            padded,
            batch.advantages,
            batch.mask,
            old_logprobs=old,
            clip=clip,
            length_normalised=length_normalised,
        )
        expected = surrogate(batch, low, high, True, length_normalised)
        assert abs(result.item() - expected) < EXACT
    whole = [x.masked_fill(~batch.mask, 0.0).sum(-1) for x in (padded, old)]
    result = policy_gradient_loss(whole[0], batch.advantages, old_logprobs=whole[1], clip=clip)
    assert abs(result.item() - surrogate(batch, low, high, False, False)) < EXACT


@pytest.mark.parametrize("clip", [None, 0.2])
def test_on_policy_every_form_has_the_same_gradient(batch: Batch, clip: Any) -> None:
    plain = policy_gradient_loss(batch.logprobs, batch.advantages, batch.mask)
    ratio = policy_gradient_loss(
        batch.logprobs, batch.advantages, batch.mask, old_logprobs=batch.logprobs, clip=clip
    )
    assert np.abs(gradient(ratio, batch.logits) - gradient(plain, batch.logits)).max() < EXACT


@pytest.mark.parametrize(
    ("ratio", "a", "moves"),
    [(1.5, 1.0, False), (1.5, -1.0, True), (0.5, 1.0, True), (0.5, -1.0, False)],
)
def test_clipping_stops_what_has_gone_far_enough(ratio: float, a: float, moves: bool) -> None:
    logprobs = torch.tensor([np.log(ratio), 0.0], requires_grad=True)
    loss = policy_gradient_loss(
        logprobs, torch.tensor([a, 0.0]), old_logprobs=torch.zeros(2), clip=0.2
    )
    assert (gradient(loss, logprobs)[0] != 0.0) == moves


def test_length_normalised_without_a_mask_divides_by_the_axis(batch: Batch) -> None:
    plain = policy_gradient_loss(batch.logprobs, batch.advantages)
    by_length = policy_gradient_loss(batch.logprobs, batch.advantages, length_normalised=True)
    torch.testing.assert_close(by_length, plain / 5)


# --- masks, missing rollouts, precision ---------------------------------------------------------


@pytest.mark.parametrize("form", [{}, {"clip": 0.2}])
@pytest.mark.parametrize("filler", [torch.nan, -torch.inf, -1e30])
def test_padding_may_hold_anything(batch: Batch, form: dict[str, Any], filler: float) -> None:
    def loss(logprobs: Any, old: Any) -> Any:
        olds = {"old_logprobs": old} if form else {}
        return policy_gradient_loss(logprobs, batch.advantages, batch.mask, **olds, **form)

    clean, old = batch.logprobs.detach().requires_grad_(), batch.old_logprobs
    filled = clean.detach().masked_fill(~batch.mask, filler).requires_grad_()
    expected, result = loss(clean, old), loss(filled, old.masked_fill(~batch.mask, filler))
    assert torch.equal(result, expected)
    # no NaN on the way back either
    with torch.autograd.set_detect_anomaly(True):
        assert np.array_equal(gradient(result, filled), gradient(expected, clean))


def test_a_group_is_averaged_over_the_rollouts_that_exist(batch: Batch) -> None:
    rewards = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    sizes = (6, 4, 2, 3)
    rollouts = torch.arange(6) < torch.tensor(sizes)[:, None]
    rewards[~rollouts] = torch.nan
    logprobs = batch.logprobs.masked_fill(~rollouts[..., None], torch.nan)
    a = torch_bridge.advantages("rloo", rewards, 1, mask=rollouts)
    result = policy_gradient_loss(logprobs, a, batch.mask & rollouts[..., None], rollouts=rollouts)
    alone = [
        policy_gradient_loss(
            batch.logprobs[g, :n],
            torch_bridge.advantages("rloo", rewards[g, :n], 1),
            batch.mask[g, :n],
        )
        for g, n in enumerate(sizes)
    ]
    torch.testing.assert_close(result, torch.stack(alone).mean(), rtol=EXACT, atol=0)
    # for whole rollouts the mask does the same
    whole = batch.logprobs.masked_fill(~batch.mask, 0.0).sum(-1).masked_fill(~rollouts, torch.nan)
    torch.testing.assert_close(policy_gradient_loss(whole, a, rollouts), result, rtol=EXACT, atol=0)


def test_a_missing_rollout_has_no_part_whatever_its_tokens(batch: Batch) -> None:
    rollouts = torch.ones(4, 6, dtype=torch.bool)
    rollouts[1] = False
    logprobs = batch.logprobs.masked_fill(~rollouts[..., None], torch.nan)
    result = policy_gradient_loss(logprobs, batch.advantages, rollouts=rollouts)
    kept = [0, 2, 3]
    others = policy_gradient_loss(batch.logprobs[kept], batch.advantages[kept])
    # a group without any rollout counts as zero
    torch.testing.assert_close(result, others * 3 / 4, rtol=EXACT, atol=0)
    assert np.isfinite(gradient(result, batch.logits)).all()


@pytest.mark.parametrize("filler", [torch.nan, -torch.inf, 1e30])
def test_a_missing_rollout_may_hold_anything_with_a_ratio_too(batch: Batch, filler: float) -> None:
    rollouts = torch.arange(6) < torch.tensor((6, 4, 2, 3))[:, None]
    missing = ~rollouts[..., None]
    old = {"old_logprobs": batch.old_logprobs, "clip": 0.2}
    clean = batch.logprobs.detach().requires_grad_()
    expected = policy_gradient_loss(clean, batch.advantages, rollouts=rollouts, **old)
    filled = clean.detach().masked_fill(missing, filler).requires_grad_()
    a = batch.advantages.masked_fill(~rollouts, filler)
    old["old_logprobs"] = batch.old_logprobs.masked_fill(missing, -filler)
    result = policy_gradient_loss(filled, a, rollouts=rollouts, **old)
    assert torch.equal(result, expected)
    assert np.array_equal(gradient(result, filled), gradient(expected, clean))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("clip", [None, 0.2])
def test_a_ratio_beyond_the_dtype_leaves_finite_gradients(dtype: str, clip: float | None) -> None:
    logprobs = torch.tensor([[-1.0, -2.0], [-1.0, -2.0]], dtype=getattr(torch, dtype))
    logprobs.requires_grad_()
    old = torch.tensor([[-9000.0, -2.0], [-9000.0, -2.0]], dtype=getattr(torch, dtype))
    a = torch.tensor([[3.0, -3.0], [-3.0, 3.0]])
    loss = policy_gradient_loss(logprobs, a, old_logprobs=old, clip=clip)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logprobs.grad).all()
    # the ratio of the others is 1
    assert logprobs.grad[:, 1].tolist() == [0.75, -0.75]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_half_precision_is_summed_in_float32(dtype: str) -> None:
    logprobs = torch.full((2, 5000), -0.5, dtype=getattr(torch, dtype), requires_grad=True)
    a = torch.tensor([1.0, 3.0], dtype=torch.float64)
    loss = policy_gradient_loss(logprobs, a)
    assert loss.dtype == torch.float32
    # bfloat16 would stop counting at 128
    assert loss.item() == 5000.0
    loss.backward()
    assert logprobs.grad.dtype == logprobs.dtype


# --- no host access, one graph ------------------------------------------------------------------


def every_form(logprobs: Any, a: Any, mask: Any) -> Any:
    """Use every argument at once."""
    return policy_gradient_loss(
        logprobs,
        a,
        mask,
        rollouts=mask.any(-1),
        old_logprobs=logprobs.detach() + 0.1,
        clip=(0.2, 0.3),
        length_normalised=True,
    )


def test_nothing_on_the_host_depends_on_the_values() -> None:
    with FakeTensorMode():
        logprobs = torch.empty(4, 6, 5, requires_grad=True)
        every_form(logprobs, torch.empty(4, 6), torch.empty(4, 6, 5, dtype=torch.bool)).backward()
        assert logprobs.grad.shape == (4, 6, 5)


def test_advantages_and_loss_compile_to_one_graph(batch: Batch) -> None:
    def step(logprobs: Any, rewards: Any, mask: Any) -> Any:
        a = torch_bridge.advantages("tea", rewards, 64, mask=mask.any(-1))
        return every_form(logprobs, a, mask)

    torch._dynamo.reset()
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    logprobs, mask = batch.logprobs.detach().requires_grad_(), batch.mask.clone()
    mask[1, :2] = False
    loss = compiled(logprobs, batch.advantages, mask)
    expected = step(logprobs, batch.advantages, mask)
    torch.testing.assert_close(loss, expected, rtol=EXACT, atol=0)
    difference = gradient(loss, logprobs) - gradient(expected, logprobs)
    assert np.abs(difference).max() < EXACT
    torch._dynamo.reset()


# --- bad input ----------------------------------------------------------------------------------

A, LOGPROBS = torch.ones(2, 3), torch.zeros(2, 3, 5)
TRUE = torch.ones(2, 3, 5, dtype=torch.bool)
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"logprobs": [0.0]}, TypeError, "logprobs is a list; give a tensor of a float dtype"),
    ({"logprobs": LOGPROBS.long()}, TypeError, "logprobs is of dtype torch.int64; give a tensor"),
    ({"advantages": A.numpy()}, TypeError, "advantages is a ndarray; give a tensor of a float"),
    ({"old_logprobs": TRUE}, TypeError, "old_logprobs is of dtype torch.bool; give a tensor of"),
    ({"mask": TRUE.float()}, TypeError, "mask is of dtype torch.float32; give a boolean tensor"),
    ({"rollouts": [True]}, TypeError, "rollouts is a list; give a boolean tensor"),
    (
        {"advantages": torch.ones(3)},
        ValueError,
        r"logprobs has shape \(2, 3, 5\) and advantages \(3,\); give advantages of shape",
    ),
    ({"advantages": torch.tensor(1.0)}, ValueError, r"advantages \(\); give advantages of shape"),
    ({"logprobs": LOGPROBS[..., :0]}, ValueError, r"logprobs has shape \(2, 3, 0\) .*none of them"),
    ({"mask": TRUE[..., :4]}, ValueError, r"mask has shape \(2, 3, 4\); give one of shape \(2, 3,"),
    ({"rollouts": TRUE}, ValueError, r"rollouts has shape \(2, 3, 5\); give one of shape \(2, 3\)"),
    ({"old_logprobs": A}, ValueError, r"old_logprobs has shape \(2, 3\); give one of shape \(2, 3"),
    ({"clip": 0.2}, ValueError, "clip is 0.2; give old_logprobs, which the ratio needs, or no"),
    ({"clip": 0.0, "old_logprobs": LOGPROBS}, ValueError, r"clip is 0.0; give .* in \(0, 1\]"),
    ({"clip": (0.2, -1), "old_logprobs": LOGPROBS}, ValueError, r"clip is -1.0; give a finite"),
    ({"clip": "0.2", "old_logprobs": LOGPROBS}, TypeError, "clip is '0.2' of type str; give a re"),
    ({"clip": (0.1,) * 3, "old_logprobs": LOGPROBS}, TypeError, r"clip is \(0.1, .*; give a real"),
    ({"length_normalised": 1}, TypeError, "length_normalised is 1; give True or False"),
    (
        {"length_normalised": True, "logprobs": A},
        ValueError,
        r"length_normalised is True; give logprobs of shape \(\.\.\., m, T\), or False",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_input(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        policy_gradient_loss(**{"logprobs": LOGPROBS, "advantages": A, **arguments})
