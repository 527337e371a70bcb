"""The selective scan's kernels: a program owns a block of one row's channels and keeps all of their states on chip.

A tile is CHUNKS · STEPS frames. Its tensors are tuples of STEPS blocks (CHUNKS, BLOCK), frame c · STEPS + s the c-th row of
block s: a chunk's recurrence is arithmetic in one thread's registers, forwards and backwards, and only one map for each
chunk passes from thread to thread.
"""

# ruff: noqa: RUF005 (Triton joins tuples, it does not unpack them)

import triton
import triton.language as tl

from audiorec_kernels.scan.triton import advance, row_length, scan_chunks

_LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _step_size(dt_ptr, bias, at, valid, SOFTPLUS: tl.constexpr):
    """The step, 0 where not valid, which holds the state exactly; and its derivative by dt."""
    dt = tl.load(dt_ptr + at, valid, 0.0).to(tl.float32) + bias
    slope = tl.full(dt.shape, 1.0, tl.float32)
    if SOFTPLUS:
        small = tl.exp(-tl.abs(dt))
        slope = tl.where(dt > 0, 1.0, small) / (1 + small)
        # log(1 + small) loses small's low bits, which are all of the step where dt is far below 0.
        dt = tl.maximum(dt, 0.0) + tl.where(small < 1e-3, small * (1 - 0.5 * small), tl.log(1 + small))
    return tl.where(valid, dt, 0.0), slope


@triton.jit
def _transition(dt, A, is_reset, reset_ptr):
    a = tl.exp2(dt * (A * _LOG2_E))
    return a if reset_ptr is None else tl.where(is_reset, 0.0, a)


@triton.jit
def _begins(reset_ptr, t, length):
    """Whether the state is reset to zero before frame t; never without ``reset``, in the shape of t."""
    return t < 0 if reset_ptr is None else tl.load(reset_ptr + t, t < length, 0) != 0


@triton.jit
def _step(h, a, x, reset_ptr):
    """The next state, a h + x. With resets a = 0 forgets even a state that is not a number; without, that check is saved."""
    return a * h + x if reset_ptr is None else advance(h, a, x)


