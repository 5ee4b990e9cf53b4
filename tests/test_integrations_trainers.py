"""The adapters of prime-rl, OpenRLHF, NeMo-RL, ROLL, rLLM, Tinker and ms-swift.

These bring their own torch, or are in no package index, so CI does not have them: there stand-ins
make their calls. Where one is installed its own code is run instead, from the place where it calls
for advantages; docs/trainers.md says which were.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tea_stats import torch_bridge
from tea_stats.integrations import (
    groups,
    ms_swift,
    nemo_rl,
    openrlhf,
    prime_rl,
    replacing,
    rllm,
    roll,
    tinker,
)
from tea_stats.integrations.recent import RecentGroups
from tests import trainer_stand_ins as stand_ins
from tests.trainer_stand_ins import GROUPS, MASK, REWARDS, by_hand

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),
]

NAN = float("nan")
#: three groups of four in the order of the batch, for trainers whose groups are blocks of it
TABLE = torch.from_numpy(np.random.default_rng(5).normal(size=(3, 4)))


# --- groups that come as lists, or one at a time ---------------------------------------------------


def by_label(values):
    """Return a list with the values of each of the groups a, b and c."""
    return [[v for v, group in zip(values, GROUPS, strict=True) if group == label] for label in "abc"]


@pytest.mark.parametrize("name", ["tea", "linear_tea", "max_at_k", "rloo"])
def test_groups_as_lists(name):
    result = groups.nested_advantages(name, by_label(REWARDS.tolist()), 32)
    assert [a.tolist() for a in result] == by_label(by_hand(name).tolist())
    missing = groups.nested_advantages(name, [[1.0, None, 3.0, 2.0], [], [NAN, 1.0, 0.0, 5.0]], 32)
    assert [len(a) for a in missing] == [4, 0, 4]
    assert missing[0][1] == missing[2][0] == 0.0
    expected = torch_bridge.advantages(name, torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64), 32)
    assert torch.equal(missing[0][[0, 2, 3]], expected)
    assert groups.nested_advantages(name, [], 32) == []


@pytest.mark.parametrize("name", ["auto_tea", "adaptive_tea", "beta_binomial", "tea"])
def test_a_group_is_seen_in_the_batch_of_those_before_it(name):
    rng = np.random.default_rng(0)
    batch = torch.from_numpy(rng.normal(size=(20, 8)) if name != "beta_binomial" else rng.integers(0, 2, (20, 8)).astype(float))
    recent = RecentGroups(name, 64, keep=15)
    one_by_one = [recent.advantages(row.tolist()) for row in batch]
    for place in (0, 4, 19):
        seen = batch[max(place - 15, 0) : place + 1]
        expected = torch_bridge.advantages(name, seen, 64)[-1]
        torch.testing.assert_close(one_by_one[place], expected, rtol=1e-12, atol=1e-12)
    assert len(recent.recent) == (0 if name == "tea" else 15)


def test_groups_that_shrink_or_fail_do_not_end_a_run():
    recent = RecentGroups("max_at_k", 64, unit_rms=True)
    full = recent.advantages([0.0, 1.0, 2.0, 5.0])
    assert full.square().mean().item() == pytest.approx(1.0)
    assert recent.advantages([3.0]).tolist() == [0.0]
    assert recent.advantages([None, None]).tolist() == [0.0, 0.0]
    smaller = recent.advantages([1.0, None, 2.0])
    assert smaller[1] == 0.0 and smaller[2] > 0.0
    assert recent.advantages([]).tolist() == []
    with pytest.raises(ValueError, match="keep is -1; give the number of earlier groups"):
        RecentGroups("tea", 64, keep=-1)
    with pytest.raises(ValueError, match=r"is inf; drop or repair such rollouts"):
        recent.advantages([1.0, float("inf")])


def test_one_number_for_all_groups_that_are_kept():
    recent = RecentGroups("tea", 64, unit_rms=True, keep=1)
    for row in TABLE:
        last = recent.advantages(row.tolist())
    pair = torch_bridge.advantages("tea", TABLE[1:], 64)
    torch.testing.assert_close(last, (pair / pair.square().mean().sqrt())[1], rtol=1e-9, atol=0)


def test_few_groups_that_are_kept_are_reported(monkeypatch):
    monkeypatch.setattr(groups, "_warned", set())
    with pytest.warns(UserWarning, match="a batch has 8 groups, and auto_tea learns.*raise keep"):
        RecentGroups("auto_tea", 64, keep=7)


# --- each trainer, through its own call --------------------------------------------------------------


def drive_prime_rl(monkeypatch, name, **settings):
    if not stand_ins.HAVE_PRIME_RL:
        stand_ins.prime_rl(monkeypatch)
    made = prime_rl.algorithm(name, N=32, **settings)(SimpleNamespace(), policy_pool=None)
    result = torch.zeros(len(GROUPS), dtype=torch.float64)
    for label in "abc":
        rows = [i for i, group in enumerate(GROUPS) if group == label]
        episodes = stand_ins.traces(REWARDS[rows].tolist())
        asyncio.run(made.score_group(episodes))
        result[rows] = torch.tensor(stand_ins.credit(episodes), dtype=torch.float64)
    return result


def drive_nemo_rl(monkeypatch, name, **settings):
    prompts = torch.tensor([[7, 7, "abc".index(group)] for group in GROUPS])
    call = {"prompt_ids": prompts, "rewards": REWARDS.float(), "mask": MASK, "repeated_batch": {}}
    if stand_ins.HAVE_NEMO_RL:
        from nemo_rl.algorithms import grpo
        from nemo_rl.algorithms.loss import ClippedPGLossConfig

        monkeypatch.setattr(grpo, "GRPOAdvantageEstimator", grpo.GRPOAdvantageEstimator)
        nemo_rl.register(name, N=32, **settings)
        config = SimpleNamespace(grpo=grpo.GRPOConfig(), loss_fn=ClippedPGLossConfig.model_construct())
        made = grpo._create_advantage_estimator(config)
    else:
        module = stand_ins.install(
            monkeypatch, "nemo_rl.algorithms.grpo", GRPOAdvantageEstimator=object()
        )
        nemo_rl.register(name, N=32, **settings)
        made = module.GRPOAdvantageEstimator({"name": "grpo"}, object())
    tokens = made.compute_advantage(**call)
    assert tokens.shape == MASK.shape and torch.equal(tokens[:, 0], tokens[:, -1])
    return tokens[:, 0]


def drive_rllm(monkeypatch, name, **settings):
    if stand_ins.HAVE_RLLM:
        from omegaconf import OmegaConf
        from rllm.trainer.algorithms import advantage
        from rllm.trainer.algorithms.config import AlgorithmConfig
        from rllm.types import Step, Trajectory, TrajectoryGroup

        monkeypatch.setattr(
            advantage, "RLLM_ADV_ESTIMATOR_REGISTRY", dict(advantage.RLLM_ADV_ESTIMATOR_REGISTRY)
        )
        config = AlgorithmConfig.from_config(
            OmegaConf.create({"adv_estimator": rllm.register(name, N=32, **settings)})
        )
        # each rollout has two steps, which share its advantage
        batch = [
            TrajectoryGroup(
                group_id=f"{label}:agent",
                trajectories=[
                    Trajectory(name="agent", reward=r, steps=[Step(), Step()]) for r in rewards
                ],
            )
            for label, rewards in zip("abc", by_label(REWARDS.tolist()), strict=True)
        ]
        advantage.collect_reward_and_advantage_from_trajectory_groups(batch, config)
        values = [[[s.advantage for s in t.steps] for t in g.trajectories] for g in batch]
        assert all(first == second for group in values for first, second in group)
        nested = [[steps[0] for steps in group] for group in values]
    else:
        known = {}
        stand_ins.install(
            monkeypatch, stand_ins.RLLM, register_rllm_adv_estimator=lambda key: lambda f: known.update({key: f})
        )
        assert rllm.register(name, N=32, **settings) == "other"
        assert known["other"] is known[name]
        arrays = [np.array(rewards) for rewards in by_label(REWARDS.tolist())]
        nested, same = known["other"](
            rewards=arrays, algorithm_config=object(), traj_groups=[object()] * 3
        )
        assert all(np.array_equal(x, y) for x, y in zip(nested, same, strict=True))
    result = torch.zeros(len(GROUPS), dtype=torch.float64)
    for label, values in zip("abc", nested, strict=True):
        result[[i for i, group in enumerate(GROUPS) if group == label]] = torch.as_tensor(values)
    return result


def drive_tinker(monkeypatch, name, **settings):
    if stand_ins.HAVE_TINKER:
        values = real_tinker(monkeypatch, name, **settings)
    else:
        home = "tinker_cookbook.rl"

        def print_group(group, tokenizer):
            assert compute_advantages([group]) == "the cookbook's own"  # noqa: F821

        own = {"compute_advantages": lambda batch: "the cookbook's own"}
        train = stand_ins.install(monkeypatch, f"{home}.train", **own)
        # a function finds names where it was defined
        train.print_group = type(print_group)(print_group.__code__, vars(train))
        data = stand_ins.install(monkeypatch, f"{home}.data_processing", **own)
        for module, short in ((train, "train"), (data, "data_processing")):
            monkeypatch.setitem(sys.modules, f"{home}.{short}", module)
            setattr(sys.modules[home], short, module)
        tinker.register(name, N=32, **settings)
        tinker.register(name, N=32, **settings)
        train.print_group(object(), object())
        batch = [
            SimpleNamespace(get_total_rewards=lambda rewards=rewards: rewards)
            for rewards in by_label(REWARDS.tolist())
        ]
        values = train.compute_advantages(batch)
    result = torch.zeros(len(GROUPS), dtype=torch.float64)
    for label, of_group in zip("abc", values, strict=True):
        rows = [i for i, group in enumerate(GROUPS) if group == label]
        result[rows] = torch.as_tensor(of_group).double()
    return result


def real_tinker(monkeypatch, name, **settings):
    """Return the advantages in the data that the cookbook makes of groups of two turns each."""
    import tinker as api
    from tinker_cookbook.completers import TokensWithLogprobs
    from tinker_cookbook.rl import train
    from tinker_cookbook.rl.types import Trajectory, TrajectoryGroup, Transition

    for key in ("compute_advantages", "print_group"):
        monkeypatch.setattr(train, key, getattr(train, key))
    tinker.register(name, N=32, **settings)

    def trajectory(reward):
        # the second observation does not continue the first: two data of one rollout
        turns = [([1, 2], [3, 4], 0.0), ([8], [9, 5, 6], reward - 1.0)]
        return Trajectory(
            transitions=[
                Transition(
                    ob=api.ModelInput.from_ints(seen),
                    ac=TokensWithLogprobs(tokens=said, maybe_logprobs=[-0.5] * len(said)),
                    reward=part,
                    episode_done=seen == [8],
                )
                for seen, said, part in turns
            ],
            final_ob=api.ModelInput.from_ints([]),
        )

    batch = [
        TrajectoryGroup([trajectory(r) for r in rewards], [1.0] * len(rewards), [{}] * len(rewards))
        for rewards in by_label(REWARDS.tolist())
    ]
    builders = [SimpleNamespace(logging_tags=lambda: []) for _ in batch]
    tokenizer = SimpleNamespace(decode=str)
    data, _ = asyncio.run(train.prepare_minibatch(builders, batch, tokenizer, None, 0.0, 0.0))
    values = iter(
        set(np.trim_zeros(datum.loss_fn_inputs["advantages"].tolist(), "f")) or {0.0} for datum in data
    )
    nested = []
    for group in batch:
        nested.append([])
        for _ in group.trajectories_G:
            (first,), (second,) = next(values), next(values)
            assert first == second
            nested[-1].append(first)
    return nested


def drive_swift_dynamic(monkeypatch, name, **settings):
    module = swift_module(monkeypatch)
    ms_swift.register(name, N=32, **settings)
    # the rollout at place 3 became two samples
    rows = [*range(10), 3]
    advantages, rewards = module.compute_advantages_dynamic(
        rewards_per_func=torch.stack([REWARDS[rows] / 2, REWARDS[rows]], dim=1),
        reward_weights=torch.tensor([1.0, 0.5], dtype=torch.float64),
        prompt_ids=[GROUPS[i] for i in rows],
        request_ids=[f"request {i}" for i in rows],
        advantage_estimator="grpo",
        scale_rewards="group",
        kl_in_reward=False,
        beta=0.04,
        kl_values=None,
    )
    assert torch.equal(rewards, REWARDS[rows])
    assert advantages[10] == advantages[3]
    return advantages[:10]


def swift_module(monkeypatch):
    """Return ms-swift's module of advantages, whose names the test may change."""
    home = "swift.rl_core.advantage"
    names = ("compute_advantages", "compute_advantages_dynamic")
    if not stand_ins.HAVE_SWIFT:
        return stand_ins.install(monkeypatch, home, **dict.fromkeys(names, object()))
    module = importlib.import_module(home)
    for key in names:
        monkeypatch.setattr(module, key, getattr(module, key))
    return module


