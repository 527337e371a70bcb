"""The GRU's kernels. On chip a program owns one head of a few rows and keeps its matrix over all frames; or one frame each."""

import triton
import triton.language as tl

from audiorec_kernels.rnn.triton_common import matrix, tanh, transposed


@triton.jit
def _cell(r, z, n, inner, h):
    """``inner`` is what the reset gate multiplies, R_n h + b_n."""
    n = tanh(n + tl.sigmoid(r) * inner)
    return n + tl.sigmoid(z) * (h - n)


@triton.jit
def _cell_backward(r, z, n, inner, h_before, dh):
    """Gradients of the three gates before their activations, of ``inner``, and of h_before past the gates."""
    r, z = tl.sigmoid(r), tl.sigmoid(z)
    n = tanh(n + r * inner)
    dn = dh * (1 - z) * (1 - n * n)
    return dn * inner * r * (1 - r), dh * (h_before - n) * z * (1 - z), dn, dn * r, dh * z


@triton.jit
def forward_kernel(
    wx_ptr, R_ptr, b_ptr, b_n_ptr, h_ptr, lengths_ptr, reset_ptr, y_ptr, h_last_ptr,
    rows, time, heads, dim, ROWS: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """``wx`` (B, T, 3, H, D), ``R`` (H, D, 3, D) of the same dtype."""
    head = tl.program_id(0)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    d = tl.arange(0, DIM)[None, :]
    mask, gate = (row < rows) & (d < dim), heads * dim
    length = tl.full((ROWS, 1), time, tl.int32)
    if lengths_ptr is not None:
        length = tl.load(lengths_ptr + row, row < rows, 0).to(tl.int32)
    R_r, R_z = matrix(R_ptr, head, dim, 0, 3, DIM), matrix(R_ptr, head, dim, 1, 3, DIM)
    R_n = matrix(R_ptr, head, dim, 2, 3, DIM)
    bias = b_ptr + head * dim + d
    b_r, b_z = tl.load(bias, d < dim, 0.0), tl.load(bias + gate, d < dim, 0.0)
    b_n, b_inner = tl.load(bias + 2 * gate, d < dim, 0.0), tl.load(b_n_ptr + head * dim + d, d < dim, 0.0)
    at_state = row * gate + head * dim + d
    h = tl.load(h_ptr + at_state, mask, 0.0)
    for t in tl.range(0, time, num_stages=3):
        frame, valid = row.to(tl.int64) * time + t, mask & (t < length)
        x = wx_ptr + frame * 3 * gate + head * dim + d
        x_r, x_z = tl.load(x, valid, 0.0), tl.load(x + gate, valid, 0.0)
        x_n = tl.load(x + 2 * gate, valid, 0.0).to(tl.float32) + b_n
        h_before = h
        if reset_ptr is not None:
            is_reset = tl.load(reset_ptr + frame, (row < rows) & (t < length), 0) != 0
            h_before = tl.where(is_reset, 0.0, h)
        narrow = h_before.to(R_ptr.dtype.element_ty)
        r = tl.dot(narrow, R_r, x_r.to(tl.float32) + b_r, input_precision="tf32x3")
        z = tl.dot(narrow, R_z, x_z.to(tl.float32) + b_z, input_precision="tf32x3")
        inner = tl.dot(narrow, R_n, tl.zeros((ROWS, DIM), tl.float32) + b_inner, input_precision="tf32x3")
        h = tl.where(valid, _cell(r, z, x_n, inner, h_before), h)
        tl.store(y_ptr + frame * gate + head * dim + d, tl.where(valid, h, 0.0), mask)
    tl.store(h_last_ptr + at_state, h, mask)


@triton.jit
def backward_kernel(
    wx_ptr, products_ptr, before_ptr, R_ptr, b_ptr, b_n_ptr, lengths_ptr, reset_ptr, dy_ptr, dh_last_ptr,
    dwx_ptr, dinner_ptr, dh_ptr, rows, time, heads, dim, ROWS: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """``products`` (H, B, T, 3, D) is R h_{t−1} of every frame and ``before`` (H, B, T, D) that state, zero where reset."""
    head = tl.program_id(0)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    d = tl.arange(0, DIM)[None, :]
    mask, gate = (row < rows) & (d < dim), heads * dim
    length = tl.full((ROWS, 1), time, tl.int32)
    if lengths_ptr is not None:
        length = tl.load(lengths_ptr + row, row < rows, 0).to(tl.int32)
    R_r, R_z = transposed(R_ptr, head, dim, 0, 3, DIM), transposed(R_ptr, head, dim, 1, 3, DIM)
    R_n = transposed(R_ptr, head, dim, 2, 3, DIM)
    bias = b_ptr + head * dim + d
    b_r, b_z = tl.load(bias, d < dim, 0.0), tl.load(bias + gate, d < dim, 0.0)
    b_n, b_inner = tl.load(bias + 2 * gate, d < dim, 0.0), tl.load(b_n_ptr + head * dim + d, d < dim, 0.0)
    at_state = row * gate + head * dim + d
    dh = tl.load(dh_last_ptr + at_state, mask, 0.0)
    narrow = R_ptr.dtype.element_ty
    for back in tl.range(0, time, num_stages=2):
        t = time - 1 - back
        frame, valid = row.to(tl.int64) * time + t, mask & (t < length)
        x = wx_ptr + frame * 3 * gate + head * dim + d
        in_head = head.to(tl.int64) * rows * time + frame
        p = products_ptr + in_head * 3 * dim + d
        r = tl.load(x, valid, 0.0).to(tl.float32) + tl.load(p, valid, 0.0).to(tl.float32) + b_r
        z = tl.load(x + gate, valid, 0.0).to(tl.float32) + tl.load(p + dim, valid, 0.0).to(tl.float32) + b_z
        n = tl.load(x + 2 * gate, valid, 0.0).to(tl.float32) + b_n
        inner = tl.load(p + 2 * dim, valid, 0.0).to(tl.float32) + b_inner
        h_before = tl.load(before_ptr + in_head * dim + d, valid, 0.0).to(tl.float32)
        dy = tl.load(dy_ptr + frame * gate + head * dim + d, valid, 0.0).to(tl.float32)
        dr, dz, dn, dinner, dh_before = _cell_backward(r, z, n, inner, h_before, dh + dy)
        dr, dz = tl.where(valid, dr, 0.0).to(narrow), tl.where(valid, dz, 0.0).to(narrow)
        dinner = tl.where(valid, dinner, 0.0).to(narrow)
        dwx = dwx_ptr + frame * 3 * gate + head * dim + d
        tl.store(dwx, dr, mask)
        tl.store(dwx + gate, dz, mask)
        tl.store(dwx + 2 * gate, tl.where(valid, dn, 0.0), mask)
        tl.store(dinner_ptr + frame * gate + head * dim + d, dinner, mask)
        dh_before = tl.dot(dr, R_r, dh_before, input_precision="tf32x3")
        dh_before = tl.dot(dz, R_z, dh_before, input_precision="tf32x3")
        dh_before = tl.dot(dinner, R_n, dh_before, input_precision="tf32x3")
        if reset_ptr is not None:
            is_reset = tl.load(reset_ptr + frame, (row < rows) & (t < length), 0) != 0
            dh_before = tl.where(is_reset, 0.0, dh_before)
        dh = tl.where(valid, dh_before, dh)
    tl.store(dh_ptr + at_state, dh, mask)


@triton.jit(do_not_specialize=["t"])
def forward_step_kernel(
    products_ptr, wx_ptr, b_ptr, b_n_ptr, lengths_ptr, reset_ptr, y_ptr, h_ptr,
    t, rows, time, heads, dim, BLOCK: tl.constexpr,
):  # fmt: skip
    """Frame t, after ``products`` (H, B, 3, D), R times the state before it; h is brought up to date in place."""
    row, at = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    gate = heads * dim
    mask, frame = at < gate, row.to(tl.int64) * time + t
    length = time
    if lengths_ptr is not None:
        length = tl.load(lengths_ptr + row).to(tl.int32)
    valid = mask & (t < length)
    x, bias = wx_ptr + frame * 3 * gate + at, b_ptr + at
    r = tl.load(x, valid, 0.0).to(tl.float32) + tl.load(bias, mask, 0.0)
    z = tl.load(x + gate, valid, 0.0).to(tl.float32) + tl.load(bias + gate, mask, 0.0)
    n = tl.load(x + 2 * gate, valid, 0.0).to(tl.float32) + tl.load(bias + 2 * gate, mask, 0.0)
    going_on = valid
    if reset_ptr is not None:
        going_on = valid & (tl.load(reset_ptr + frame) == 0)
    p = products_ptr + ((at // dim) * rows + row) * 3 * dim + at % dim
    r, z = r + tl.load(p, going_on, 0.0), z + tl.load(p + dim, going_on, 0.0)
    inner = tl.load(p + 2 * dim, going_on, 0.0).to(tl.float32) + tl.load(b_n_ptr + at, mask, 0.0)
    at_state = row * gate + at
    h = _cell(r, z, n, inner, tl.load(h_ptr + at_state, going_on, 0.0))
    tl.store(y_ptr + frame * gate + at, tl.where(valid, h, 0.0), mask)
    tl.store(h_ptr + at_state, h, valid)


@triton.jit(do_not_specialize=["t"])
def backward_step_kernel(
    dproducts_ptr, dbefore_ptr, wx_ptr, products_ptr, before_ptr, b_ptr, b_n_ptr, lengths_ptr, reset_ptr, dy_ptr,
    dwx_ptr, dinner_ptr, dh_ptr, t, rows, time, heads, dim, BLOCK: tl.constexpr,
):  # fmt: skip
    """Frame t. The gradient of its state is ``dh`` and what came through R, ``dbefore`` (H, B, D); both are for frame t − 1
    after it, when R was applied to ``dproducts`` (H, B, 3, D)."""
    row, at = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    gate = heads * dim
    mask, frame = at < gate, row.to(tl.int64) * time + t
    length = time
    if lengths_ptr is not None:
        length = tl.load(lengths_ptr + row).to(tl.int32)
    valid = mask & (t < length)
    head, d = at // dim, at % dim
    in_head = (head * rows + row).to(tl.int64) * time + t
    x, p, bias = wx_ptr + frame * 3 * gate + at, products_ptr + in_head * 3 * dim + d, b_ptr + at
    r = tl.load(x, valid, 0.0).to(tl.float32) + tl.load(p, valid, 0.0) + tl.load(bias, mask, 0.0)
    z = tl.load(x + gate, valid, 0.0).to(tl.float32) + tl.load(p + dim, valid, 0.0) + tl.load(bias + gate, mask, 0.0)
    n = tl.load(x + 2 * gate, valid, 0.0).to(tl.float32) + tl.load(bias + 2 * gate, mask, 0.0)
    inner = tl.load(p + 2 * dim, valid, 0.0).to(tl.float32) + tl.load(b_n_ptr + at, mask, 0.0)
    h_before = tl.load(before_ptr + in_head * dim + d, valid, 0.0).to(tl.float32)
    at_state, here = row * gate + at, frame * gate + at
    dy = tl.load(dy_ptr + here, valid, 0.0).to(tl.float32)
    dh = tl.load(dh_ptr + at_state, mask, 0.0) + tl.load(dbefore_ptr + (head * rows + row) * dim + d, mask, 0.0)
    dr, dz, dn, dinner, dpast = _cell_backward(r, z, n, inner, h_before, dh + dy)
    dwx = dwx_ptr + frame * 3 * gate + at
    tl.store(dwx, tl.where(valid, dr, 0.0), mask)
    tl.store(dwx + gate, tl.where(valid, dz, 0.0), mask)
    tl.store(dwx + 2 * gate, tl.where(valid, dn, 0.0), mask)
    tl.store(dinner_ptr + here, tl.where(valid, dinner, 0.0), mask)
    going_on = valid
    if reset_ptr is not None:
        going_on = valid & (tl.load(reset_ptr + frame) == 0)
    q = dproducts_ptr + (head * rows + row) * 3 * dim + d
    tl.store(q, tl.where(going_on, dr, 0.0), mask)
    tl.store(q + dim, tl.where(going_on, dz, 0.0), mask)
    tl.store(q + 2 * dim, tl.where(going_on, dinner, 0.0), mask)
    tl.store(dh_ptr + at_state, tl.where(valid, tl.where(going_on, dpast, 0.0), dh), mask)
