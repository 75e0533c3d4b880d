// Between the types in which numbers lie in memory.
#include "stored.cuh"

// Four elements a thread.
extern "C" __global__ void to_bf16_array(const float* x, bf16* y, int size) {
  const unsigned first = 4 * thread_number();
  if (first + 4 <= size) return store_rounded<4>(y + first, load_floats<4>(x + first));
  for (unsigned i = first; i < size; i++) y[i] = to_bf16(x[i]);
}
extern "C" __global__ void from_bf16_array(const bf16* x, float* y, int size) {
  const unsigned first = 4 * thread_number();
  if (first + 4 <= size) return store_floats<4>(y + first, load_rounded<4>(x + first));
  for (unsigned i = first; i < size; i++) y[i] = from_bf16(x[i]);
}

// As JavaScript: towards zero, modulo 2^32, and 0 for NaN and infinities.
extern "C" __global__ void float_to_int(const float* x, int* y, int size) {
  const unsigned i = thread_number();
  if (i >= size) return;
  const float value = x[i];
  if (fabsf(value) < 2147483648.f) y[i] = (int)value;
  else y[i] = isfinite(value) ? (int)(unsigned)(long long)fmod((double)value, 4294967296.0) : 0;
}
extern "C" __global__ void int_to_float(const int* x, float* y, int size) {
  const unsigned i = thread_number();
  if (i < size) y[i] = (float)x[i];
}
extern "C" __global__ void float_to_bool(const float* x, int* y, int size) {
  const unsigned i = thread_number();
  if (i < size) y[i] = x[i] != 0.f;
}
extern "C" __global__ void int_to_bool(const int* x, int* y, int size) {
  const unsigned i = thread_number();
  if (i < size) y[i] = x[i] != 0;
}
