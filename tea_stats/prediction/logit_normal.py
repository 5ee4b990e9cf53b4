"""Logit-normal: rewards of few values, each prompt's log odds of success a normal draw."""

from __future__ import annotations

from tea_stats.prediction.few_valued import FewValued
from tea_stats.prediction.success_laws import LOGIT_NORMAL


class LogitNormal(FewValued):
    """As the beta-binomial fit, with log(p/(1 − p)) normal: small p thin out more slowly."""

    title = "logit-normal"
    colour = "#CC79A7"
    unbiased_on = "rewards of few values with log odds of a normal law, many prompts"
    formula = "V̂_N = Σ_j (v_j − v_{j−1}) E[(1 − π)(1 − E(1 − p)^N)] over the posterior"
    reference = "logistic-normal binomial model, as in generalised linear mixed models"
    families = (LOGIT_NORMAL,)
