// fused_attention.cu on tensor cores: q|k|v and the result lie in bf16, sums and the softmax are float32. Four warps own 16 queries each of a tile of 64; the weights go from the accumulators of one product into
// the next without touching memory (Dao 2023, arXiv:2307.08691).
#include "fused_common.cuh"
#include "fused_attention.cuh"
#include "fused_tensor_core.cuh"

/// Over the four lanes that share a row.
__device__ inline float quad_sum(float value) {
  value += __shfl_xor_sync(kEveryLane, value, 1);
  return value + __shfl_xor_sync(kEveryLane, value, 2);
}
__device__ inline float quad_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(kEveryLane, value, 1));
  return fmaxf(value, __shfl_xor_sync(kEveryLane, value, 2));
}

/// Grid: tiles of 64 queries × heads × batch; 128 threads.
template <int D, int N>
__device__ inline void attend(const bf16* qkv, const int* segments, bf16* y, float* logSumExp, AttentionView v, bool causal,
                              float scale) {
  constexpr int M = 64, T = N / 8;
  extern __shared__ float4 memory[];
  unsigned *q = reinterpret_cast<unsigned*>(memory), *k = q + M * kColumnPairs<D>, *values = k + N * kColumnPairs<D>;
  int* keySegments = reinterpret_cast<int*>(values + N / 2 * kRowPairs<D>);
  int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, head = blockIdx.y, batch = blockIdx.z;
  int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * M;
  if (segments) segments += batch * v.time;
  const bf16* keys = qkv + v.head(batch, v.keyPart(head));
  load_column_pairs<D, M>(q, qkv + v.head(batch, head), v.rowStride(), first, v.time, v.headDim);
  int rows[2] = {first + warp * 16 + g, first + warp * 16 + g + 8}, own[2];
  for (int r = 0; r < 2; r++) own[r] = segment_of(segments, rows[r], v.time);

  float sums[D / 8][4]{}, top[2] = {-INFINITY, -INFINITY}, total[2]{};
  int end = causal ? min(v.time, first + M) : v.time;
  for (int key = 0; key < end; key += N) {
    if (!tiles_meet(segments, causal, v.time, first, M, key, N)) continue;
    __syncthreads();
    load_column_pairs<D, N>(k, keys, v.rowStride(), key, v.time, v.headDim);
    load_row_pairs<D, N>(values, keys + v.kvHeads * v.headDim, v.rowStride(), key, v.time, v.headDim);
    if (threadIdx.x < N) keySegments[threadIdx.x] = segment_of(segments, key + threadIdx.x, v.time);
    __syncthreads();
    float scores[T][4];
    warp_dots<D, T>(q, warp * 16, k, scores);
    bool whole = !segments && key + N <= v.time && (!causal || key + N - 1 <= first);
    float highest[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int tile = 0; tile < T; tile++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int r = i / 2, column = tile * 8 + 2 * t + i % 2;
        bool seen = whole || (keySegments[column] == own[r] && own[r] > 0 && (!causal || key + column <= rows[r]));
        scores[tile][i] = seen ? scores[tile][i] * scale : -INFINITY;
        highest[r] = fmaxf(highest[r], scores[tile][i]);
      }
    float base[2], shrink[2], sum[2]{};
    for (int r = 0; r < 2; r++) {
      float newTop = fmaxf(top[r], quad_max(highest[r]));
      base[r] = newTop == -INFINITY ? 0.f : newTop;
      shrink[r] = exp2f(top[r] - base[r]);
      top[r] = newTop;
    }
#pragma unroll
    for (int tile = 0; tile < T; tile++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        scores[tile][i] = exp2f(scores[tile][i] - base[i / 2]);
        sum[i / 2] += scores[tile][i];
      }
    for (int r = 0; r < 2; r++) total[r] = total[r] * shrink[r] + quad_sum(sum[r]);
#pragma unroll
    for (int tile = 0; tile < D / 8; tile++)
#pragma unroll
      for (int i = 0; i < 4; i++) sums[tile][i] *= shrink[i / 2];
    warp_mix<D, T>(scores, values, sums);
  }
  float inverse[2];
  for (int r = 0; r < 2; r++) {
    bool empty = top[r] == -INFINITY && total[r] == 0.f;
    inverse[r] = empty ? 0.f : 1.f / total[r];
    if (t == 0 && rows[r] < v.time)
      logSumExp[(static_cast<long long>(batch) * v.heads + head) * v.time + rows[r]] =
          empty ? 0.f : top[r] + log2f(total[r]);
  }
  store_warp_rows<D>(y + v.out(batch, head), v.outStride(), first + warp * 16, v.time, v.headDim, sums, inverse[0],
                     inverse[1]);
}

#define ATTENTION(D, N)                                                                                           \
  extern "C" __global__ void __launch_bounds__(128)                                                               \
      fused_attention_bf16_##D(const bf16* qkv, const int* segments, bf16* y, float* logSumExp, int time,         \
                               int heads, int kvHeads, int headDim, int causal, float scale) {                    \
    AttentionView view{time, heads, kvHeads, headDim};                                                            \
    attend<D, N>(qkv, segments, y, logSumExp, view, causal != 0, scale);                                          \
  }
ATTENTION(64, 64)
ATTENTION(128, 64)
