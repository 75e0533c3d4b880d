// Layer norm and RMS norm. Forward: a warp a row where there are many rows, a block a row where there are few (then
// one row's latency counts). Backward: each block walks over rows and keeps its share of the sums over rows in
// registers, so that dy and x are read once.
#include "fused_common.cuh"

template <bool kBlock>
__device__ inline float team_sum(float value) {
  return kBlock ? block_sum(value) : warp_sum(value);
}

/// y = (x − mean) rstd gain + bias with stats [rows, 2] = mean, rstd; RMS: y = x r gain with stats [rows] = r.
template <bool kRms, bool kBlock, int V>
__device__ inline void norm_forward(Stored x, const float* gain, const float* bias, Stored y, float* stats, int rows,
                                    int width, float epsilon) {
  int team = kBlock ? blockDim.x : 32, teams = blockDim.x / team;
  int row = blockIdx.x * teams + threadIdx.x / team, member = threadIdx.x % team;
  if (row >= rows) return;
  long long base = static_cast<long long>(row) * width;
  float mean = 0.f, squares = 0.f;
  if (!kRms) {
    float sum = 0.f;
    for (int j = member * V; j < width; j += team * V) {
      Floats<V> v = load_stored<V>(x, base + j);
      for (int k = 0; k < V; k++) sum += v.at[k];
    }
    mean = team_sum<kBlock>(sum) / width;
  }
  for (int j = member * V; j < width; j += team * V) {
    Floats<V> v = load_stored<V>(x, base + j);
    for (int k = 0; k < V; k++) squares += (v.at[k] - mean) * (v.at[k] - mean);
  }
  float rstd = 1.f / sqrtf(team_sum<kBlock>(squares) / width + epsilon);
  for (int j = member * V; j < width; j += team * V) {
    Floats<V> v = load_stored<V>(x, base + j), g = load_floats<V>(gain + j), b{};
    if (!kRms) b = load_floats<V>(bias + j);
    for (int k = 0; k < V; k++) v.at[k] = (v.at[k] - mean) * rstd * g.at[k] + b.at[k];
    store_stored<V>(y, base + j, v);
  }
  if (member > 0) return;
  if (kRms) {
    stats[row] = rstd;
  } else {
    stats[2 * row] = mean;
    stats[2 * row + 1] = rstd;
  }
}

#define NORM_FORWARD(NAME, RMS, BLOCK, V)                                                                         \
  extern "C" __global__ void NAME##_##V(Stored x, const float* gain, const float* bias, Stored y, float* stats,   \
                                        int rows, int width, float epsilon) {                                     \
    norm_forward<RMS, BLOCK, V>(x, gain, bias, y, stats, rows, width, epsilon);                                   \
  }
NORM_FORWARD(fused_layer_norm_warp, false, false, 1)
NORM_FORWARD(fused_layer_norm_warp, false, false, 4)
NORM_FORWARD(fused_layer_norm_block, false, true, 1)
NORM_FORWARD(fused_layer_norm_block, false, true, 4)
NORM_FORWARD(fused_rms_norm_warp, true, false, 1)
NORM_FORWARD(fused_rms_norm_warp, true, false, 4)
NORM_FORWARD(fused_rms_norm_block, true, true, 1)
NORM_FORWARD(fused_rms_norm_block, true, true, 4)

/// Two sums at once over the block, for a third of the synchronisations of two single ones.
__device__ inline void block_sums(float& a, float& b) {
  __shared__ float parts[2][32];
  int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  a = warp_sum(a);
  b = warp_sum(b);
  __syncthreads();
  if (lane == 0) {
    parts[0][threadIdx.x / 32] = a;
    parts[1][threadIdx.x / 32] = b;
  }
  __syncthreads();
  a = warp_sum(lane < warps ? parts[0][lane] : 0.f);
  b = warp_sum(lane < warps ? parts[1][lane] : 0.f);
}