@triton.jit
def forward_kernel(
    u_ptr, dt_ptr, A_ptr, B_ptr, C_ptr, D_ptr, z_ptr, bias_ptr, initial_ptr, lengths_ptr, reset_ptr,
    y_ptr, last_ptr, starts_ptr, time, dim,
    SOFTPLUS: tl.constexpr, N: tl.constexpr, STATES: tl.constexpr,
    CHUNKS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``B`` and ``C`` (B, N, T): a state's frames side by side, so that a tile of them is one piece of memory."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    state = tl.arange(0, STATES)[:, None]
    chunk = tl.arange(0, CHUNKS)[:, None]
    length = row_length(lengths_ptr, row, time)
    mask, kept = d < dim, (state < N) & (d < dim)
    bias = 0.0 if bias_ptr is None else tl.load(bias_ptr + d, mask, 0.0)
    D = 0.0 if D_ptr is None else tl.load(D_ptr + d, mask, 0.0)
    states = tl.zeros((STATES, BLOCK), tl.float32)
    if initial_ptr is not None:
        states = tl.load(initial_ptr + (row * dim + d) * N + state, kept, 0.0)
    u_ptr, dt_ptr, y_ptr = u_ptr + row * time * dim, dt_ptr + row * time * dim, y_ptr + row * time * dim
    B_ptr, C_ptr = B_ptr + row * time * N, C_ptr + row * time * N
    if z_ptr is not None:
        z_ptr += row * time * dim
    if reset_ptr is not None:
        reset_ptr += row * time
    for start in range(0, time, CHUNKS * STEPS):
        tile = row * tl.cdiv(time, CHUNKS * STEPS) + start // (CHUNKS * STEPS)
        tl.store(starts_ptr + (tile * N + state) * dim + d, states, kept)
        dt, x, y, is_reset = (), (), (), ()
        for s in tl.static_range(STEPS):
            t = start + chunk * STEPS + s
            at, valid = t * dim + d, (t < length) & mask
            step, _slope = _step_size(dt_ptr, bias, at, valid, SOFTPLUS)
            u = tl.load(u_ptr + at, valid, 0.0).to(tl.float32)
            dt, x, y, is_reset = (
                dt + (step,),
                x + (step * u,),
                y + (u * D,),
                is_reset + (_begins(reset_ptr, t, length),),
            )
        for n in range(N):
            A = tl.load(A_ptr + d * N + n, mask, 0.0)
            decay, local = tl.full((CHUNKS, BLOCK), 1.0, tl.float32), tl.zeros((CHUNKS, BLOCK), tl.float32)
            a = ()
            for s in tl.static_range(STEPS):
                t = start + chunk * STEPS + s
                a_s = _transition(dt[s], A, is_reset[s], reset_ptr)
                B = tl.load(B_ptr + n * time + t, t < length, 0.0).to(tl.float32)
                a, decay, local = a + (a_s,), _step(decay, a_s, 0.0, reset_ptr), _step(local, a_s, x[s] * B, reset_ptr)
            h, end = scan_chunks(decay, local, tl.sum(tl.where(state == n, states, 0.0), 0), CHUNKS)
            states = tl.where(state == n, end[None, :], states)
            sums = ()
            for s in tl.static_range(STEPS):
                t = start + chunk * STEPS + s
                B = tl.load(B_ptr + n * time + t, t < length, 0.0).to(tl.float32)
                C = tl.load(C_ptr + n * time + t, t < length, 0.0).to(tl.float32)
                h = _step(h, a[s], x[s] * B, reset_ptr)
                sums += (y[s] + C * h,)
            y = sums
        for s in tl.static_range(STEPS):
            t = start + chunk * STEPS + s
            at = t * dim + d
            out = y[s]
            if z_ptr is not None:
                z = tl.load(z_ptr + at, (t < length) & mask, 0.0).to(tl.float32)
                out *= z * tl.sigmoid(z)
            tl.store(y_ptr + at, tl.where(t < length, out, 0.0), (t < time) & mask)
    tl.store(last_ptr + (row * dim + d) * N + state, states, kept)


@triton.jit
def backward_kernel(
    u_ptr, dt_ptr, A_ptr, B_ptr, C_ptr, D_ptr, z_ptr, bias_ptr, lengths_ptr, reset_ptr, starts_ptr, dy_ptr, dlast_ptr,
    du_ptr, ddt_ptr, dA_ptr, dB_ptr, dC_ptr, dD_ptr, dz_ptr, dbias_ptr, dinitial_ptr, time, dim,
    SOFTPLUS: tl.constexpr, N: tl.constexpr, STATES: tl.constexpr,
    CHUNKS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Tile by tile from the last, each computed again from the states that it began with. ``B`` and ``C`` are (B, N, T).

    dA, dD and dbias are sums over a row, dB and dC (blocks of channels, B, N, T) over this program's channels.
    """
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    state = tl.arange(0, STATES)[:, None]
    chunk = tl.arange(0, CHUNKS)[:, None]
    length = row_length(lengths_ptr, row, time)
    mask, kept = d < dim, (state < N) & (d < dim)
    bias = 0.0 if bias_ptr is None else tl.load(bias_ptr + d, mask, 0.0)
    D = 0.0 if D_ptr is None else tl.load(D_ptr + d, mask, 0.0)
    carried = tl.load(dlast_ptr + (row * dim + d) * N + state, kept, 0.0)  # gradient of the states before a frame
    dA = tl.zeros((STATES, BLOCK), tl.float32)
    dD, dbias = tl.zeros((CHUNKS, BLOCK), tl.float32), tl.zeros((CHUNKS, BLOCK), tl.float32)
    tiles = tl.cdiv(time, CHUNKS * STEPS)
    u_ptr, dt_ptr, dy_ptr = u_ptr + row * time * dim, dt_ptr + row * time * dim, dy_ptr + row * time * dim
    du_ptr, ddt_ptr = du_ptr + row * time * dim, ddt_ptr + row * time * dim
    B_ptr, C_ptr, starts_ptr = B_ptr + row * time * N, C_ptr + row * time * N, starts_ptr + row * tiles * N * dim
    part = (tl.program_id(1) * tl.num_programs(0) + row) * time * N
    dB_ptr, dC_ptr = dB_ptr + part, dC_ptr + part
    if z_ptr is not None:
        z_ptr, dz_ptr = z_ptr + row * time * dim, dz_ptr + row * time * dim
    if reset_ptr is not None:
        reset_ptr += row * time
    for done in range(tiles):
        tile = tiles - 1 - done
        dt, u, dy, ddt, dx, y, is_reset = (), (), (), (), (), (), ()
        for s in tl.static_range(STEPS):
            t = (tile * CHUNKS + chunk) * STEPS + s
            at, valid = t * dim + d, (t < length) & mask
            step, _slope = _step_size(dt_ptr, bias, at, valid, SOFTPLUS)
            u_s = tl.load(u_ptr + at, valid, 0.0).to(tl.float32)
            dy_s = tl.load(dy_ptr + at, valid, 0.0).to(tl.float32)
            if z_ptr is not None:
                z = tl.load(z_ptr + at, valid, 0.0).to(tl.float32)
                dy_s *= z * tl.sigmoid(z)
                y += (u_s * D,)
            zero = tl.zeros((CHUNKS, BLOCK), tl.float32)
            is_reset += (_begins(reset_ptr, t, length),)
            dt, u, dy, ddt, dx = dt + (step,), u + (u_s,), dy + (dy_s,), ddt + (zero,), dx + (zero,)
        for n in range(N):
            A = tl.load(A_ptr + d * N + n, mask, 0.0)
            h = tl.load(starts_ptr + (tile * N + n) * dim + d, mask, 0.0)
            decay, local = tl.full((CHUNKS, BLOCK), 1.0, tl.float32), tl.zeros((CHUNKS, BLOCK), tl.float32)
            a, h_before = (), ()
            for s in tl.static_range(STEPS):
                t = (tile * CHUNKS + chunk) * STEPS + s
                a_s = _transition(dt[s], A, is_reset[s], reset_ptr)
                B = tl.load(B_ptr + n * time + t, t < length, 0.0).to(tl.float32)
                a += (a_s,)
                decay, local = decay * a_s, local * a_s + dt[s] * u[s] * B
            h, _end = scan_chunks(decay, local, h, CHUNKS)
            for s in tl.static_range(STEPS):
                t = (tile * CHUNKS + chunk) * STEPS + s
                B = tl.load(B_ptr + n * time + t, t < length, 0.0).to(tl.float32)
                h_before += (h,)
                h = h * a[s] + dt[s] * u[s] * B

            local = tl.zeros((CHUNKS, BLOCK), tl.float32)
            for s in tl.static_range(STEPS - 1, -1, -1):
                t = (tile * CHUNKS + chunk) * STEPS + s
                C = tl.load(C_ptr + n * time + t, t < length, 0.0).to(tl.float32)
                local = a[s] * (C * dy[s] + local)
            g = tl.sum(tl.where(state == n, carried, 0.0), 0)
            g, g_first = scan_chunks(decay, local, g, CHUNKS, REVERSE=True)
            carried = tl.where(state == n, g_first[None, :], carried)

            ddt_n, dx_n, y_n, dA_n = (), (), (), tl.zeros((CHUNKS, BLOCK), tl.float32)
            for s in tl.static_range(STEPS - 1, -1, -1):
                t = (tile * CHUNKS + chunk) * STEPS + s
                frame, exists = n * time + t, t < length
                B = tl.load(B_ptr + frame, exists, 0.0).to(tl.float32)
                C = tl.load(C_ptr + frame, exists, 0.0).to(tl.float32)
                g += C * dy[s]
                tl.store(dB_ptr + frame, tl.sum(g * dt[s] * u[s], 1)[:, None], t < time)
                tl.store(dC_ptr + frame, tl.sum(dy[s] * h, 1)[:, None], t < time)
                if z_ptr is not None:
                    y_n = (y[s] + C * h,) + y_n
                dx_n = (dx[s] + g * B,) + dx_n
                g *= a[s]
                h = h_before[s]
                ddt_n = (ddt[s] + g * h * A,) + ddt_n
                dA_n += g * h * dt[s]
            ddt, dx, y = ddt_n, dx_n, y_n
            dA += tl.where(state == n, tl.sum(dA_n, 0)[None, :], 0.0)
        for s in tl.static_range(STEPS):
            t = (tile * CHUNKS + chunk) * STEPS + s
            at, valid, inside = t * dim + d, (t < length) & mask, (t < time) & mask
            _again, slope = _step_size(dt_ptr, bias, at, valid, SOFTPLUS)
            ddt_s = tl.where(valid, (ddt[s] + dx[s] * u[s]) * slope, 0.0)
            tl.store(ddt_ptr + at, ddt_s, inside)
            tl.store(du_ptr + at, dx[s] * dt[s] + dy[s] * D, inside)
            dbias += ddt_s
            dD += dy[s] * u[s]
            if z_ptr is not None:
                z = tl.load(z_ptr + at, valid, 0.0).to(tl.float32)
                gate = tl.sigmoid(z)
                dy_s = tl.load(dy_ptr + at, valid, 0.0).to(tl.float32)
                tl.store(dz_ptr + at, dy_s * y[s] * gate * (1 + z * (1 - gate)), inside)
    tl.store(dinitial_ptr + (row * dim + d) * N + state, carried, kept)
    tl.store(dA_ptr + (row * dim + d) * N + state, dA, kept)
    tl.store(dD_ptr + row * dim + d, tl.sum(dD, 0), mask)
    tl.store(dbias_ptr + row * dim + d, tl.sum(dbias, 0), mask)
