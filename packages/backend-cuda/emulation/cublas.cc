// Products of matrices as cuBLAS makes them, column by column, with its rounding of the operands.
#include <cstdint>
#include <cstring>
#include "stream.h"

namespace {
constexpr int real_32f = 0, real_16bf = 14;
constexpr int compute_32f = 68, compute_32f_fast_tf32 = 77;

float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/// A tensor core reads 10 bits of the mantissa.
float to_tf32(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;
  return from_bits((bits + 0x1000u) & 0xffffe000u);
}

struct Matrix {
  uint64_t address;
  bool bf16, transposed, tf32;
  int64_t leading;
  float at(int64_t row, int64_t column) const {
    const int64_t place = transposed ? column + row * leading : row + column * leading;
    if (bf16) return from_bits(uint32_t(reinterpret_cast<const uint16_t*>(address)[place]) << 16);
    const float value = reinterpret_cast<const float*>(address)[place];
    return tf32 ? to_tf32(value) : value;
  }
};

uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return uint16_t(bits >> 16 | 0x40u);
  return uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

struct Result {
  uint64_t address;
  bool bf16;
  float at(int64_t place) const {
    return bf16 ? from_bits(uint32_t(reinterpret_cast<uint16_t*>(address)[place]) << 16)
                : reinterpret_cast<float*>(address)[place];
  }
  void put(int64_t place, float value) const {
    if (bf16)
      reinterpret_cast<uint16_t*>(address)[place] = to_bf16(value);
    else
      reinterpret_cast<float*>(address)[place] = value;
  }
};
}  // namespace

extern "C" {
int cublasCreate_v2(void** handle) {
  *handle = &the_stream;
  return 0;
}
int cublasSetStream_v2(void*, void*) { return 0; }
int cublasSetWorkspace_v2(void*, uint64_t, size_t) { return 0; }

int cublasGemmStridedBatchedEx(void*, int transpose_a, int transpose_b, int m, int n, int k, const void* alpha,
                               uint64_t a, int type_a, int lda, long long stride_a, uint64_t b, int type_b, int ldb,
                               long long stride_b, const void* beta, uint64_t c, int type_c, int ldc,
                               long long stride_c, int count, int compute, int) {
  const bool known_types = (type_a == real_32f || type_a == real_16bf) && type_a == type_b &&
                           (type_c == real_32f || type_c == type_a);
  const bool known_compute = compute == compute_32f || (compute == compute_32f_fast_tf32 && type_a == real_32f);
  if (m < 0 || n < 0 || k < 0 || count < 0) return 7;
  if (lda < (transpose_a ? k : m) || ldb < (transpose_b ? n : k) || ldc < m) return 7;
  if (!known_types || !known_compute) return 15;
  float scale, keep;
  memcpy(&scale, alpha, 4);
  memcpy(&keep, beta, 4);
  submit([=] {
    const bool bf16 = type_a == real_16bf, tf32 = compute == compute_32f_fast_tf32;
    const int size = bf16 ? 2 : 4;
    for (int batch = 0; batch < count; batch++) {
      const Matrix first{a + batch * stride_a * size, bf16, transpose_a != 0, tf32, lda};
      const Matrix second{b + batch * stride_b * size, bf16, transpose_b != 0, tf32, ldb};
      const Result result{c + batch * stride_c * (type_c == real_16bf ? 2 : 4), type_c == real_16bf};
      for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < m; i++) {
          float sum = 0;
          for (int64_t p = 0; p < k; p++) sum += first.at(i, p) * second.at(p, j);
          const int64_t place = i + j * ldc;
          result.put(place, scale * sum + (keep != 0 ? keep * result.at(place) : 0));
        }
      }
    }
  });
  return 0;
}
}