/// dx = r (g − mean(g) − x̂ mean(g x̂)) + residual with g = dy·gain, without mean(g) for RMS; also to `copy`, where it is
/// given; partials[block] holds the block's Σ dy x̂ [width] and, for layer norms, Σ dy [width]. K: runs of V columns
/// that a thread owns.
template <bool kRms, int V, int K>
__device__ inline void norm_backward(Stored dy, Stored x, const float* gain, const float* stats, Stored residual,
                                     Stored dx, Stored copy, float* partials, int rows, int width) {
  Floats<V> gains[K], gainSums[K]{}, biasSums[K]{};
#pragma unroll
  for (int k = 0; k < K; k++) {
    int j = (threadIdx.x + k * blockDim.x) * V;
    if (j < width) gains[k] = load_floats<V>(gain + j);
  }
  for (int row = blockIdx.x; row < rows; row += gridDim.x) {
    long long base = static_cast<long long>(row) * width;
    float mean = kRms ? 0.f : stats[2 * row], rstd = kRms ? stats[row] : stats[2 * row + 1];
    Floats<V> hats[K], grads[K];
    float sum = 0.f, dot = 0.f;
#pragma unroll
    for (int k = 0; k < K; k++) {
      int j = (threadIdx.x + k * blockDim.x) * V;
      if (j >= width) continue;
      hats[k] = load_stored<V>(x, base + j);
      grads[k] = load_stored<V>(dy, base + j);
      for (int e = 0; e < V; e++) {
        float hat = (hats[k].at[e] - mean) * rstd, d = grads[k].at[e], g = d * gains[k].at[e];
        gainSums[k].at[e] += d * hat;
        biasSums[k].at[e] += d;
        sum += g;
        dot += g * hat;
        hats[k].at[e] = hat;
        grads[k].at[e] = g;
      }
    }
    block_sums(sum, dot);
    float meanGrad = kRms ? 0.f : sum / width, meanDot = dot / width;
#pragma unroll
    for (int k = 0; k < K; k++) {
      int j = (threadIdx.x + k * blockDim.x) * V;
      if (j >= width) continue;
      for (int e = 0; e < V; e++)
        grads[k].at[e] = (grads[k].at[e] - meanGrad - hats[k].at[e] * meanDot) * rstd;
      if (residual) {
        Floats<V> other = load_stored<V>(residual, base + j);
        for (int e = 0; e < V; e++) grads[k].at[e] += other.at[e];
      }
      store_stored<V>(dx, base + j, grads[k]);
      if (copy) store_stored<V>(copy, base + j, grads[k]);
    }
  }
  float* sums = partials + static_cast<long long>(blockIdx.x) * (kRms ? 1 : 2) * width;
#pragma unroll
  for (int k = 0; k < K; k++) {
    int j = (threadIdx.x + k * blockDim.x) * V;
    if (j >= width) continue;
    store_floats<V>(sums + j, gainSums[k]);
    if (!kRms) store_floats<V>(sums + width + j, biasSums[k]);
  }
}

#define NORM_BACKWARD(NAME, RMS, V, K)                                                                             \
  extern "C" __global__ void __launch_bounds__(512) NAME##_grad_##V##_##K(                                         \
      Stored dy, Stored x, const float* gain, const float* stats, Stored residual, Stored dx, Stored copy,         \
      float* partials, int rows, int width) {                                                                      \
    norm_backward<RMS, V, K>(dy, x, gain, stats, residual, dx, copy, partials, rows, width);                       \
  }
#define NORM_BACKWARDS(NAME, RMS)                                                                 \
  NORM_BACKWARD(NAME, RMS, 1, 1) NORM_BACKWARD(NAME, RMS, 1, 4) NORM_BACKWARD(NAME, RMS, 1, 32)   \
  NORM_BACKWARD(NAME, RMS, 4, 1) NORM_BACKWARD(NAME, RMS, 4, 4) NORM_BACKWARD(NAME, RMS, 4, 8)
NORM_BACKWARDS(fused_layer_norm, false)
NORM_BACKWARDS(fused_rms_norm, true)
