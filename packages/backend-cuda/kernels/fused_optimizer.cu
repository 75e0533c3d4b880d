// The optimizer's step and the norm of all gradients, over every tensor of a model in one launch: a table of pointers
// says where the tensors lie, and each block finds the tensor that its chunk belongs to.
#include "fused_common.cuh"

typedef unsigned long long Address;

constexpr int kChunk = 4096;

/// The tensor of a chunk, given where each tensor's chunks begin, and the elements of the chunk in it.
struct ChunkOf {
  int tensor;
  long long begin, end;
};
__device__ inline ChunkOf find_chunk(int chunk, const int* firstChunks, const int* sizes, int tensors) {
  int low = 0, high = tensors - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (firstChunks[middle] <= chunk)
      low = middle;
    else
      high = middle - 1;
  }
  long long begin = static_cast<long long>(chunk - firstChunks[low]) * kChunk, size = sizes[low];
  return {low, begin, min(size, begin + kChunk)};
}

/// body(place in the tensor, V) over a chunk, four elements at a time where there are four; tensors start at 16 bytes.
template <class Four, class One>
__device__ inline void each_in_chunk(const ChunkOf& chunk, Four four, One one) {
  long long whole = chunk.begin + (chunk.end - chunk.begin) / 4 * 4;
  for (long long i = chunk.begin + 4 * threadIdx.x; i < whole; i += 4 * blockDim.x) four(i);
  if (whole + threadIdx.x < chunk.end) one(whole + threadIdx.x);
}

struct AdamwSettings {
  float stepSize, beta1, beta2, epsilon, rootScale, gradScale, keep;
};
/// `copy`: the parameter rounded to bf16, which products read, or null.
template <int V>
__device__ inline void update(float* param, const float* grad, float* first, float* second, bf16* copy,
                              const AdamwSettings& s) {
  Floats<V> p = load_floats<V>(param), g = load_floats<V>(grad), m = load_floats<V>(first), v = load_floats<V>(second);
  for (int k = 0; k < V; k++) {
    float d = g.at[k] * s.gradScale;
    m.at[k] = m.at[k] * s.beta1 + d * (1.f - s.beta1);
    v.at[k] = v.at[k] * s.beta2 + d * d * (1.f - s.beta2);
    p.at[k] = p.at[k] * s.keep - s.stepSize * m.at[k] / (sqrtf(v.at[k]) * s.rootScale + s.epsilon);
  }
  store_floats<V>(param, p);
  store_floats<V>(first, m);
  store_floats<V>(second, v);
  if (copy) store_rounded<V>(copy, p);
}

/// addresses [tensors, 5]: parameter, gradient, first and second moment, the parameter in bf16 or null. gradScale: a scalar on the device or null.
extern "C" __global__ void fused_adamw(const Address* addresses, const int* firstChunks, const int* sizes,
                                       const float* keeps, const float* gradScale, int tensors, float stepSize,
                                       float beta1, float beta2, float epsilon, float rootScale) {
  ChunkOf chunk = find_chunk(blockIdx.x, firstChunks, sizes, tensors);
  const Address* of = addresses + 5 * chunk.tensor;
  float *param = reinterpret_cast<float*>(of[0]), *first = reinterpret_cast<float*>(of[2]);
  float* second = reinterpret_cast<float*>(of[3]);
  bf16* copy = reinterpret_cast<bf16*>(of[4]);
  const float* grad = reinterpret_cast<const float*>(of[1]);
  AdamwSettings s{stepSize, beta1, beta2, epsilon, rootScale, gradScale ? *gradScale : 1.f, keeps[chunk.tensor]};
  each_in_chunk(
      chunk, [&](long long i) { update<4>(param + i, grad + i, first + i, second + i, copy ? copy + i : nullptr, s); },
      [&](long long i) { update<1>(param + i, grad + i, first + i, second + i, copy ? copy + i : nullptr, s); });
}

/// partials[chunk] = Σ x² of the chunk.
extern "C" __global__ void fused_squares(const Address* addresses, const int* firstChunks, const int* sizes,
                                         float* partials, int tensors) {
  ChunkOf chunk = find_chunk(blockIdx.x, firstChunks, sizes, tensors);
  const float* x = reinterpret_cast<const float*>(addresses[chunk.tensor]);
  float sum = 0.f;
  each_in_chunk(
      chunk,
      [&](long long i) {
        Floats<4> v = load_floats<4>(x + i);
        for (float value : v.at) sum += value * value;
      },
      [&](long long i) { sum += x[i] * x[i]; });
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

/// norm = √(Σ partials); one block.
extern "C" __global__ void fused_root_of_sum(const float* partials, float* norm, int count) {
  float sum = 0.f;
  each_in_block(count, [&](int i) { sum += partials[i]; });
  sum = block_sum(sum);
  if (threadIdx.x == 0) *norm = sqrtf(sum);
}

/// total = sum + term; total may be sum.
extern "C" __global__ void fused_add_into(const float* sum, Stored term, float* total, int size) {
  unsigned i = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
  if (i + 4 <= size) {
    Floats<4> a = load_floats<4>(sum + i), b = load_stored<4>(term, i);
    for (int k = 0; k < 4; k++) a.at[k] += b.at[k];
    store_floats<4>(total + i, a);
    return;
  }
  for (; i < size; i++) total[i] = sum[i] + load_stored<1>(term, i).at[0];
}
