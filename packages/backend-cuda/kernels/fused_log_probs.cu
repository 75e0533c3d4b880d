// Log-probabilities of given tokens: a block a row, one pass over the logits with running sums (Milakov and Gimelshein
// 2018, arXiv:1805.02867). The state of a row outlives the launch, so the vocabulary may come in chunks.
#include "fused_common.cuh"

/// Of z = logit/T over some columns: the greatest, Σ exp(z − top) and Σ (z − top) exp(z − top).
struct SoftmaxSums {
  float top, sum, moment;
};

__device__ inline void add_logit(SoftmaxSums& s, float z) {
  if (z > s.top) {
    float shift = s.top - z, factor = expf(shift);
    // Before the first logit shift is −∞ and the sums are empty; then nothing but zeros must come of them.
    s.moment = factor > 0.f ? factor * (s.moment + shift * s.sum) : 0.f;
    s.sum = s.sum * factor + 1.f;
    s.top = z;
    return;
  }
  float x = z - s.top, e = expf(x);
  if (z == -INFINITY) return;  // adds 0, also where all so far were −∞
  s.sum += e;  // NaN stays NaN
  s.moment += e > 0.f ? e * x : e;
}

__device__ inline SoftmaxSums merge(const SoftmaxSums& a, const SoftmaxSums& b) {
  float top = fmaxf(a.top, b.top);
  SoftmaxSums both{top, 0.f, 0.f};
  auto add = [&](const SoftmaxSums& part) {
    float shift = part.top == top ? 0.f : part.top - top, factor = expf(shift);
    both.sum += factor * part.sum;
    if (factor > 0.f) both.moment += factor * (part.moment + shift * part.sum);
  };
  add(a);
  add(b);
  return both;
}

__device__ inline SoftmaxSums merge_across(SoftmaxSums s) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    SoftmaxSums other{__shfl_xor_sync(kEveryLane, s.top, distance), __shfl_xor_sync(kEveryLane, s.sum, distance),
                      __shfl_xor_sync(kEveryLane, s.moment, distance)};
    s = merge(s, other);
  }
  return s;
}

/// Takes columns [first, first + columns) of the logits [rows, columns] into account. state [rows, 4]: top, sum,
/// moment, chosen. Each chunk leaves what holds for the columns so far, the last one the results. entropy may be null.
extern "C" __global__ void fused_token_log_probs(const float* logits, const int* ids, float* state, float* logProbs,
                                           float* entropy, float* logSumExp, int columns, int first,
                                           float inverseTemperature) {
  __shared__ SoftmaxSums parts[32];
  int row = blockIdx.x, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  const float* z = logits + static_cast<long long>(row) * columns;
  SoftmaxSums s{-INFINITY, 0.f, 0.f};
  each_float_in_block(z, columns, [&](int, auto values) {
    for (float value : values.at) add_logit(s, value * inverseTemperature);
  });
  s = merge_across(s);
  if (lane == 0) parts[threadIdx.x / 32] = s;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  s = merge_across(lane < warps ? parts[lane] : SoftmaxSums{-INFINITY, 0.f, 0.f});
  if (lane > 0) return;
  float* kept = state + 4LL * row;
  float chosen = 0.f;
  if (first > 0) {
    s = merge(SoftmaxSums{kept[0], kept[1], kept[2]}, s);
    chosen = kept[3];
  }
  int column = ids[row] - first;
  if (0 <= column && column < columns) chosen = z[column] * inverseTemperature;
  kept[0] = s.top;
  kept[1] = s.sum;
  kept[2] = s.moment;
  kept[3] = chosen;
  float logSum = logf(s.sum);
  logProbs[row] = chosen - s.top - logSum;
  logSumExp[row] = s.top + logSum;
  if (entropy) entropy[row] = logSum - s.moment / s.sum;
}

/// dlogits = dy/T (onehot(ids) − softmax(logits/T)) of such columns; dlogits may be the logits.
extern "C" __global__ void fused_token_log_probs_grad(const float* dy, const float* logits, const int* ids,
                                                const float* logSumExp, Stored dlogits, int columns,
                                                int first, float inverseTemperature) {
  int row = blockIdx.x, chosen = ids[row] - first;
  long long base = static_cast<long long>(row) * columns;
  const float* z = logits + base;
  float factor = -dy[row] * inverseTemperature, lse = logSumExp[row];
  auto gradient = [&](int column, float value) {
    float share = factor * expf(value * inverseTemperature - lse);
    return column == chosen ? share - factor : share;
  };
  // Rows of all start at the same distance from a boundary of four elements, for the tensors start at one.
  each_float_in_block(z, columns, [&](int column, auto values) {
    constexpr int V = sizeof(values) / 4;
    for (int k = 0; k < V; k++) values.at[k] = gradient(column + k, values.at[k]);
    store_stored<V>(dlogits, base + column, values);
  });
}
