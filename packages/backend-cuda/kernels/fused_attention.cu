// Attention without the matrix of scores (Dao et al. 2022, arXiv:2205.14135): a block owns a tile of queries of one
// head, walks over the keys tile by tile and keeps a running softmax. Of each row only the log-sum-exp is kept, in
// base 2 and of the scaled scores, for the backward pass to make the probabilities again. In float32.
#include "fused_common.cuh"
#include "fused_attention.cuh"

/// Over the 16 threads that share a row.
__device__ inline float row_sum(float value) {
#pragma unroll
  for (int distance = 8; distance > 0; distance /= 2) value += __shfl_xor_sync(kEveryLane, value, distance);
  return value;
}
__device__ inline float row_max(float value) {
#pragma unroll
  for (int distance = 8; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(kEveryLane, value, distance));
  return value;
}

/// D: headDim rounded up; M queries and N keys in a tile. Grid: tiles of queries × heads × batch.
template <int D, int M, int N>
__device__ inline void attend(const float* qkv, const int* segments, float* y, float* logSumExp, AttentionView v,
                              bool causal, float scale) {
  constexpr int R = M / 16, C = N / 16;
  extern __shared__ float4 memory[];
  float *q = reinterpret_cast<float*>(memory), *kv = q + M * kStride<D>, *p = kv + N * kStride<D>;
  int ty = threadIdx.x / 16, tx = threadIdx.x % 16, head = blockIdx.y, batch = blockIdx.z;
  // The longest walks of a causal mask start first.
  int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * M;
  if (segments) segments += batch * v.time;
  const float *keys = qkv + v.head(batch, v.keyPart(head)), *values = keys + v.kvHeads * v.headDim;
  load_tile<D, M>(q, qkv + v.head(batch, head), v.rowStride(), first, v.time, v.headDim);

  float sums[R][D / 16]{}, top[R], total[R]{};
  for (int r = 0; r < R; r++) top[r] = -INFINITY;
  int end = causal ? min(v.time, first + M) : v.time;
  for (int key = 0; key < end; key += N) {
    if (!tiles_meet(segments, causal, v.time, first, M, key, N)) continue;
    __syncthreads();
    load_tile<D, N>(kv, keys, v.rowStride(), key, v.time, v.headDim);
    __syncthreads();
    float scores[R][C];
    tile_dots<D, R, C>(q, kv, scores);
#pragma unroll
    for (int r = 0; r < R; r++) {
      int row = first + ty * R + r;
      float highest = -INFINITY;
#pragma unroll
      for (int c = 0; c < C; c++) {
        scores[r][c] = sees(segments, causal, v.time, row, key + tx + 16 * c) ? scores[r][c] * scale : -INFINITY;
        highest = fmaxf(highest, scores[r][c]);
      }
      float newTop = fmaxf(top[r], row_max(highest)), sum = 0.f;
      // A row that has seen nothing yet: subtracting −∞ would be no number.
      float base = newTop == -INFINITY ? 0.f : newTop, shrink = exp2f(top[r] - base);
#pragma unroll
      for (int c = 0; c < C; c++) {
        float weight = exp2f(scores[r][c] - base);
        p[(ty * R + r) * kStride<N> + tx + 16 * c] = weight;
        sum += weight;
      }
      total[r] = total[r] * shrink + row_sum(sum);
      top[r] = newTop;
#pragma unroll
      for (int e = 0; e < D / 16; e++) sums[r][e] *= shrink;
    }
    __syncthreads();
    load_tile<D, N>(kv, values, v.rowStride(), key, v.time, v.headDim);
    __syncthreads();
    tile_mix<D, R, N>(p, kv, sums);
  }
  float inverse[R];
  for (int r = 0; r < R; r++) {
    bool empty = top[r] == -INFINITY && total[r] == 0.f;
    inverse[r] = empty ? 0.f : 1.f / total[r];
    int row = first + ty * R + r;
    if (tx == 0 && row < v.time)
      logSumExp[(static_cast<long long>(batch) * v.heads + head) * v.time + row] =
          empty ? 0.f : top[r] + log2f(total[r]);
  }
  store_rows<D, R>(y + v.out(batch, head), v.outStride(), first, v.time, v.headDim, sums, inverse);
}

#define ATTENTION(D, M, N)                                                                                           \
  extern "C" __global__ void __launch_bounds__(256)                                                                  \
      fused_attention_##D(const float* qkv, const int* segments, float* y, float* logSumExp, int time, int heads,    \
                          int kvHeads, int headDim, int causal, float scale) {                                       \
    attend<D, M, N>(qkv, segments, y, logSumExp, AttentionView{time, heads, kvHeads, headDim}, causal != 0, scale);  \
  }
ATTENTION(32, 64, 64)
ATTENTION(64, 64, 64)
ATTENTION(128, 32, 32)
ATTENTION(256, 32, 16)
