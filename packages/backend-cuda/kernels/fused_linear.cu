// What follows the matrix product of a linear layer, and what precedes the two of its gradient. One pass over memory
// each: bias, activation and residual together; the activation's slope together with the column sums that are the
// gradient by the bias.
#include "fused_common.cuh"

enum { kIdentity, kRelu, kGelu, kGeluTanh, kSilu };

/// √(2/π)(z + 0.044715 z³), the argument of GELU's tanh.
__device__ inline float tanh_argument(float z) { return 0.7978845608f * z * (1.f + 0.044715f * z * z); }
__device__ inline float logistic(float z) { return 1.f / (1.f + expf(-z)); }

template <int A>
__device__ inline float activate(float z) {
  if (A == kRelu) return z > 0.f ? z : 0.f;
  if (A == kGelu) return 0.5f * z * (1.f + erff(z * 0.7071067812f));
  if (A == kGeluTanh) return 0.5f * z * (1.f + tanhf(tanh_argument(z)));
  if (A == kSilu) return z * logistic(z);
  return z;
}
template <int A>
__device__ inline float slope(float z) {
  if (A == kRelu) return z > 0.f ? 1.f : 0.f;
  if (A == kGelu) return 0.5f * (1.f + erff(z * 0.7071067812f)) + z * 0.3989422804f * expf(-0.5f * z * z);
  if (A == kGeluTanh) {
    float t = tanhf(tanh_argument(z));
    return 0.5f * (1.f + t) + 0.5f * z * (1.f - t * t) * 0.7978845608f * (1.f + 0.134145f * z * z);
  }
  if (A == kSilu) {
    float s = logistic(z);
    return s * (1.f + z * (1.f - s));
  }
  return 1.f;
}

/// product ← z = product + bias, y = activation(z) + residual; without an activation y may be the product itself.
template <int A, int V>
__device__ inline void epilogue(Stored product, const float* bias, Stored residual, Stored y, int size, int width) {
  unsigned i = (blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (i >= size) return;
  Floats<V> z = load_stored<V>(product, i), value;
  if (bias) {
    Floats<V> b = load_floats<V>(bias + i % width);
    for (int k = 0; k < V; k++) z.at[k] += b.at[k];
  }
  for (int k = 0; k < V; k++) value.at[k] = activate<A>(z.at[k]);
  if (residual) {
    Floats<V> r = load_stored<V>(residual, i);
    for (int k = 0; k < V; k++) value.at[k] += r.at[k];
  }
  if (A != kIdentity && bias) store_stored<V>(product, i, z);
  store_stored<V>(y, i, value);
}

/// dz = dy · activation'(z), where dz is given, and partials[group, column] = Σ dz over a group of rows. A block has
/// 32 × 8 threads: its lanes lie along 32 V columns, its warps take every eighth row of the group.
template <int A, int V>
__device__ inline void linear_gradient(Stored dy, Stored z, Stored dz, float* partials, int rows, int width,
                                       int groupRows) {
  __shared__ Floats<V> sums[8][32];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = (blockIdx.x * 32 + lane) * V;
  int begin = blockIdx.y * groupRows, end = min(rows, begin + groupRows);
  Floats<V> sum{};
  if (column < width)
    for (int row = begin + warp; row < end; row += 8) {
      long long place = static_cast<long long>(row) * width + column;
      Floats<V> d = load_stored<V>(dy, place);
      if (A != kIdentity) {
        Floats<V> before = load_stored<V>(z, place);
        for (int k = 0; k < V; k++) d.at[k] *= slope<A>(before.at[k]);
      }
      if (dz) store_stored<V>(dz, place, d);
      for (int k = 0; k < V; k++) sum.at[k] += d.at[k];
    }
  if (!partials) return;
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || column >= width) return;
  for (int other = 1; other < 8; other++)
    for (int k = 0; k < V; k++) sum.at[k] += sums[other][lane].at[k];
  store_floats<V>(partials + static_cast<long long>(blockIdx.y) * width + column, sum);
}

#define LINEAR_KERNELS(A, V)                                                                                     \
  extern "C" __global__ void fused_linear_epilogue_##A##_##V(Stored product, const float* bias, Stored residual, \
                                                             Stored y, int size, int width) {                    \
    epilogue<A, V>(product, bias, residual, y, size, width);                                                     \
  }                                                                                                              \
  extern "C" __global__ void fused_linear_gradient_##A##_##V(Stored dy, Stored z, Stored dz, float* partials,    \
                                                             int rows, int width, int groupRows) {               \
    linear_gradient<A, V>(dy, z, dz, partials, rows, width, groupRows);                                          \
  }
#define LINEAR_KERNELS_OF(A) LINEAR_KERNELS(A, 1) LINEAR_KERNELS(A, 4)
LINEAR_KERNELS_OF(0)
LINEAR_KERNELS_OF(1)
LINEAR_KERNELS_OF(2)
LINEAR_KERNELS_OF(3)
LINEAR_KERNELS_OF(4)
