"""Text for terminals and files that cannot encode all of it: ASCII, cp1252, a lone surrogate.

A mathematical sign becomes its usual ASCII form, and what has none is escaped as in Python. Nothing
is replaced that the stream can encode.
"""

from __future__ import annotations

import codecs
import sys
import unicodedata

#: name of the error handler of `codecs`
HANDLER = "tea_stats.plain"
#: what stands for a sign, where it cannot be encoded
PLAIN = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "─": "-", "━": "-",
    "×": "x", "·": "*", "±": "+-", "≈": "~", "≤": "<=", "≥": ">=", "≪": "<<", "≫": ">>", "≠": "!=",
    "∞": "inf", "√": "sqrt ", "Σ": "sum ", "∫": "int ", "∇": "grad ", "∂": "d", "‖": "||",
    "∧": "min", "∨": "max", "∈": "in", "→": "->", "←": "<-", "⟨": "<", "⟩": ">",
    "⌈": "ceil(", "⌉": ")", "⌊": "floor(", "⌋": ")", "↦": "->", "∝": "~", "∼": "~", "⇒": "=>",
    "…": "...", "⋯": "...", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "•": "*",
    "§": "section ",
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "eps", "θ": "theta", "κ": "kappa",
    "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau",
    "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Φ": "Phi", "Ψ": "Psi", "Γ": "Gamma",
    "ø": "o", "æ": "ae", "Π": "prod ", "η": "eta", "ζ": "zeta", "⁻": "-", "∪": "or", "∩": "and",
    "\ufffd": "?", "½": "1/2", "¼": "1/4", "¾": "3/4", "⅜": "3/8", "⅝": "5/8",
    "ᵢ": "_i", "ⱼ": "_j", "\u00a0": " ",
}  # fmt: skip


def letter(character: str) -> str:
    r"""Return what stands for a character in ASCII.

    Examples
    --------
    >>> [letter(x) for x in ("−", "ĝ", "²", "₁", "é", "漢")]
    ['-', 'g', '2', '1', 'e', '\\u6f22']
    """
    if character in PLAIN:
        return PLAIN[character]
    # letters without their accents, digits without their place
    parts = unicodedata.normalize("NFKD", character)
    ascii_only = "".join(part for part in parts if ord(part) < 128)
    if ascii_only:
        return ascii_only
    if unicodedata.combining(character):
        return ""
    if 0xD800 <= ord(character) < 0xE000:  # half of a pair, no character
        return "?"
    return character.encode("ascii", "backslashreplace").decode("ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(letter, error.object[error.start : error.end])), error.end


codecs.register_error(HANDLER, _replace)


def plain(text: str, encoding: str | None = None) -> str:
    """Return text that the encoding has, by default that of standard output.

    Examples
    --------
    >>> plain("V̂_N = 3 ± ½", "ascii"), plain("3 ± ½", "latin-1")
    ('V_N = 3 +- 1/2', '3 ± ½')
    """
    name = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(name, HANDLER).decode(name)


def encodes(text: str) -> bool:
    """Whether standard output can encode all of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def prepare() -> None:
    """Let standard output and error replace what they cannot encode, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)
