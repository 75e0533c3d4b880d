// Matrices in the GPU's memory as cuBLAS sees them, column by column, with its rounding of the operands.
#pragma once
#include <cstdint>
#include <cstring>

constexpr int real_32f = 0, real_16bf = 14;
constexpr int compute_32f = 68, compute_32f_fast_tf32 = 77;

inline float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/// A tensor core reads 10 bits of the mantissa.
inline float to_tf32(float value) {
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

inline uint16_t to_bf16(float value) {
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

/// Σ over k of a's row and b's column.
inline float dot(const Matrix& a, int64_t row, const Matrix& b, int64_t column, int64_t k) {
  float sum = 0;
  for (int64_t p = 0; p < k; p++) sum += a.at(row, p) * b.at(p, column);
  return sum;
}