DRIVES = [drive_prime_rl, drive_nemo_rl, drive_rllm, drive_tinker, drive_swift_dynamic]


@pytest.mark.parametrize("drive", DRIVES, ids=lambda f: f.__name__.removeprefix("drive_"))
@pytest.mark.parametrize(
    ("name", "options"), [("tea", {"alpha": 0.5}), ("linear_tea", {}), ("max_at_k", {"k": 3})]
)
def test_uneven_groups_get_the_advantages_of_the_estimator(drive, name, options, monkeypatch):
    result = drive(monkeypatch, name, **options)
    expected = by_hand(name, **options)
    assert expected.abs().max() > 1.0
    torch.testing.assert_close(result.double(), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("drive", DRIVES[1:], ids=lambda f: f.__name__.removeprefix("drive_"))
def test_unit_rms_reaches_each_trainer(drive, monkeypatch):
    result = drive(monkeypatch, "tea", unit_rms=True)
    expected = groups.batch_advantages("tea", REWARDS, GROUPS, 32, unit_rms=True)
    torch.testing.assert_close(result.double(), expected, rtol=2e-6, atol=1e-6)


# --- trainers whose groups are blocks of the batch ----------------------------------------------------


def drive_openrlhf(monkeypatch, name, penalty=0.0, **settings):
    """Return the advantages at each token, of experiences whose rollouts are mixed."""
    order = torch.tensor([5, 0, 11, 3, 7, 1, 2, 10, 9, 4, 8, 6])
    mask = (torch.arange(5) < torch.tensor([5, 3, 1, 4, 2, 5, 2, 3, 4, 1, 5, 3])[:, None]).long()
    kl = torch.from_numpy(np.random.default_rng(2).normal(size=(12, 5))).float()
    rewards = TABLE.flatten().float()
    experiences = [
        SimpleNamespace(
            index=part.tolist(), rewards=rewards[part], action_mask=mask[part], kl=kl[part], info={},
            values=None,
        )
        for part in order.split([5, 4, 3])
    ]  # fmt: skip
    algo = SimpleNamespace(advantage=SimpleNamespace(estimator="dr_grpo", gamma=1.0, no_std_norm=False))
    args = SimpleNamespace(
        algo=algo,
        rollout=SimpleNamespace(n_samples_per_prompt=4),
        reward=SimpleNamespace(
            clip_range=(-0.1, 0.1), overlong_buffer_len=None, stop_properly_penalty_coef=None
        ),
    )  # fmt: skip
    if stand_ins.HAVE_OPENRLHF:
        from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker as base
    else:

        class base:
            def compute_advantages_and_returns(self, experiences):
                for experience in experiences:
                    experience.kl = None
                    experience.advantages = torch.full(experience.action_mask.shape, 99.0)
                return experiences

    made = object.__new__(openrlhf.maker_class(base, name, N=32, **settings))
    made.strategy, made.args = SimpleNamespace(args=args), args
    made.advantage_estimator, made.kl_ctl = "dr_grpo", SimpleNamespace(value=penalty)
    result = torch.zeros(12, 5)
    for experience in made.compute_advantages_and_returns(experiences):
        result[experience.index] = experience.advantages
        assert torch.equal(experience.advantages, experience.returns)
    return result, mask, kl


@pytest.mark.parametrize("name", ["tea", "linear_tea", "max_at_k"])
def test_openrlhf(name, monkeypatch):
    result, mask, _ = drive_openrlhf(monkeypatch, name)
    expected = torch_bridge.advantages(name, TABLE, 32).flatten().float()
    torch.testing.assert_close(result, expected[:, None] * mask, rtol=1e-5, atol=1e-6)


def test_openrlhf_subtracts_its_penalty_from_each_token_on(monkeypatch):
    result, mask, kl = drive_openrlhf(monkeypatch, "tea", penalty=0.2)
    expected = torch_bridge.advantages("tea", TABLE, 32).flatten().float()
    for row in range(12):
        for token in range(5):
            ahead = sum(float(kl[row, t]) for t in range(token, 5) if mask[row, t])
            value = (float(expected[row]) - 0.2 * ahead) * float(mask[row, token])
            assert float(result[row, token]) == pytest.approx(value, abs=1e-5)


def test_openrlhfs_other_estimators_are_refused(monkeypatch):
    made = object.__new__(openrlhf.maker_class(object, "tea", N=32))
    advantage = SimpleNamespace(estimator="reinforce")
    made.strategy = SimpleNamespace(args=SimpleNamespace(algo=SimpleNamespace(advantage=advantage)))
    with pytest.raises(ValueError, match="is 'reinforce', which normalises.*estimator dr_grpo"):
        made.compute_advantages_and_returns([])


def test_openrlhfs_actors_are_replaced(monkeypatch):
    class Trainer:
        def __init__(self, strategy):
            self.experience_maker = type("Maker", (), {"compute_advantages_and_returns": None})()

    def remote(cls):
        return SimpleNamespace(__ray_metadata__=SimpleNamespace(modified_class=cls))

    trainers = stand_ins.install(monkeypatch, "openrlhf.trainer.ppo_trainer", PPOTrainer=remote(Trainer))
    home = sys.modules["openrlhf.trainer"]
    home.ppo_trainer = trainers
    home.ppo_trainer_async = SimpleNamespace(TrainingActor=remote(Trainer))
    stand_ins.install(monkeypatch, "ray", remote=remote)
    openrlhf.register("tea", N=32)
    for actor in (home.ppo_trainer.PPOTrainer, home.ppo_trainer_async.TrainingActor):
        maker = actor.__ray_metadata__.modified_class("strategy").experience_maker
        assert type(maker).__name__ == "BestOfNExperienceMaker"
        assert type(maker).__mro__[1].__name__ == "Maker"


def roll_config(**changes):
    infer = SimpleNamespace(generating_args=SimpleNamespace(num_return_sequences=4))
    settings = {
        "adv_estimator": "reinforce", "gamma": 1.0, "reward_clip": None, "advantage_clip": None,
        "whiten_rewards": False, "whiten_advantages": False, "norm_mean_type": None,
        "norm_std_type": None, "actor_infer": infer, "add_token_level_kl": False, "kl_penalty": "kl",
        "is_pure_opd": False, "use_opd": False, **changes,
    }  # fmt: skip
    return SimpleNamespace(**settings)


def drive_roll(monkeypatch, name, **settings):
    """Return the advantage of each row; in the second group one is masked."""
    lengths = torch.tensor([5, 3, 1, 4, 2, 5, 2, 3, 4, 1, 5, 3])
    response = (torch.arange(5) < lengths[:, None]).long()
    attention = torch.cat([torch.ones(12, 2, dtype=torch.long), response], dim=1)
    full = torch.cat([torch.zeros(12, 2, dtype=torch.long), response], dim=1)
    counted = full[:, 1:].clone()
    counted[6] = 0
    batch = {
        "response_level_rewards": TABLE.flatten().float(),
        "attention_mask": attention,
        "position_ids": torch.arange(7).expand(12, 7).clone(),
        "response_mask": full,
        "final_response_mask": counted,
        "old_log_probs": torch.zeros(12, 6),
        "ref_log_probs": torch.zeros(12, 6),
    }
    if not stand_ins.HAVE_ROLL:
        module = stand_ins.install(
            monkeypatch, "roll.utils.functionals", reward_postprocess=object()
        )
        sys.modules["roll.utils"].functionals = module
        roll.register(name, N=32, **settings)
        data, metrics = module.reward_postprocess(SimpleNamespace(batch=batch), roll_config(), {})
        assert metrics == {"critic/reward_clip_frac": 0.0}
        return data.batch["response_level_rewards"]
    from roll.distributed.scheduler.protocol import DataProto
    from roll.utils import functionals
    from roll.utils.kl_controller import FixedKLController

    monkeypatch.setattr(functionals, "reward_postprocess", functionals.reward_postprocess)
    roll.register(name, N=32, **settings)
    data, _ = functionals.reward_postprocess(DataProto.from_single_dict(batch), roll_config(), {})
    data, _ = functionals.compute_token_reward(data, roll_config(), FixedKLController(0.1))
    data = functionals.compute_advantage(
        data=data, gamma=1.0, lambd=1.0, adv_estimator="reinforce",
        response_mask=data.batch["final_response_mask"].clone(), pipeline_config=roll_config(),
    )  # fmt: skip
    tokens = data.batch["advantages"]
    values = tokens.gather(1, counted.argmax(dim=1, keepdim=True))
    torch.testing.assert_close(tokens, values * counted, rtol=0, atol=0)
    return values[:, 0]


@pytest.mark.parametrize("name", ["tea", "linear_tea", "max_at_k"])
def test_roll(name, monkeypatch):
    result = drive_roll(monkeypatch, name)
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 2] = False
    expected = torch_bridge.advantages(name, TABLE, 32, mask=mask).flatten().float()
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"adv_estimator": "grpo"}, "adv_estimator is 'grpo'.*set adv_estimator: reinforce"),
        ({"gamma": 0.99}, "gamma is 0.99.*set gamma: 1.0"),
        ({"whiten_advantages": True}, "set whiten_advantages: False"),
        ({"whiten_rewards": True}, "set whiten_rewards: False"),
        ({"reward_clip": 10}, "reward_clip is 10.*set reward_clip: null"),
        ({"advantage_clip": 2.0}, "set advantage_clip: null"),
    ],
)
def test_rolls_settings_that_change_advantages_are_refused(change, cure):
    made = roll.reward_postprocess_function("tea", N=32)
    data = SimpleNamespace(batch={"response_level_rewards": TABLE.flatten()})
    with pytest.raises(ValueError, match=cure):
        made(data, roll_config(**change))
    with pytest.raises(ValueError, match="11 rows, no multiple of num_return_sequences = 4"):
        made(SimpleNamespace(batch={"response_level_rewards": TABLE.flatten()[:11]}), roll_config())


