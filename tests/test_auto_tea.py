"""Auto TEA: units, locations, masks and dtypes decide nothing; what it learns from, and its report.

Its advantages are compared with an independent implementation in test_estimators_definitions.py,
its errors in batches of many kinds with those it had in test_auto_tea_batches.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import tea_stats
from tea_stats import Gumbel, Normal, NormalMixture, auto_tea, batch_report, max_at_k
from tea_stats.estimators import ceilings
from tea_stats.linear import shapes
from tea_stats.linear.library import LIBRARY
from tests.numpy_twin import TWINS

RNG = np.random.default_rng(4)
G, M, N = 12, 16, 128
SMOOTH = RNG.standard_normal((G, M))
VERIFIER = (RNG.random((G, M)) < 0.1).astype(float)
GRADES = RNG.choice(5, (G, M), p=[0.5, 0.3, 0.15, 0.045, 0.005]).astype(float)
SCORED = (RNG.random((G, M)) < 0.4) + 0.1 * RNG.standard_normal((G, M))
MIXED = np.vstack([SMOOTH[:4], VERIFIER[:4], GRADES[:4], SCORED[:4], np.ones((2, M))])
BATCHES = {
    "smooth": SMOOTH,
    "verifier": VERIFIER,
    "grades": GRADES,
    "check and score": SCORED,
    "mixed": MIXED,
    "rounded": SMOOTH.round(1),
    "ceiling": np.minimum(SMOOTH, 1.5),
    "grades in [0 10]": np.clip(np.rint(2.0 * SMOOTH + 6.0), 0.0, 10.0),
}
EVERY = pytest.mark.parametrize("rewards", BATCHES.values(), ids=BATCHES)


@EVERY
def test_a_prompt_has_its_own_unit_and_location(rewards):
    """One prompt's rewards times s plus c: its advantages times s, whatever the others are."""
    plain = auto_tea(rewards, N)
    assert np.abs(plain).max() > 0.1
    for g in range(len(rewards)):
        scale = 2.0 ** RNG.integers(-20, 20)
        moved = rewards.copy()
        moved[g] = scale * (rewards[g] + RNG.integers(-9, 9))
        error = np.abs(auto_tea(moved, N)[g] - scale * plain[g]).max()
        assert error <= 1e-9 * scale * np.abs(plain).max()


@pytest.mark.parametrize("name", ["smooth", "verifier", "check and score"])
def test_all_prompts_may_have_units_of_their_own(name):
    """Where no rewards tie that are not few values, no prompt's unit matters to another."""
    rewards = BATCHES[name]
    scale = 2.0 ** RNG.integers(-20, 20, (len(rewards), 1))
    offset = scale * RNG.integers(-9, 9, (len(rewards), 1))
    plain = auto_tea(rewards, N)
    moved = auto_tea(scale * rewards + offset, N)
    error = np.abs(moved - scale * plain).max(axis=1)
    assert (error <= 1e-9 * scale[:, 0] * np.abs(plain).max()).all()


@EVERY
def test_the_order_of_prompts_and_all_leading_axes_do_not_matter(rewards):
    order = RNG.permutation(len(rewards))
    plain = auto_tea(rewards, N)
    np.testing.assert_allclose(auto_tea(rewards[order], N), plain[order], rtol=1e-9, atol=1e-9)
    cube = auto_tea(rewards.reshape(2, -1, M), N)
    assert np.array_equal(cube.reshape(rewards.shape), plain)


def test_other_kinds_of_prompts_are_not_in_the_way():
    """A verifier's prompts, in any unit, change nothing for smooth ones; nor these for them."""
    alone = auto_tea(SMOOTH, N)
    beside = auto_tea(np.vstack([SMOOTH, 1000.0 * VERIFIER[VERIFIER.any(axis=1)]]), N)
    assert np.array_equal(alone, beside[:G])
    live = VERIFIER[VERIFIER.any(axis=1)]
    alone = auto_tea(live, N)
    np.testing.assert_allclose(auto_tea(np.vstack([SMOOTH, live]), N)[G:], alone, rtol=1e-12)


def test_half_a_step_of_one_reward_changes_its_own_group_alone_by_much():
    grades = np.clip(np.rint(2.0 * SMOOTH + 5.0), 0.0, 10.0)
    moved = grades.copy()
    moved[0, 0] += 0.5
    before, after = auto_tea(grades, N), auto_tea(moved, N)
    assert np.abs(after[1:] - before[1:]).max() < 0.1 * np.abs(before[1:]).max()


@pytest.mark.parametrize("m", [2, 3, 4, 16])
@pytest.mark.parametrize("others", [0, 3])
def test_without_a_group_to_learn_from_it_is_max_at_m(m, others):
    group = RNG.standard_normal((1, m))
    batch = np.vstack([group, np.full((others, m), 7.0)])
    found = auto_tea(batch, N)
    assert np.array_equal(found[:1], max_at_k(group, N))
    assert not found[1:].any()


