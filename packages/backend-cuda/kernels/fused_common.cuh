// What the fused kernels share: sums over a warp and a block, vector loads, running sums of a softmax.

constexpr unsigned kEveryLane = 0xffffffffu;

/// V consecutive floats in one memory transaction; V is 4 where rows are a multiple of 16 bytes, 1 elsewhere.
template <int V>
struct alignas(4 * V) Floats {
  float at[V];
};
template <int V>
__device__ inline Floats<V> load_floats(const float* from) {
  return *reinterpret_cast<const Floats<V>*>(from);
}
template <int V>
__device__ inline void store_floats(float* to, const Floats<V>& values) {
  *reinterpret_cast<Floats<V>*>(to) = values;
}

/// The same rounded to bf16.
template <int V>
__device__ inline void store_rounded(bf16* to, const Floats<V>& values) {
  if (V == 1) {
    *to = to_bf16(values.at[0]);
  } else {
    unsigned low = to_bf16(values.at[0]) | static_cast<unsigned>(to_bf16(values.at[1 % V])) << 16;
    unsigned high = to_bf16(values.at[2 % V]) | static_cast<unsigned>(to_bf16(values.at[3 % V])) << 16;
    *reinterpret_cast<uint2*>(to) = make_uint2(low, high);
  }
}

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
