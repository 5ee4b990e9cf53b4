"""Best-of-N truth of continuous laws from textbook distribution functions, at 40 digits.

Nothing here is computed by tea_stats: a law only says its name and parameters. With F and 1 − F in
mpmath and ∂_θF by a central difference of step 1e-16, in reward space,

    V_N = r₀ + ∫_{r₀}^∞ (1 − F^N) dr − ∫_{−∞}^{r₀} F^N dr,    ∇V_N = −N ∫ F^{N−1} ∂_θF dr,
    ψ_N(r) = N ∫_{−∞}^r F^{N−1} dt − N ∫ F^{N−1} (1 − F) dt,

so that ∇V_N is the high-precision difference quotient of V_N, taken under the integral. Panels are
cut at rough double-precision quantiles; how rough does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import mpmath
import numpy as np
from mpmath import mp, mpf
from scipy import special, stats

from tea_stats.families import FAMILIES

DIGITS = 40
STEP = mpf(10) ** -16
#: a law is followed to where p |Q(1 − p)| is e^−46 = 1e-20 of its maximum
DEPTH = 46.0
#: e^21 > 1e9, the largest N
LARGEST = 21.0


# --- distribution functions: (F, 1 − F) ---------------------------------------------------------


def _normal(z):
    tail = mp.ncdf(-abs(z))
    return (tail, 1 - tail) if z < 0 else (1 - tail, tail)


def _sigmoids(w):
    return 1 / (1 + mp.exp(-w)), 1 / (1 + mp.exp(w))


def _from_log_sf(log_sf):
    return -mp.expm1(log_sf), mp.exp(log_sf)


def _gamma(shape, x):
    if x > shape:
        sf = mpmath.gammainc(shape, x, mp.inf, regularized=True)
        return 1 - sf, sf
    cdf = mpmath.gammainc(shape, 0, x, regularized=True)
    return cdf, 1 - cdf


def _beta(a, b, x, y):
    """Incomplete beta function and complement at x = 1 − y, by a series of positive terms."""
    if x > 0.5:
        return _beta(b, a, y, x)[::-1]
    # the complement may be as small as 1e-30
    with mp.workdps(DIGITS + 30):
        term = total = mpf(1)
        n = 0
        while term > total * mp.eps:
            n += 1
            term *= (a + b + n - 1) / (a + n) * x
            total += term
        cdf = total * mp.exp(a * mp.log(x) + b * mp.log(y)) / _beta_factor(a, b)
        return cdf, 1 - cdf


@lru_cache
def _beta_factor(a, b):
    return a * mp.beta(a, b)


def _student(df, w):
    lower, upper = _beta(df / 2, mpf(1) / 2, df / (df + w * w), w * w / (df + w * w))
    # ½ I and 1 − ½ I
    tail, rest = lower / 2, (1 + upper) / 2
    return (tail, rest) if w < 0 else (rest, tail)


@lru_cache
def _normal_quantile(u):
    return mp.sqrt(2) * mp.erfinv(2 * u - 1)


def _gaussian_tail(alpha, w):
    q = 1 - 2 * alpha
    joint = _normal_quantile(q)
    if w >= joint:
        return _normal(w)
    x = (joint - w) * mp.npdf(joint) / q
    valley = mp.log(4) / mpf("3.75")
    mode = valley + mp.log(8) / mpf("4.375")
    if x <= valley:  # mass above: ∫₀^x e^{−3.75 t} dt
        rest = -mp.expm1(mpf("-3.75") * x) / mpf("3.75")
    elif x <= mode:
        rest = mpf("0.2") + mp.expm1(mpf("4.375") * (x - valley)) / mpf("17.5")
    else:
        rest = 1 - mpf("0.4") * mp.exp(-5 * (x - mode))
    return q * (1 - rest), 2 * alpha + q * rest


def _gen_pareto(shape, x):
    return _from_log_sf(-mp.log1p(shape * x) / shape if shape else -x)


def _mixture(weight, loc1, scale1, loc2, scale2, r):
    first, second = _normal((r - loc1) / scale1), _normal((r - loc2) / scale2)
    return tuple((1 - weight) * a + weight * b for a, b in zip(first, second, strict=True))


#: name -> (F, 1 − F) at r for parameters t; y = 1 − r is given to 40 digits too
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

# --- panels -------------------------------------------------------------------------------------

#: coordinates s in which panels are cut: r(s), 1 − r(s), dr/ds
MAPS = {
    "identity": lambda s: (s, 1 - s, mpf(1)),
    "log": lambda s: (mp.exp(s), 1 - mp.exp(s), mp.exp(s)),
    "logit": lambda s: (*_sigmoids(s), _sigmoids(s)[0] * _sigmoids(s)[1]),
}
KINDS = {"Gamma": "log", "Weibull": "log", "LogNormal": "log", "Beta": "logit"}


def _rough_quantiles(law, step):
    """Return quantiles in steps of the logit, as far as the law counts."""
    p = special.expit(-np.arange(0.0, 680.0, step))
    with np.errstate(all="ignore"):
        upper, lower = law.isf(p), law.ppf(p[1:])
        moment = [np.log(p) + np.log(np.abs(upper)), np.log(p[1:]) + np.log(np.abs(lower))]
    reach = [np.flatnonzero(m > max(m.max(), np.log(0.1)) - DEPTH).max(initial=0) for m in moment]
    upper = upper[: reach[0] + int(LARGEST / (1.0 - 1.0 / law.moments_below) / step) + 1]
    return np.concatenate([lower[: reach[1] + 1][::-1], upper])


def _extra_edges(law):
    """Return further edges, for laws that are not smooth on the scale of their quantiles."""
    if type(law).__name__ == "NormalMixture":
        z = np.arange(-8.5, 11.5, 0.5)
        return np.union1d(law.loc1 + law.scale1 * z, law.loc2 + law.scale2 * z)
    if type(law).__name__ == "GaussianTail":
        # kinks at the joint, the valley and the mode; x is the distance below the joint
        q = 1.0 - 2.0 * law.alpha
        joint, valley = special.ndtri(q), np.log(4.0) / 3.75
        kinks = np.array([0.0, valley, valley + np.log(8.0) / 4.375])
        x = np.concatenate([kinks, np.arange(0.15, kinks[2] + 8.0, 0.3)])
        return law.loc + law.scale * (joint - x * q / stats.norm.pdf(joint))
    return np.array([])


def _edges(law, step):
    """Return the coordinate and panel edges in it, as mpf that are exact rewards where possible."""
    kind = KINDS.get(type(law).__name__, "identity")
    if type(law).__name__ == "GaussianTail":
        step /= 2.0  # below the joint 1 − F is linear in r, and F^N falls steeply inside a panel
    r = np.union1d(_rough_quantiles(law, step), _extra_edges(law))
    if kind == "identity":
        return kind, [mpf(x) for x in r[np.isfinite(r)].tolist()]
    if kind == "log":
        # where the reward counts, panels are no wider than two in log r either
        high = law.ppf(0.99)
        r = np.union1d(r[r > 1e-30 * high], high * np.exp(-np.arange(0.0, 40.0, 2.0)))
        return kind, [mp.log(mpf(x)) for x in r.tolist()]
    # panels are no wider than two in the logit of the reward either; close to one it is no double
    r = np.union1d(r[(r > 1e-30) & (r < 1.0)], special.expit(np.arange(-40.0, 36.0, 2.0)))
    s = [mp.log(mpf(x)) - mp.log1p(-mpf(x)) for x in r.tolist()]
    return kind, sorted({*s, mpf(36), mpf(38), mpf(40)})


@lru_cache
def _gauss_legendre(n: int):
    """Points and weights at 40 digits, by Newton's method."""
    with mp.workdps(DIGITS):
        points = []
        for guess in np.polynomial.legendre.leggauss(n)[0]:
            points.append(mp.findroot(lambda x: mp.legendre(n, x), mpf(guess)))
        slopes = [n * (x * mp.legendre(n, x) - mp.legendre(n - 1, x)) / (x * x - 1) for x in points]
        return points, [2 / ((1 - x * x) * d * d) for x, d in zip(points, slopes, strict=True)]


