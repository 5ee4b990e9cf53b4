"""One function for each trainer: from a batch to the advantages that its own code ends up with.

The trainer itself where it is installed, a stand-in otherwise. The functions of uneven groups take
the batch of `trainer_stand_ins`, the others TABLE, and return an advantage for each rollout.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import SimpleNamespace

import numpy as np
import torch

from tea_stats.integrations import ms_swift, nemo_rl, openrlhf, prime_rl, rllm, roll, tinker
from tests import trainer_stand_ins as stand_ins
from tests.trainer_stand_ins import GROUPS, MASK, REWARDS

#: three groups of four in the order of the batch, for trainers whose groups are blocks of it
TABLE = torch.from_numpy(np.random.default_rng(5).normal(size=(3, 4)))


def by_label(values):
    """Return a list with the values of each of the groups a, b and c."""
    return [
        [v for v, group in zip(values, GROUPS, strict=True) if group == label] for label in "abc"
    ]


# --- uneven groups ---


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
        config = SimpleNamespace(
            grpo=grpo.GRPOConfig(), loss_fn=ClippedPGLossConfig.model_construct()
        )
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
            monkeypatch,
            stand_ins.RLLM,
            register_rllm_adv_estimator=lambda key: lambda f: known.update({key: f}),
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
        result[[i for i, group in enumerate(GROUPS) if group == label]] = torch.as_tensor(
            values
        ).double()
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
    data, *_ = asyncio.run(train.prepare_minibatch(builders, batch, tokenizer, None, 0.0, 0.0))
    values = iter(
        set(np.trim_zeros(datum.loss_fn_inputs["advantages"].tolist(), "f")) or {0.0}
        for datum in data
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


# --- groups that are blocks of the batch ---


def drive_openrlhf(monkeypatch, name, penalty=0.0, **settings):
    """Return the advantages at each token, of experiences whose rollouts are mixed."""
    order = torch.tensor([5, 0, 11, 3, 7, 1, 2, 10, 9, 4, 8, 6])
    mask = (torch.arange(5) < torch.tensor([5, 3, 1, 4, 2, 5, 2, 3, 4, 1, 5, 3])[:, None]).long()
    kl = torch.from_numpy(np.random.default_rng(2).normal(size=(12, 5))).float()
    rewards = TABLE.flatten().float()
    experiences = [
        SimpleNamespace(
            index=part.tolist(), rewards=rewards[part], action_mask=mask[part], kl=kl[part],
            info={}, values=None,
        )
        for part in order.split([5, 4, 3])
    ]  # fmt: skip
    algo = SimpleNamespace(
        advantage=SimpleNamespace(estimator="dr_grpo", gamma=1.0, no_std_norm=False)
    )
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


def roll_config(**changes):
    infer = SimpleNamespace(generating_args=SimpleNamespace(num_return_sequences=4))
    settings = {
        "adv_estimator": "reinforce", "gamma": 1.0, "reward_clip": None, "advantage_clip": None,
        "whiten_rewards": False, "whiten_advantages": False, "norm_mean_type": None,
        "norm_std_type": None, "actor_infer": infer, "add_token_level_kl": False,
        "kl_penalty": "kl", "is_pure_opd": False, "use_opd": False, **changes,
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
