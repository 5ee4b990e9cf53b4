"""Best-of-N truth of continuous laws from textbook distribution functions, at 40 digits.

Nothing here is computed by tea_stats: a law only says its name and parameters. With F and 1 − F in
mpmath and ∂_θF by a central difference of step 1e-16, in reward space,

    V_N = r₀ + ∫_{r₀}^∞ (1 − F^N) dr − ∫_{−∞}^{r₀} F^N dr,    ∇V_N = −N ∫ F^{N−1} ∂_θF dr,
    ψ_N(r) = N ∫_{−∞}^r F^{N−1} dt − N ∫ F^{N−1} (1 − F) dt.

Panel edges are rough double-precision quantiles; how rough does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache, cached_property, lru_cache

import mpmath
import numpy as np
from mpmath import mp, mpf
from scipy import special, stats

from tea_stats.families import FAMILIES

DIGITS = 40
STEP = mpf(10) ** -16
#: the most that a law is followed: weights e^−34 = 2e-15
DEPTH = 34.0
#: e^21 > 1e9, the largest N
LARGEST = 21.0
POINTS = 20


def _normal(z):
    return mp.ncdf(z), mp.ncdf(-z)


def _student(df, w):
    tail = mpmath.betainc(df / 2, mpf(1) / 2, 0, df / (df + w * w), regularized=True) / 2
    return (tail, 1 - tail) if w < 0 else (1 - tail, tail)


def _gaussian_tail(alpha, w):
    q = 1 - 2 * alpha
    joint = -mp.sqrt(2) * mp.erfinv(2 * (2 * alpha) - 1)
    if w >= joint:
        return _normal(w)
    x = (joint - w) * mp.npdf(joint) / q
    valley = mp.log(4) / mpf("3.75")
    mode = valley + mp.log(8) / mpf("4.375")
    if x <= valley:  # mass below: 1 − ∫₀^x e^{−3.75 t} dt
        mass = 1 + mp.expm1(mpf("-3.75") * x) / mpf("3.75")
    elif x <= mode:
        mass = mpf("0.8") - mp.expm1(mpf("4.375") * (x - valley)) / mpf("17.5")
    else:
        mass = mpf("0.4") * mp.exp(-5 * (x - mode))
    return q * mass, 1 - q * mass


def _gamma(shape, x):
    if x > shape:
        sf = mpmath.gammainc(shape, x, mp.inf, regularized=True)
        return 1 - sf, sf
    cdf = mpmath.gammainc(shape, 0, x, regularized=True)
    return cdf, 1 - cdf


def _beta(a, b, x, y):
    if x * (a + b) > a:
        sf = mpmath.betainc(b, a, 0, y, regularized=True)
        return 1 - sf, sf
    cdf = mpmath.betainc(a, b, 0, x, regularized=True)
    return cdf, 1 - cdf


def _from_log_sf(log_sf):
    return -mp.expm1(log_sf), mp.exp(log_sf)


def _gen_pareto(shape, x):
    return _from_log_sf(-mp.log1p(shape * x) / shape if shape else -x)


def _mixture(weight, loc1, scale1, loc2, scale2, r):
    first, second = _normal((r - loc1) / scale1), _normal((r - loc2) / scale2)
    return tuple((1 - weight) * a + weight * b for a, b in zip(first, second, strict=True))


#: name -> (F, 1 − F) of r; y = 1 − r is given to 40 digits too
DISTRIBUTIONS = {
    "Normal": lambda t, r, y: _normal((r - t["loc"]) / t["scale"]),
    "GaussianTail": lambda t, r, y: _gaussian_tail(t["alpha"], (r - t["loc"]) / t["scale"]),
    "Logistic": lambda t, r, y: _sigmoids((r - t["loc"]) / t["scale"]),
    "Gumbel": lambda t, r, y: _from_log_sf(-mp.exp(-(r - t["loc"]) / t["scale"]))[::-1],
    "GumbelMin": lambda t, r, y: _from_log_sf(-mp.exp((r - t["loc"]) / t["scale"])),
    "StudentT": lambda t, r, y: _student(t["df"], (r - t["loc"]) / t["scale"]),
    "Gamma": lambda t, r, y: _gamma(t["shape"], r / t["scale"]),
    "Weibull": lambda t, r, y: _from_log_sf(-((r / t["scale"]) ** t["shape"])),
    "LogNormal": lambda t, r, y: _normal((mp.log(r) - t["meanlog"]) / t["sdlog"]),
    "GenPareto": lambda t, r, y: _gen_pareto(t["shape"], r / t["scale"]),
    "Beta": lambda t, r, y: _beta(t["a"], t["b"], r, y),
    "NormalMixture": lambda t, r, y: _mixture(*t.values(), r),
}


def _sigmoids(w):
    return 1 / (1 + mp.exp(-w)), 1 / (1 + mp.exp(w))


#: coordinates s in which panels are cut: s(r), and r(s), 1 − r(s), dr/ds
MAPS = {
    "identity": (lambda r: r, lambda s: (s, 1 - s, mpf(1))),
    "log": (mp.log, lambda s: (mp.exp(s), 1 - mp.exp(s), mp.exp(s))),
    "logit": (
        lambda r: mp.log(r) - mp.log1p(-r),
        lambda s: (*_sigmoids(s), _sigmoids(s)[0] * _sigmoids(s)[1]),
    ),
}


def _rough_edges(law):
    """Return the name of a map and panel edges in its coordinate."""
    name = type(law).__name__
    if name == "NormalMixture":
        z = np.arange(-8.5, 11.5, 0.5)
        r = np.union1d(law.loc1 + law.scale1 * z, law.loc2 + law.scale2 * z)
        return "identity", list(map(mpf, r.tolist()))
    if name == "GaussianTail":
        # kinks at the joint, the valley and the mode; x is the distance below the joint
        q = 1.0 - 2.0 * law.alpha
        joint = float(special.ndtri(q))
        valley = np.log(4.0) / 3.75
        mode = valley + np.log(8.0) / 4.375
        x = np.array(
            [0.15, 0.25, 0.3, valley, 0.45, 0.6, 0.7, mode, *(mode + np.arange(0.4, 8, 0.4))]
        )
        w = np.concatenate(
            [joint - x[::-1] * q / stats.norm.pdf(joint), joint + np.arange(0, 11, 0.3)]
        )
        return "identity", list(map(mpf, (law.loc + law.scale * w).tolist()))
    depth = DEPTH / (1.0 - 1.0 / law.moments_below)
    x = np.concatenate([-np.arange(0.0, depth + 2, 2)[:0:-1], np.arange(0.0, depth + LARGEST, 2)])
    r = np.where(x < 0, law.ppf(special.expit(x)), law.isf(special.expit(-x)))
    kind = {"Gamma": "log", "Weibull": "log", "LogNormal": "log", "Beta": "logit"}.get(name)
    kind = kind or "identity"
    near_1 = kind == "logit" and r > 0.99
    edges = (
        [MAPS[kind][0](mpf(float(rk))) for rk in r[~near_1]]
        if kind == "logit"
        else [MAPS[kind][0](mpf(float(rk))) for rk in r]
    )
    if kind == "logit":
        y = special.betaincinv(law.b, law.a, special.expit(-x[near_1]))
        edges += [-MAPS[kind][0](mpf(float(yk))) for yk in y]
    return kind, edges


@dataclass(frozen=True)
class Truth:
    """The truth of one law for every N."""

    law: object

    @cached_property
    def _nodes(self):
        """Per panel: edge reward, and for each point weight, log F, 1 − F and ∂_θF."""
        assert type(self.law) in FAMILIES.values()
        distribution = DISTRIBUTIONS[type(self.law).__name__]
        t = {f.name: mpf(getattr(self.law, f.name)) for f in fields(self.law)}
        kind, edges = _rough_edges(self.law)
        x, w = (list(map(mpf, a)) for a in _gauss_legendre(POINTS))
        panels = []
        for left, right in zip(edges[:-1], edges[1:], strict=True):
            points = []
            for xk, wk in zip(x, w, strict=True):
                r, y, slope = MAPS[kind][1](left + (right - left) * (1 + xk) / 2)
                cdf, sf = distribution(t, r, y)
                upper = sf < cdf
                by_theta = []
                for name in self.law.parameters:
                    step = STEP * max(abs(t[name]), mpf("0.01"))
                    high, low = (
                        distribution({**t, name: t[name] + s}, r, y)[upper] for s in (step, -step)
                    )
                    by_theta.append((low - high if upper else high - low) / (2 * step))
                log_cdf = mp.log1p(-sf) if upper else mp.log(cdf)
                points.append((wk * slope * (right - left) / 2, log_cdf, sf, by_theta))
            panels.append(points)
        return [MAPS[kind][1](s)[0] for s in edges], panels

    @cache  # noqa: B019 - a handful of laws live for the whole run
    def at(self, N: int):
        """Return V_N, ∇V_N, and ψ_N at the panel edges, as (mpf, list, list of pairs)."""
        with mp.workdps(DIGITS):
            rewards, panels = self._nodes
            middle = len(rewards) // 2
            value, gradient = rewards[middle], [mpf(0)] * len(self.law.parameters)
            response, mean = [mpf(0)], mpf(0)
            for number, points in enumerate(panels):
                rise = mpf(0)
                for weight, log_cdf, sf, by_theta in points:
                    best = mp.exp(N * log_cdf)
                    value += weight * (-mp.expm1(N * log_cdf) if number >= middle else -best)
                    power = weight * N * mp.exp((N - 1) * log_cdf)
                    rise += power
                    mean += power * sf
                    gradient = [g - power * b for g, b in zip(gradient, by_theta, strict=True)]
                response.append(response[-1] + rise)
            psi = [
                (float(r), s - mean) for r, s in zip(rewards, response, strict=True) if _exact(r)
            ]
            return value, gradient, psi


def _exact(r) -> bool:
    return abs(mpf(float(r)) - r) <= mpf(10) ** (8 - DIGITS) * abs(r)


@lru_cache
def _gauss_legendre(n: int):
    """Points and weights at 40 digits, by Newton's method."""
    with mp.workdps(DIGITS):
        points = []
        for guess in np.polynomial.legendre.leggauss(n)[0]:
            points.append(mp.findroot(lambda x: mp.legendre(n, x), mpf(guess)))
        slopes = [n * (x * mp.legendre(n, x) - mp.legendre(n - 1, x)) / (x * x - 1) for x in points]
        return points, [2 / ((1 - x * x) * d * d) for x, d in zip(points, slopes, strict=True)]
