// What the fused kernels share: sums over a warp and a block, loops over rows.
#include "stored.cuh"

constexpr unsigned kEveryLane = 0xffffffffu;

__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(kEveryLane, value, distance);
  return value;
}
__device__ inline float warp_max(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(kEveryLane, value, distance));
  return value;
}

/// Over all threads of a block of whole warps; every thread gets the result.
__device__ inline float block_sum(float value) {
  __shared__ float parts[32];
  int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  value = warp_sum(value);
  __syncthreads();  // the parts of an earlier sum have been read
  if (lane == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  return warp_sum(lane < warps ? parts[lane] : 0.f);
}
__device__ inline float block_max(float value) {
  __shared__ float parts[32];
  int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  value = warp_max(value);
  __syncthreads();
  if (lane == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  return warp_max(lane < warps ? parts[lane] : -INFINITY);
}

/// body(i) for the threads of a block over [0, count).
template <class Body>
__device__ inline void each_in_block(int count, Body body) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) body(i);
}

/// body(i, V floats at row + i) for `count` floats at any address: single floats up to the first and after the last
/// 16-byte boundary, four at a time between. Rows of a vocabulary of odd size start anywhere.
template <class Body>
__device__ inline void each_float_in_block(const float* row, int count, Body body) {
  int head = static_cast<int>((16 - (reinterpret_cast<unsigned long long>(row) & 15)) % 16 / 4);
  head = min(head, count);
  int body_end = head + (count - head) / 4 * 4;
  if (threadIdx.x < head) body(static_cast<int>(threadIdx.x), load_floats<1>(row + threadIdx.x));
  for (int i = head + 4 * threadIdx.x; i < body_end; i += 4 * blockDim.x) body(i, load_floats<4>(row + i));
  int last = body_end + threadIdx.x;
  if (last < count) body(last, load_floats<1>(row + last));
}
