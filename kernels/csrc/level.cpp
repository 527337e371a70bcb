// Which of the instruction-set levels this machine has.
#include "common.h"

// The best level that was built and that this machine runs; it runs those below it, too.
KERNEL_EXPORT const char *audiorec_level() {
#if defined(AUDIOREC_X86_LEVELS)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx2 && avx512) return "avx512";
    if (avx2) return "avx2";
#endif
    return "baseline";
}
