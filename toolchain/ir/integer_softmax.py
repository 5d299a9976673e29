"""Softmax over the in-edges of a node in 32-bit integers: 16-bit logits in, 16-bit weights out that sum to exactly 1.

Only multiplications, shifts and one division per node and head; every product and sum fits uint32 for up to
`MOST_EDGES` in-edges. A C implementation must give the same integers.

    top   = max over the in-edges of q
    u     = (min(top - q, reach) * multiplier) >> shift        the exponent in base 2 with 16 binary digits
    p     = T[i] - (((T[i] - T[i+1]) * r) >> 11)               2^-fraction at 2^15; i: upper 5 digits, r: lower 11
    e     = ((p << guard) + (2^n >> 1)) >> n, n = u >> 16      guard = 16 - bits(edges - 1): the sum is at most 2^31;
                                                               e is 0 from n = 32 on
    C_k   = e_1 + ... + e_k in the order of the edges;  sum = C of the last edge
    k     = bits(sum) - 16, S = (sum + half) >> k, R = (2^31 + S/2) / S            half = 2^(k-1), 0 for k = 0
    V_k   = (((C_k + half) >> k) * R + 2^15) >> 16,  P_k = V_k - (V_k > 2^14)      the sum so far, 32767 for 1
    w_k   = P_k - P_(k-1)

Weights are differences of rounded sums, not rounded quotients: they sum to 32767 whatever the degree. Rounded one by one,
the weights of a node with 3,000 equal in-edges sum to 1.007, with 20,000 to 1.22, and an int32 sum of neighbours needs a
bound on the degree. The price is that a weight may change by one or two codes with the order of the edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.errors import OutsideContract
from toolchain.ir.types import QParams

ONE = 32767
WEIGHT_QPARAMS = QParams((float(np.float32(1 / ONE)),), 0, 16)
MOST_EDGES = 2**16
TABLE = np.rint(2.0 ** (15 - np.arange(33) / 32)).astype(np.int64)
_ZERO_FROM = 2**21  # u >> 16 is 32 or more: every binary digit of e is shifted out


@dataclass(frozen=True, slots=True)
class Exponent:
    """How a difference of logit codes becomes an exponent in base 2: u = (min(d, reach) * multiplier) >> shift.

    Attributes:
        multiplier: scale * log2(e) * 2^(16 + shift), with 16 significant bits where `shift` allows.
        reach: a difference from which on e is 0; it keeps the product below 2^32 and loses nothing.
    """

    multiplier: int
    shift: int
    reach: int


def exponent(scale: float) -> Exponent:
    """The exponent's parameters for logits of a scale. The largest difference of two codes is 65,534."""
    exact = np.float64(scale) * np.log2(np.e) * 2.0**16
    shift = 0
    while shift < 31 and np.rint(exact * 2.0 ** (shift + 1)) < 2**16:
        shift += 1
    multiplier = int(min(np.rint(exact * 2.0**shift), _ZERO_FROM))
    reach = 65535 if multiplier == 0 else min(65535, -(-(_ZERO_FROM << shift) // multiplier))
    return Exponent(multiplier, shift, reach)


def softmax_codes(logits: np.ndarray, scale: float, row_pointer: np.ndarray) -> np.ndarray:
    """Weights of each node's in-edges at scale 1 / 32767.

    Args:
        logits: [E, H] codes of magnitude at most 32767, sorted by target.
        row_pointer: [N + 1]; the in-edges of node i are row_pointer[i]:row_pointer[i + 1].

    Returns:
        [E, H] int64 in [0, 32767]; over the in-edges of a node they sum to 32767.

    Raises:
        OutsideContract: a node has more than 2^16 in-edges.
    """
    degree = np.diff(row_pointer)
    if degree.max(initial=0) > MOST_EDGES:
        raise OutsideContract(f"a node has {degree.max()} in-edges; integer attention takes {MOST_EDGES} at most.")
    node = np.repeat(np.arange(len(degree)), degree)  # [E]
    starts = row_pointer[:-1][degree > 0]
    if not len(starts):
        return np.zeros(logits.shape, np.int64)
    row = np.cumsum(degree > 0)[node] - 1  # [E]: number of the target among the nodes with in-edges
    top = np.maximum.reduceat(logits.astype(np.int64), starts)[row]
    e = _exponentials(top - logits, exponent(scale), 16 - _bits(degree - 1)[node][:, None])
    total = np.add.reduceat(e, starts)  # [rows, H]
    running = np.cumsum(e, axis=0)
    before = np.concatenate([np.zeros((1, e.shape[1]), np.int64), running])[starts]
    share = _shares(running - before[row], total[row])
    earlier = np.concatenate([np.zeros((1, e.shape[1]), np.int64), share[:-1]])
    earlier[starts] = 0
    return share - earlier


def _exponentials(difference: np.ndarray, by: Exponent, guard: np.ndarray) -> np.ndarray:
    """2^(15 + guard) exp(-scale * difference), rounded."""
    u = (np.minimum(difference, by.reach) * by.multiplier) >> by.shift
    place, rest = (u >> 11) & 31, u & 2047
    p = TABLE[place] - (((TABLE[place] - TABLE[place + 1]) * rest) >> 11)
    n = np.minimum(u >> 16, 31)
    return np.where(u >= _ZERO_FROM, 0, ((p << guard) + ((np.int64(1) << n) >> 1)) >> n)


def _shares(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """part / total at scale 1 / 32767; exactly 32767 where they are equal."""
    k = _bits(total) - 16
    half = (np.int64(1) << k) >> 1
    divisor = (total + half) >> k
    reciprocal = (2**31 + (divisor >> 1)) // divisor
    v = (((part + half) >> k) * reciprocal + 2**15) >> 16
    return v - (v > 2**14)


def _bits(values: np.ndarray) -> np.ndarray:
    """Number of binary digits; 0 for 0 and below. Values are below 2^53."""
    return np.frexp(np.maximum(values, 0).astype(np.float64))[1].astype(np.int64)
