// What every kernel can rely on; stands in front of each module. NVRTC has no headers but what is given here.
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fc00000)
#endif

typedef unsigned short bf16;

__device__ __forceinline__ float from_bf16(bf16 x) { return __uint_as_float(((unsigned)x) << 16); }

// Rounds to nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ bf16 to_bf16(float x) {
  unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bf16)((bits >> 16) | 0x40u);
  return (bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// The number of this thread in a one-dimensional grid.
__device__ __forceinline__ unsigned thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }
