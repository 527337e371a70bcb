// What every kernel shares. Each source is compiled once for every instruction-set level; Python asks level.cpp which one
// this machine has and calls the symbols of that name. Inline code of a header would be merged between the levels by the
// linker, and a small machine could meet AVX-512: so no std templates here, and everything is static.
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define PAST_CACHES 1
#else
#define PAST_CACHES 0
#endif

#if defined(_WIN32)
#define KERNEL_EXPORT extern "C" __declspec(dllexport)
#else
#define KERNEL_EXPORT extern "C" __attribute__((visibility("default")))
#endif

#define KERNEL_JOIN_(name, level) name##_##level
#define KERNEL_JOIN(name, level) KERNEL_JOIN_(name, level)
// KERNEL(linear_scan)(…) is linear_scan_avx2 where AUDIOREC_LEVEL is avx2.
#define KERNEL(name) KERNEL_EXPORT void KERNEL_JOIN(name, AUDIOREC_LEVEL)

// Before a loop over channels: its iterations do not touch one another's memory.
#define SIMD _Pragma("omp simd")

static inline int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

// A row's valid frames. Python has checked them; a wrong one must not leave the tensor all the same.
static inline int64_t frames_of(const int64_t *lengths, int64_t row, int64_t time) {
    return lengths ? max_of(0, min_of(lengths[row], time)) : time;
}

static inline void fill(float *to, float value, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = value;
}

static inline void copy(float *__restrict to, const float *__restrict from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

// Ask for memory that is needed soon: processors foresee rows that rise in memory, not those that fall.
static inline void foresee(const float *x, int64_t n) {
#if defined(__GNUC__)
    for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(x + i);
#else
    (void)x, (void)n;
#endif
}

// Whether n floats at these addresses, in rows of dim, are better written past the caches: so many that they would push out
// what is still to be read, and in whole cache lines, which then need not be read first.
static inline bool goes_past_caches(int64_t n, int64_t dim, const float *x, const float *y) {
    return PAST_CACHES && n >= 1 << 20 && dim % 16 == 0 && ((uintptr_t)x | (uintptr_t)y) % 64 == 0;
}

// One cache line past the caches; settle() before another thread reads it.
static inline void write_past(float *to, const float *line) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, _mm512_loadu_ps(line));
#elif PAST_CACHES
    for (int64_t i = 0; i < 16; i += 4) _mm_stream_ps(to + i, _mm_loadu_ps(line + i));
#else
    (void)to, (void)line;
#endif
}

static inline void settle() {
#if PAST_CACHES
    _mm_sfence();
#endif
}

// body(i) for i in [0, n), on so many threads. One thread never enters OpenMP, which hangs in a forked process.
template <class Body> static void parallel(int64_t n, int64_t threads, const Body &body) {
    if (threads <= 1 || n <= 1) {
        for (int64_t i = 0; i < n; ++i) body(i);
        return;
    }
#pragma omp parallel for num_threads((int)min_of(threads, n)) schedule(dynamic)
    for (int64_t i = 0; i < n; ++i) body(i);
}

// body(row, first channel, channels) over a batch: whole rows, for memory is then read in order; pieces of rows where there
// are fewer rows than threads.
template <class Body> static void parallel_rows(int64_t batch, int64_t dim, int64_t threads, const Body &body) {
    int64_t pieces = batch && batch < threads ? (threads + batch - 1) / batch : 1;
    int64_t width = max_of(64, ((dim + pieces - 1) / pieces + 15) / 16 * 16);
    pieces = (dim + width - 1) / width;
    parallel(batch * pieces, threads, [&](int64_t i) {
        int64_t start = i % pieces * width;
        body(i / pieces, start, min_of(width, dim - start));
    });
}