# --- what a group's advantages are made of ------------------------------------------------------


def test_the_own_rewards_have_no_say_in_the_laws():
    """Unless its own shape is far from them, as that of a group with one reward far off."""
    batch = Gumbel().sample((20, M), np.random.default_rng(2))
    changed = batch.copy()
    changed[3] = Gumbel().sample(M, np.random.default_rng(9))
    weight = np.ones(20)
    before, after, ruled_out = (
        shapes.posterior(np.diff(np.sort(x, axis=1)), weight)
        for x in (batch, changed, np.vstack([batch[:3], np.r_[-1e3, changed[3, 1:]], batch[4:]]))
    )
    np.testing.assert_allclose(before[3], after[3], rtol=1e-9, atol=1e-12)
    assert np.abs(before[4] - after[4]).max() > 1e-6
    assert before[3, -1] < 1e-3
    assert ruled_out[3, -1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["normal", "gumbel", "gumbel_min", "uniform", "weibull(0.65)"])
def test_a_batch_shows_the_law_it_comes_from(name):
    rewards = LIBRARY[name].sample((512, 32), np.random.default_rng(3))
    laws = batch_report(rewards * np.geomspace(1.0, 1e6, 512)[:, None], N).laws
    assert max(laws, key=laws.get) == name
    assert laws["none"] < 0.01


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8, 0.95])
def test_two_kinds_of_answers_are_of_no_law(share):
    law = NormalMixture(share, 0.0, 0.1, 1.0, 0.1)
    report = batch_report(law.sample((64, M), np.random.default_rng(5)), N)
    assert report.laws["none"] > 0.99
    assert report.capped == 1.0
    assert report.effective_N == pytest.approx(M, rel=0.1)