def test_swifts_groups_of_one_size(monkeypatch):
    module = swift_module(monkeypatch)
    ms_swift.register("linear_tea", N=32)
    rewards = TABLE.flatten()
    per_function = torch.stack([rewards, torch.full_like(rewards, NAN)], dim=1)
    per_function[5, 0] = NAN
    weights = torch.tensor([2.0, 1.0], dtype=torch.float64)
    settings = {"advantage_estimator": "rloo", "scale_rewards": "none", "kl_in_reward": True}
    kl = torch.linspace(0, 1, 12, dtype=torch.float64)
    advantages, returned = module.compute_advantages(
        per_function, weights, num_generations=4, beta=0.5, kl_values=kl, **settings
    )
    expected = 2.0 * rewards - 0.5 * kl
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 1] = False
    by_bridge = torch_bridge.advantages("linear_tea", expected.reshape(3, 4), 32, mask=mask)
    torch.testing.assert_close(advantages, by_bridge.flatten(), rtol=1e-12, atol=1e-12)
    assert torch.equal(returned[[0, 11]], expected[[0, 11]]) and returned[5] == -0.5 * kl[5]
    # an evaluation with one rollout a prompt has no advantages
    assert not module.compute_advantages(per_function, weights, num_generations=1, **settings)[0].any()


