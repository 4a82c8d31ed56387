// CRC-32C (Castagnoli) in the processor's own instruction, which C reaches and Swift does not.
// `gulp_crc32c_accelerated` says whether this machine has it; where it does not, the caller uses a table.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static inline int gulp_crc32c_accelerated(void) {
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 20));  // SSE 4.2
}

__attribute__((target("sse4.2"))) static inline uint32_t gulp_crc32c_extend(uint32_t crc, const void *bytes, size_t count) {
    const unsigned char *p = (const unsigned char *)bytes;
    uint64_t wide = crc;
    for (; count >= 8; count -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; count; count--) crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
static inline int gulp_crc32c_accelerated(void) { return 1; }

static inline uint32_t gulp_crc32c_extend(uint32_t crc, const void *bytes, size_t count) {
    const unsigned char *p = (const unsigned char *)bytes;
    for (; count >= 8; count -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        crc = __builtin_arm_crc32cd(crc, word);
    }
    for (; count; count--) crc = __builtin_arm_crc32cb(crc, *p++);
    return crc;
}
#else
static inline int gulp_crc32c_accelerated(void) { return 0; }
static inline uint32_t gulp_crc32c_extend(uint32_t crc, const void *bytes, size_t count) {
    (void)bytes, (void)count;
    return crc;
}
#endif
