"""The LSTM's kernels. On chip a program owns one head of a few rows and keeps its matrix over all frames; or one frame each."""

import triton
import triton.language as tl

from audiorec_kernels.rnn.triton_common import matrix, tanh, transposed


@triton.jit
def _cell(i, f, g, o, c):
    c = tl.sigmoid(f) * c + tl.sigmoid(i) * tanh(g)
    return tl.sigmoid(o) * tanh(c), c


@triton.jit
def _cell_backward(i, f, g, o, c_before, c, dh, dc):
    """Gradients of the four gates before their activations, and of c_before."""
    i, f, g, o, tanh_c = tl.sigmoid(i), tl.sigmoid(f), tanh(g), tl.sigmoid(o), tanh(c)
    dc += dh * o * (1 - tanh_c * tanh_c)
    di, df, dg = dc * g * i * (1 - i), dc * c_before * f * (1 - f), dc * i * (1 - g * g)
    return di, df, dg, dh * tanh_c * o * (1 - o), dc * f


@triton.jit
def forward_kernel(
    wx_ptr, R_ptr, b_ptr, h_ptr, c_ptr, lengths_ptr, reset_ptr, y_ptr, h_last_ptr, c_last_ptr, memory_ptr,
    rows, time, heads, dim, ROWS: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """``wx`` (B, T, 4, H, D), ``R`` (H, D, 4, D) of the same dtype; ``memory`` (B, T, H, D) receives every c."""
    head = tl.program_id(0)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    d = tl.arange(0, DIM)[None, :]
    mask, gate = (row < rows) & (d < dim), heads * dim
    length = tl.full((ROWS, 1), time, tl.int32)
    if lengths_ptr is not None:
        length = tl.load(lengths_ptr + row, row < rows, 0).to(tl.int32)
    R_i, R_f = matrix(R_ptr, head, dim, 0, 4, DIM), matrix(R_ptr, head, dim, 1, 4, DIM)
    R_g, R_o = matrix(R_ptr, head, dim, 2, 4, DIM), matrix(R_ptr, head, dim, 3, 4, DIM)
    bias = b_ptr + head * dim + d
    b_i, b_f = tl.load(bias, d < dim, 0.0), tl.load(bias + gate, d < dim, 0.0)
    b_g, b_o = tl.load(bias + 2 * gate, d < dim, 0.0), tl.load(bias + 3 * gate, d < dim, 0.0)
    at_state = row * gate + head * dim + d
    h, c = tl.load(h_ptr + at_state, mask, 0.0), tl.load(c_ptr + at_state, mask, 0.0)
    for t in tl.range(0, time, num_stages=3):
        frame, valid = row.to(tl.int64) * time + t, mask & (t < length)
        x = wx_ptr + frame * 4 * gate + head * dim + d
        x_i, x_f = tl.load(x, valid, 0.0), tl.load(x + gate, valid, 0.0)
        x_g, x_o = tl.load(x + 2 * gate, valid, 0.0), tl.load(x + 3 * gate, valid, 0.0)
        h_before, c_before = h, c
        if reset_ptr is not None:
            is_reset = tl.load(reset_ptr + frame, (row < rows) & (t < length), 0) != 0
            h_before, c_before = tl.where(is_reset, 0.0, h), tl.where(is_reset, 0.0, c)
        narrow = h_before.to(R_ptr.dtype.element_ty)
        z_i = tl.dot(narrow, R_i, x_i.to(tl.float32) + b_i, input_precision="tf32x3")
        z_f = tl.dot(narrow, R_f, x_f.to(tl.float32) + b_f, input_precision="tf32x3")
        z_g = tl.dot(narrow, R_g, x_g.to(tl.float32) + b_g, input_precision="tf32x3")
        z_o = tl.dot(narrow, R_o, x_o.to(tl.float32) + b_o, input_precision="tf32x3")
        h_after, c_after = _cell(z_i, z_f, z_g, z_o, c_before)
        h, c = tl.where(valid, h_after, h), tl.where(valid, c_after, c)
        tl.store(y_ptr + frame * gate + head * dim + d, tl.where(valid, h, 0.0), mask)
        tl.store(memory_ptr + frame * gate + head * dim + d, c, mask)
    tl.store(h_last_ptr + at_state, h, mask)
    tl.store(c_last_ptr + at_state, c, mask)


@triton.jit
def backward_kernel(
    gates_ptr, R_ptr, b_ptr, c_ptr, lengths_ptr, reset_ptr, memory_ptr, dy_ptr, dh_last_ptr, dc_last_ptr,
    dwx_ptr, dh_ptr, dc_ptr, rows, time, heads, dim, ROWS: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """``gates`` (H, B, T, 4, D): wx + R h_{t−1} of every frame, made beforehand in one product."""
    head = tl.program_id(0)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    d = tl.arange(0, DIM)[None, :]
    mask, gate = (row < rows) & (d < dim), heads * dim
    length = tl.full((ROWS, 1), time, tl.int32)
    if lengths_ptr is not None:
        length = tl.load(lengths_ptr + row, row < rows, 0).to(tl.int32)
    R_i, R_f = transposed(R_ptr, head, dim, 0, 4, DIM), transposed(R_ptr, head, dim, 1, 4, DIM)
    R_g, R_o = transposed(R_ptr, head, dim, 2, 4, DIM), transposed(R_ptr, head, dim, 3, 4, DIM)
    bias = b_ptr + head * dim + d
    b_i, b_f = tl.load(bias, d < dim, 0.0), tl.load(bias + gate, d < dim, 0.0)
    b_g, b_o = tl.load(bias + 2 * gate, d < dim, 0.0), tl.load(bias + 3 * gate, d < dim, 0.0)
    at_state = row * gate + head * dim + d
    c_first = tl.load(c_ptr + at_state, mask, 0.0)
    end = row.to(tl.int64) * time + time - 1
    c = tl.load(memory_ptr + end * gate + head * dim + d, mask & (time > 0), 0.0)
    dh, dc = tl.load(dh_last_ptr + at_state, mask, 0.0), tl.load(dc_last_ptr + at_state, mask, 0.0)
    for back in tl.range(0, time, num_stages=2):
        t = time - 1 - back
        frame, valid = row.to(tl.int64) * time + t, mask & (t < length)
        z = gates_ptr + (head.to(tl.int64) * rows * time + frame) * 4 * dim + d
        i, f = tl.load(z, valid, 0.0).to(tl.float32) + b_i, tl.load(z + dim, valid, 0.0).to(tl.float32) + b_f
        g, o = (
            tl.load(z + 2 * dim, valid, 0.0).to(tl.float32) + b_g,
            tl.load(z + 3 * dim, valid, 0.0).to(tl.float32) + b_o,
        )
        at = frame * gate + head * dim + d
        c_kept = tl.where(t == 0, c_first, tl.load(memory_ptr + at - gate, mask & (t > 0), 0.0))
        c_before = c_kept
        is_reset = tl.zeros((ROWS, 1), tl.int1)
        if reset_ptr is not None:
            is_reset = tl.load(reset_ptr + frame, (row < rows) & (t < length), 0) != 0
            c_before = tl.where(is_reset, 0.0, c_kept)
        dy = tl.load(dy_ptr + at, valid, 0.0).to(tl.float32)
        di, df, dg, do, dc_before = _cell_backward(i, f, g, o, c_before, c, dh + dy, dc)
        dc = tl.where(valid, tl.where(is_reset, 0.0, dc_before), dc)
        dwx = dwx_ptr + frame * 4 * gate + head * dim + d
        narrow = R_ptr.dtype.element_ty
        di, df = tl.where(valid, di, 0.0).to(narrow), tl.where(valid, df, 0.0).to(narrow)
        dg, do = tl.where(valid, dg, 0.0).to(narrow), tl.where(valid, do, 0.0).to(narrow)
        tl.store(dwx, di, mask)
        tl.store(dwx + gate, df, mask)
        tl.store(dwx + 2 * gate, dg, mask)
        tl.store(dwx + 3 * gate, do, mask)
        dh_before = tl.dot(di, R_i, input_precision="tf32x3")
        dh_before = tl.dot(df, R_f, dh_before, input_precision="tf32x3")
        dh_before = tl.dot(dg, R_g, dh_before, input_precision="tf32x3")
        dh_before = tl.dot(do, R_o, dh_before, input_precision="tf32x3")
        dh = tl.where(valid, tl.where(is_reset, 0.0, dh_before), dh)
        c = c_kept
    tl.store(dh_ptr + at_state, dh, mask)
    tl.store(dc_ptr + at_state, dc, mask)


@triton.jit(do_not_specialize=["t"])
def forward_step_kernel(
    products_ptr, wx_ptr, b_ptr, lengths_ptr, reset_ptr, y_ptr, memory_ptr, h_ptr, c_ptr,
    t, rows, time, heads, dim, BLOCK: tl.constexpr,
):  # fmt: skip
    """Frame t, after ``products`` (H, B, 4, D), R times the state before it; h and c are brought up to date in place."""
    row, at = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    gate = heads * dim
    mask, frame = at < gate, row.to(tl.int64) * time + t
    length = time
    if lengths_ptr is not None:
        length = tl.load(lengths_ptr + row).to(tl.int32)
    valid = mask & (t < length)
    x, bias = wx_ptr + frame * 4 * gate + at, b_ptr + at
    i = tl.load(x, valid, 0.0).to(tl.float32) + tl.load(bias, mask, 0.0)
    f = tl.load(x + gate, valid, 0.0).to(tl.float32) + tl.load(bias + gate, mask, 0.0)
    g = tl.load(x + 2 * gate, valid, 0.0).to(tl.float32) + tl.load(bias + 2 * gate, mask, 0.0)
    o = tl.load(x + 3 * gate, valid, 0.0).to(tl.float32) + tl.load(bias + 3 * gate, mask, 0.0)
    at_state = row * gate + at
    c_before, going_on = tl.load(c_ptr + at_state, mask, 0.0), valid
    if reset_ptr is not None:
        going_on = valid & (tl.load(reset_ptr + frame) == 0)
    p = products_ptr + ((at // dim) * rows + row) * 4 * dim + at % dim
    i, f = i + tl.load(p, going_on, 0.0), f + tl.load(p + dim, going_on, 0.0)
    g, o = g + tl.load(p + 2 * dim, going_on, 0.0), o + tl.load(p + 3 * dim, going_on, 0.0)
    h, c = _cell(i, f, g, o, tl.where(going_on, c_before, 0.0))
    tl.store(y_ptr + frame * gate + at, tl.where(valid, h, 0.0), mask)
    tl.store(memory_ptr + frame * gate + at, tl.where(valid, c, c_before), mask)
    tl.store(h_ptr + at_state, h, valid)
    tl.store(c_ptr + at_state, c, valid)


@triton.jit(do_not_specialize=["t"])
def backward_step_kernel(
    dproducts_ptr, dbefore_ptr, gates_ptr, b_ptr, c_ptr, lengths_ptr, reset_ptr, memory_ptr, dy_ptr,
    dwx_ptr, dc_ptr, dh_ptr, t, rows, time, heads, dim, BLOCK: tl.constexpr,
):  # fmt: skip
    """Frame t. The gradient of its state is ``dh`` and what came through R, ``dbefore`` (H, B, D); both are for frame t − 1
    after it, when R was applied to ``dproducts`` (H, B, 4, D)."""
    row, at = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    gate = heads * dim
    mask, frame = at < gate, row.to(tl.int64) * time + t
    length = time
    if lengths_ptr is not None:
        length = tl.load(lengths_ptr + row).to(tl.int32)
    valid = mask & (t < length)
    head, d = at // dim, at % dim
    z, bias = gates_ptr + ((head * rows + row).to(tl.int64) * time + t) * 4 * dim + d, b_ptr + at
    i = tl.load(z, valid, 0.0).to(tl.float32) + tl.load(bias, mask, 0.0)
    f = tl.load(z + dim, valid, 0.0).to(tl.float32) + tl.load(bias + gate, mask, 0.0)
    g = tl.load(z + 2 * dim, valid, 0.0).to(tl.float32) + tl.load(bias + 2 * gate, mask, 0.0)
    o = tl.load(z + 3 * dim, valid, 0.0).to(tl.float32) + tl.load(bias + 3 * gate, mask, 0.0)
    at_state, here = row * gate + at, frame * gate + at
    going_on = valid
    if reset_ptr is not None:
        going_on = valid & (tl.load(reset_ptr + frame) == 0)
    c_before = tl.load(memory_ptr + here - gate, going_on & (t > 0), 0.0)
    c_before += tl.load(c_ptr + at_state, going_on & (t == 0), 0.0)
    c, dy = tl.load(memory_ptr + here, valid, 0.0), tl.load(dy_ptr + here, valid, 0.0).to(tl.float32)
    dh = tl.load(dh_ptr + at_state, mask, 0.0) + tl.load(dbefore_ptr + (head * rows + row) * dim + d, mask, 0.0)
    dc = tl.load(dc_ptr + at_state, mask, 0.0)
    di, df, dg, do, dc_before = _cell_backward(i, f, g, o, c_before, c, dh + dy, dc)
    dwx = dwx_ptr + frame * 4 * gate + at
    tl.store(dwx, tl.where(valid, di, 0.0), mask)
    tl.store(dwx + gate, tl.where(valid, df, 0.0), mask)
    tl.store(dwx + 2 * gate, tl.where(valid, dg, 0.0), mask)
    tl.store(dwx + 3 * gate, tl.where(valid, do, 0.0), mask)
    p = dproducts_ptr + (head * rows + row) * 4 * dim + d
    tl.store(p, tl.where(going_on, di, 0.0), mask)
    tl.store(p + dim, tl.where(going_on, df, 0.0), mask)
    tl.store(p + 2 * dim, tl.where(going_on, dg, 0.0), mask)
    tl.store(p + 3 * dim, tl.where(going_on, do, 0.0), mask)
    tl.store(dh_ptr + at_state, tl.where(valid, 0.0, dh), mask)
    tl.store(dc_ptr + at_state, tl.where(valid, tl.where(going_on, dc_before, 0.0), dc), mask)