# --- what is special to one ---------------------------------------------------------------------------


def test_prime_rls_agents_are_groups_of_their_own(monkeypatch):
    if not stand_ins.HAVE_PRIME_RL:
        stand_ins.prime_rl(monkeypatch)
    made = prime_rl.algorithm("rloo", N=16)(SimpleNamespace(), policy_pool=None)
    rewards = [1.0, 10.0, 3.0, None, 30.0, 5.0]
    agents = ["first", "second", "first", "first", "second", "frozen"]
    episodes = stand_ins.traces(rewards, agents)
    asyncio.run(made.score_group(episodes))
    assert stand_ins.credit(episodes) == [-2.0, -20.0, 2.0, None, 20.0, None]


def test_prime_rls_environments_do_not_share_what_they_learn(monkeypatch):
    if not stand_ins.HAVE_PRIME_RL:
        stand_ins.prime_rl(monkeypatch)
    kind = prime_rl.algorithm("auto_tea", N=64)
    first, second = (kind(SimpleNamespace(), policy_pool=None) for _ in range(2))
    rng = np.random.default_rng(0)
    for row in rng.normal(size=(20, 8)):
        asyncio.run(first.score_group(stand_ins.traces(row.tolist())))
    assert len(first.agents["agent"].recent) == 20 and not second.agents


