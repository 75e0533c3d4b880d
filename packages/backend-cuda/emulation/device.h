// CUDA C++ for g++: stands in front of a kernel's text. `has_barriers` is set by the emulated NVRTC.
#pragma once
#include <climits>
#include <cmath>
#include "block.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define threadIdx emulated::thread_index
#define blockIdx emulated::block_index
#define blockDim emulated::block_size
#define gridDim emulated::grid_size
#define warpSize 32

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

static inline void __syncthreads() { emulated::wait_in(emulated::State::at_block_barrier); }
static inline int __syncthreads_or(int value) {
  static int any;
  any |= value != 0;
  __syncthreads();
  const int result = any;
  __syncthreads();
  any = 0;
  __syncthreads();
  return result;
}
static inline void __syncwarp(unsigned mask = 0xffffffffu) { emulated::exchange(mask, 0); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

template <class T>
static T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int lane = emulated::current & 31;
  return emulated::shuffle(mask, value, (lane & ~(width - 1)) + (source & (width - 1)));
}
template <class T>
static T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return emulated::shuffle(mask, value, (emulated::current & 31) ^ bits);
}
template <class T>
static T __shfl_down_sync(unsigned mask, T value, unsigned by) {
  return emulated::shuffle(mask, value, (emulated::current & 31) + by);
}
template <class T>
static T __shfl_up_sync(unsigned mask, T value, unsigned by) {
  return emulated::shuffle(mask, value, int(emulated::current & 31) - int(by));
}
static inline unsigned __ballot_sync(unsigned mask, int value) { return emulated::vote(mask, value != 0); }
static inline int __any_sync(unsigned mask, int value) { return emulated::vote(mask, value != 0) != 0; }
static inline int __all_sync(unsigned mask, int value) { return emulated::vote(mask, value == 0) == 0; }

template <class T>
static T atomicAdd(T* place, T value) {
  const T before = *place;
  *place = before + value;
  return before;
}
template <class T>
static T atomicMax(T* place, T value) {
  const T before = *place;
  if (value > before) *place = value;
  return before;
}
template <class T>
static T atomicMin(T* place, T value) {
  const T before = *place;
  if (value < before) *place = value;
  return before;
}
template <class T>
static T atomicExch(T* place, T value) {
  return std::exchange(*place, value);
}
template <class T>
static T atomicCAS(T* place, T expected, T value) {
  const T before = *place;
  if (before == expected) *place = value;
  return before;
}

template <class To, class From>
static inline To reinterpret_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "bits of the same number");
  To result;
  memcpy(&result, &value, sizeof(To));
  return result;
}
static inline int __float_as_int(float x) { return reinterpret_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return reinterpret_bits<unsigned>(x); }
static inline float __int_as_float(int x) { return reinterpret_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return reinterpret_bits<float>(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
static inline int __ffs(int x) { return __builtin_ffs(x); }

template <class T>
static inline T __ldg(const T* place) {
  return *place;
}
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
// glibc has functions of these names that are something else.
#define __expf expf
#define __logf logf
static inline float __fdividef(float x, float y) { return x / y; }
static inline float __saturatef(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }
using std::isfinite;
using std::isinf;
using std::isnan;
using std::max;
using std::min;
