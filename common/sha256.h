/* sha256: the digest of FIPS 180-4, for fingerprints in reports and audits. No secrets pass through
 * here. */
#ifndef STINT_COMMON_SHA256_H
#define STINT_COMMON_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_HEX = 65 };

/* The digest of n bytes (data may be NULL when n is 0). */
void sha256(const void *data, size_t n, uint8_t digest[SHA256_BYTES]);
/* The same as 64 lower-case hexadecimal digits and a NUL. */
void sha256_hex(const void *data, size_t n, char text[SHA256_HEX]);

#endif