@pytest.mark.parametrize("m", [3, 8, M])
@EVERY
def test_it_is_what_the_definition_gives(rewards, m):
    """Group by group, from an independent implementation: ceilings, dead prompts, few values."""
    for budget in (4, N):
        expected = TWINS["auto_tea"](rewards[:, :m], budget)
        np.testing.assert_allclose(auto_tea(rewards[:, :m], budget), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("m", [600, 1024])
def test_groups_of_many_rollouts_have_finite_advantages(m):
    """A chance of .7 to reach the ceiling, never reached by m rollouts: .3^m underflows."""
    rewards = np.minimum(np.random.default_rng(6).standard_normal((6, m)), 1.5)
    assert np.isfinite(auto_tea(rewards, 2 * m)).all()
    known = ceilings.hits(m, 2 * m)
    assert all(np.isfinite(x).all() for x in known)
    # the probabilities of all numbers of rewards at the ceiling are 1 in all
    np.testing.assert_allclose(np.exp(known.exact).sum(axis=0), 1.0, rtol=1e-9)


# --- masks and dtypes ---------------------------------------------------------------------------


def masked(rewards):
    mask = np.ones(rewards.shape, dtype=bool)
    mask[0, 3:] = False
    mask[1:5, ::4] = False
    return mask, np.where(mask, rewards, np.nan)


@EVERY
def test_numpy_and_torch_agree_on_masks(rewards):
    torch = pytest.importorskip("torch")
    from tea_stats import torch_bridge
    from tea_stats.estimators.masked import masked_advantages

    mask, filled = masked(rewards)
    found = torch_bridge.advantages("auto_tea", torch.tensor(filled), N, mask=torch.tensor(mask))
    expected = masked_advantages(tea_stats.ESTIMATORS["auto_tea"], filled, mask, N)
    assert np.array_equal(found.numpy(), expected)
    assert not expected[~mask].any()
    # what stands in the place of missing rewards, and in which column, decides nothing
    other = np.where(mask, rewards, 1e9)
    assert np.array_equal(
        masked_advantages(tea_stats.ESTIMATORS["auto_tea"], other, mask, N), expected
    )
    turned = masked_advantages(tea_stats.ESTIMATORS["auto_tea"], filled[:, ::-1], mask[:, ::-1], N)
    assert np.array_equal(turned[:, ::-1], expected)
    assert batch_report(filled, N, mask).groups == len(rewards)


def test_groups_of_other_sizes_are_learnt_from():
    """A smooth group of 3 or 12 among groups of 16 is not left to max@m; nor are these alone."""
    from tea_stats.estimators.masked import masked_advantages

    mask, filled = masked(Gumbel().sample((24, M), np.random.default_rng(3)))
    estimator = tea_stats.ESTIMATORS["auto_tea"]
    found = masked_advantages(estimator, filled, mask, N)
    kept = filled[1:5][mask[1:5]].reshape(4, -1)
    alone = auto_tea(kept, N)
    together = found[1:5][mask[1:5]].reshape(4, -1)
    whole = auto_tea(Gumbel().sample((24, 12), np.random.default_rng(4)), N)
    # alone, four groups are nearly max@m: their top gap has about its slope m
    gap = np.diff(np.sort(kept, axis=1), axis=1)

    def steepness(advantages):
        return np.ptp(advantages, axis=1).sum() / gap.sum()

    best = max_at_k(kept, N)
    assert abs(steepness(alone) - steepness(best)) < abs(steepness(together) - steepness(best))
    assert np.abs(found[0, :3] - max_at_k(filled[:1, :3], N)).max() > 0.1
    assert whole.shape == (24, 12)
    report = batch_report(filled, N, mask)
    assert report.others == pytest.approx(23.0)
    assert report.laws["none"] < 0.2


def test_verifiers_of_several_sizes_are_one_batch():
    """How rare successes are, groups of other sizes show, too."""
    from tea_stats.estimators.masked import masked_advantages

    mask = np.ones((62, M), dtype=bool)
    mask[2:, 12:] = False
    one = np.zeros((2, M))
    one[:, 0] = 1.0
    found = {}
    for share in (0.02, 0.5):
        others = (np.random.default_rng(8).random((60, M)) < share).astype(float)
        batch = np.vstack([one, others])
        found[share] = masked_advantages(tea_stats.ESTIMATORS["auto_tea"], batch, mask, N)[0, 0]
    alone = auto_tea(one, N)[0, 0]
    # T = N (1 - p)^(N - 1) is 10 at p = .02 and nothing at .5
    assert found[0.02] > 5.0
    assert found[0.5] < 0.2 * found[0.02]
    assert found[0.5] < alone


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
@EVERY
def test_halves_change_no_more_than_their_rounding(rewards, name):
    """Advantages of rounded rewards: those of the same numbers in float64; near the exact ones."""
    torch = pytest.importorskip("torch")
    from tea_stats import torch_bridge

    half = torch.tensor(rewards).to(getattr(torch, name))
    found = torch_bridge.advantages("auto_tea", half, N).numpy()
    np.testing.assert_array_equal(found, auto_tea(half.double().numpy(), N))
    exact = auto_tea(rewards, N)
    step = torch.finfo(half.dtype).eps * np.abs(rewards).max(axis=1, keepdims=True)
    assert (np.abs(found - exact) <= 4 * N * step + 1e-12).all()
    # far from what another treatment of the batch would give
    size = np.sqrt((exact**2).mean())
    assert np.sqrt(((found - exact) ** 2).mean()) < 0.05 * size


# --- the report ---------------------------------------------------------------------------------


def test_the_report_says_what_a_batch_was_taken_for():
    report = batch_report(Normal().sample((64, M), np.random.default_rng(1)), N)
    assert (report.groups, report.alike, report.few_valued, report.capped) == (64, 0, 0.0, 0.0)
    assert report.others == 63.0
    assert report.effective_N == pytest.approx(N, rel=0.01)
    assert sum(report.laws.values()) == pytest.approx(1.0)
    assert "most like normal" in str(report)
    verifier = batch_report(VERIFIER, N)
    assert verifier.few_valued == 1.0
    assert verifier.alike == (np.ptp(VERIFIER, axis=1) == 0).sum()
    assert verifier.effective_N == pytest.approx(N)
    assert "few-valued by 100%" in str(verifier)
    assert "no law of the library fits" in str(batch_report(SCORED, N))


def test_the_report_says_where_nothing_can_be_learnt():
    assert "nothing can be learnt" in str(batch_report(np.ones((3, 4)), N))
    single = batch_report(SMOOTH[:1], N)
    assert "no other group to learn a law from" in str(single)
    assert (single.others, single.capped, single.effective_N) == (0.0, 1.0, pytest.approx(M))
    small = batch_report(SMOOTH[:2], N, mask=np.arange(M) < [[1], [1]])
    assert (small.groups, small.effective_N) == (0, pytest.approx(M))


@EVERY
def test_metrics_are_plain_numbers(rewards):
    metrics = batch_report(rewards, N).metrics()
    assert all(type(value) is float and np.isfinite(value) for value in metrics.values())
    laws = sum(value for name, value in metrics.items() if name.startswith("law_"))
    assert laws == pytest.approx(1.0)
    assert set(metrics) == set(batch_report(np.ones((1, 2)), 1).metrics())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((SMOOTH, 0), ValueError, "N is 0"),
        (([[1.0, np.nan]], 4), ValueError, "nan"),
        (([[1.0]], 4), ValueError, "m ≥ 2|at least 2"),
        ((SMOOTH, 4, np.ones((G, M))), ValueError, "mask has dtype float64.*booleans"),
        ((SMOOTH, 4, np.ones(M, dtype=bool)), ValueError, r"mask has .* shape \(16,\)"),
    ],
)
def test_bad_input_to_the_report(arguments, error, message):
    with pytest.raises(error, match=message):
        batch_report(*arguments)


def test_it_is_the_recommended_one():
    assert tea_stats.RECOMMENDED == "auto_tea"
    found = tea_stats.advantages("auto_tea", SMOOTH, 64, prompts=1)
    assert np.abs(found - auto_tea(SMOOTH, 64)).max() > 1e-3
