"""Linear time-invariant memories with lengths and states first-class."""

from torch import Tensor

from audiorec_kernels.arguments import check
from audiorec_kernels.backends import choose, prepare

__all__ = ["lti_scan", "lti_scan_step"]


def lti_scan(
    u: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor | None = None,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """m_t = A m_{t−1} + B u_t in each of K channels: ``u`` (B, T, K); ``A`` (d, d); ``B`` (d,); m (B, K, d).

    Returns y (B, T, K, d), every m_t, or with a read-out ``C`` (K, q, d) of each channel its own y = C_k m_t (B, T, K, q),
    for which chunks make no m_t. Where ``reset`` (B, T), bool, is true, the state before that frame is zero; it goes frame
    by frame then. y is in u's dtype and zero past each row's length. The state is m at each row's own length: a row of
    length 0 keeps its state bit for bit. The scan runs in float32, or in float64 for float64 inputs, autocast or not.
    What ``u`` holds past a row's length reaches nothing.

    Raises ValueError where arguments disagree.
    """
    state = initial_state, ("B", "K", "d")
    check("lti_scan", lengths, reset, u=(u, "BTK"), A=(A, "dd"), B=(B, "d"), C=(C, "Kqd"), initial_state=state)
    return choose(__name__, "lti_scan", u)(u, A, B, C, initial_state, lengths, reset)


def lti_scan_step(u: Tensor, A: Tensor, B: Tensor, m: Tensor) -> Tensor:
    """One frame of ``lti_scan``, which is the next memory: A m + B u; ``u`` (B, K), ``m`` (B, K, d).

    Bare operators: whoever calls it sees to ``full_precision``, once for all frames that follow one another.
    """
    return m @ A.T + u[..., None] * B


prepare(__name__, "lti_scan")