def test_prime_rls_length_penalty_is_refused(monkeypatch):
    if not stand_ins.HAVE_PRIME_RL:
        stand_ins.prime_rl(monkeypatch)
    kind = prime_rl.algorithm("tea", N=64)
    with pytest.raises(ValueError, match="length_penalty is set, which tea does not know"):
        kind(SimpleNamespace(length_penalty=object()), policy_pool=None)


def test_nemo_rls_filtered_rollout_leaves_its_group(monkeypatch):
    made = nemo_rl.advantage_class("rloo", N=16)()
    prompts, mask = torch.tensor([[1], [1], [1], [2], [2]]), torch.ones(5, 3)
    mask[1] = 0.0
    values = made.compute_advantage(prompts, torch.tensor([0.0, 9.0, 2.0, 5.0, 1.0]), mask)
    assert values[:, 0].tolist() == [-2.0, 0.0, 2.0, 4.0, -4.0]


@pytest.mark.parametrize(
    "make",
    [
        prime_rl.algorithm, nemo_rl.advantage_class, rllm.advantage_function,
        tinker.advantage_function, ms_swift.advantage_functions, roll.reward_postprocess_function,
        lambda *args, **options: openrlhf.maker_class(object, *args, **options),
    ],
)  # fmt: skip
def test_each_checks_its_settings_before_the_run(make, monkeypatch):
    if not stand_ins.HAVE_PRIME_RL:
        stand_ins.prime_rl(monkeypatch)
    with pytest.raises(ValueError, match="estimator 'best' is unknown"):
        make("best", 32)
    with pytest.raises(ValueError, match="N is 0"):
        make("tea", 0)
    with pytest.raises(TypeError, match="tea has no option 'beta'"):
        make("tea", 32, beta=1.0)


def test_another_version_of_a_trainer_is_noticed(monkeypatch):
    home = stand_ins.install(monkeypatch, "some_trainer.core", other=1)
    with pytest.raises(RuntimeError, match="some_trainer.core has no compute: this version"):
        replacing.replace(home, "compute", object())


def test_a_module_is_changed_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "late_module_of_a_trainer.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    name = "late_module_of_a_trainer"
    replacing.when_imported(name, lambda module: setattr(module, "value", module.value + 1))
    module = importlib.import_module(name)
    assert module.value == 2
    # loaded: at once
    replacing.when_imported(name, lambda module: setattr(module, "value", 7))
    assert module.value == 7
    monkeypatch.delitem(sys.modules, name)
    assert importlib.import_module(name).value == 1