# --- truth --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """The truth of one law for every N.

    Attributes
    ----------
    law : ContinuousLaw
        The law.
    step, points : float, int
        Width of a panel in logits, and Gauss–Legendre points on it. With 2 and 14 the truth is good
        to 1e-13, with 1 and 24 to 1e-20.
    """

    law: object
    step: float = 2.0
    points: int = 14

    @cached_property
    def _nodes(self):
        """Edges as rewards; per panel, for each point: weight, log F, 1 − F and ∂_θF."""
        assert type(self.law) in FAMILIES.values()
        distribution = DISTRIBUTIONS[type(self.law).__name__]
        t = {f.name: mpf(getattr(self.law, f.name)) for f in fields(self.law)}
        kind, edges = _edges(self.law, self.step)
        x, w = _gauss_legendre(self.points)
        panels = []
        for left, right in zip(edges[:-1], edges[1:], strict=True):
            points = []
            for xk, wk in zip(x, w, strict=True):
                r, y, slope = MAPS[kind](left + (right - left) * (1 + xk) / 2)
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
        return [MAPS[kind](s)[0] for s in edges], panels

    def at(self, N: int):
        """Return V_N, ∇V_N, and pairs (r, ψ_N(r)) at the edges that are doubles."""
        with mp.workdps(DIGITS):
            rewards, panels = self._nodes
            middle = sum(points[0][2] > 0.5 for points in panels)  # near the median
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
            if N == 1:  # a lower tail out to −1e40 would cost all digits
                psi = [r - value for r in rewards]
            else:
                psi = [s - mean for s in response]
            exact = [abs(mpf(float(r)) - r) <= mpf(10) ** (8 - DIGITS) * abs(r) for r in rewards]
            pairs = zip(rewards, psi, exact, strict=True)
            return value, gradient, [(float(r), s) for r, s, is_double in pairs if is_double]
