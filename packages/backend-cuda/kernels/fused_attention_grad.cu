// The gradient of attention, in float32. With P = exp2(scale q·k − lse) and δ = Σ dy y of a row, dS = P (dy·v − δ);
// dq = dS k, dk = dSᵀ q, dv = Pᵀ dy (dq and dk also times 1/√headDim). One launch walks over the queries of each tile
// of keys for dk and dv, another over the keys of each tile of queries for dq: the scores are made twice, but nothing
// is added up by atomics and the result is the same on every run.
#include "fused_common.cuh"
#include "fused_attention.cuh"

/// delta [batch, heads, time] = Σ dy y; a warp a row.
extern "C" __global__ void fused_attention_delta(Stored dy, Stored y, float* delta, int rows, int time,
                                                 int heads, int headDim) {
  int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  long long place = static_cast<long long>(row) * headDim;
  float sum = 0.f;
  for (int j = lane; j < headDim; j += 32) sum += load_stored<1>(dy, place + j).at[0] * load_stored<1>(y, place + j).at[0];
  sum = warp_sum(sum);
  int token = row / heads, head = row % heads;
  if (lane == 0) delta[(static_cast<long long>(token / time) * heads + head) * time + token % time] = sum;
}

/// Grid: tiles of N keys × key/value heads × batch. Rows of the products are keys, columns are queries.
template <int D, int M, int N>
__device__ inline void key_gradients(const float* dy, const float* qkv, const int* segments, const float* logSumExp,
                                     const float* delta, float* dqkv, AttentionView v, bool causal, float scale) {
  constexpr int R = N / 16, C = M / 16;
  extern __shared__ float4 memory[];
  float *k = reinterpret_cast<float*>(memory), *values = k + N * kStride<D>, *q = values + N * kStride<D>;
  float *d = q + M * kStride<D>, *p = d + M * kStride<D>, *ds = p + N * kStride<M>;
  int ty = threadIdx.x / 16, tx = threadIdx.x % 16, kvHead = blockIdx.y, batch = blockIdx.z, first = blockIdx.x * N;
  int group = v.heads / v.kvHeads;
  if (segments) segments += batch * v.time;
  load_tile<D, N>(k, qkv + v.head(batch, v.heads + kvHead), v.rowStride(), first, v.time, v.headDim);
  load_tile<D, N>(values, qkv + v.head(batch, v.heads + v.kvHeads + kvHead), v.rowStride(), first, v.time, v.headDim);

  float dk[R][D / 16]{}, dv[R][D / 16]{};
  for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
    const float* rows = logSumExp + (static_cast<long long>(batch) * v.heads + head) * v.time;
    const float* deltas = delta + (static_cast<long long>(batch) * v.heads + head) * v.time;
    for (int query = causal ? first / M * M : 0; query < v.time; query += M) {
      if (!tiles_meet(segments, causal, v.time, query, M, first, N)) continue;
      __syncthreads();
      load_tile<D, M>(q, qkv + v.head(batch, head), v.rowStride(), query, v.time, v.headDim);
      load_tile<D, M>(d, dy + v.out(batch, head), v.outStride(), query, v.time, v.headDim);
      __syncthreads();
      float scores[R][C], dp[R][C];
      tile_dots<D, R, C>(k, q, scores);
      tile_dots<D, R, C>(values, d, dp);
#pragma unroll
      for (int c = 0; c < C; c++) {
        int row = query + tx + 16 * c;
        float lse = row < v.time ? rows[row] : 0.f, shift = row < v.time ? deltas[row] : 0.f;
#pragma unroll
        for (int r = 0; r < R; r++) {
          bool seen = sees(segments, causal, v.time, row, first + ty * R + r);
          float weight = seen ? exp2f(scores[r][c] * scale - lse) : 0.f;
          int place = (ty * R + r) * kStride<M> + tx + 16 * c;
          p[place] = weight;
          ds[place] = weight * (dp[r][c] - shift);
        }
      }
      __syncthreads();
      tile_mix<D, R, M>(p, d, dv);
      tile_mix<D, R, M>(ds, q, dk);
    }
  }
  float one[R], inverseRoot[R];
  for (int r = 0; r < R; r++) {
    one[r] = 1.f;
    inverseRoot[r] = scale * 0.6931471806f;
  }
  store_rows<D, R>(dqkv + v.head(batch, v.heads + kvHead), v.rowStride(), first, v.time, v.headDim, dk, inverseRoot);
  store_rows<D, R>(dqkv + v.head(batch, v.heads + v.kvHeads + kvHead), v.rowStride(), first, v.time, v.headDim, dv,
                   one);
}

/// Grid: tiles of M queries × heads × batch.
template <int D, int M, int N>
__device__ inline void query_gradients(const float* dy, const float* qkv, const int* segments, const float* logSumExp,
                                       const float* delta, float* dqkv, AttentionView v, bool causal, float scale) {
  constexpr int R = M / 16, C = N / 16;
  extern __shared__ float4 memory[];
  float *q = reinterpret_cast<float*>(memory), *d = q + M * kStride<D>, *k = d + M * kStride<D>;
  float *values = k + N * kStride<D>, *ds = values + N * kStride<D>;
  int ty = threadIdx.x / 16, tx = threadIdx.x % 16, head = blockIdx.y, batch = blockIdx.z;
  int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * M;
  if (segments) segments += batch * v.time;
  load_tile<D, M>(q, qkv + v.head(batch, head), v.rowStride(), first, v.time, v.headDim);
  load_tile<D, M>(d, dy + v.out(batch, head), v.outStride(), first, v.time, v.headDim);
  float lse[R], shift[R], dq[R][D / 16]{};
  for (int r = 0; r < R; r++) {
    int row = first + ty * R + r;
    long long place = (static_cast<long long>(batch) * v.heads + head) * v.time + row;
    lse[r] = row < v.time ? logSumExp[place] : 0.f;
    shift[r] = row < v.time ? delta[place] : 0.f;
  }
  int end = causal ? min(v.time, first + M) : v.time;
  for (int key = 0; key < end; key += N) {
    if (!tiles_meet(segments, causal, v.time, first, M, key, N)) continue;
    __syncthreads();
    const float* keys = qkv + v.head(batch, v.keyPart(head));
    load_tile<D, N>(k, keys, v.rowStride(), key, v.time, v.headDim);
    load_tile<D, N>(values, keys + v.kvHeads * v.headDim, v.rowStride(), key, v.time, v.headDim);
    __syncthreads();
    float scores[R][C], dp[R][C];
    tile_dots<D, R, C>(q, k, scores);
    tile_dots<D, R, C>(d, values, dp);
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
      for (int c = 0; c < C; c++) {
        bool seen = sees(segments, causal, v.time, first + ty * R + r, key + tx + 16 * c);
        float weight = seen ? exp2f(scores[r][c] * scale - lse[r]) : 0.f;
        ds[(ty * R + r) * kStride<N> + tx + 16 * c] = weight * (dp[r][c] - shift[r]);
      }
    __syncthreads();
    tile_mix<D, R, N>(ds, k, dq);
  }
  float inverseRoot[R];
  for (int r = 0; r < R; r++) inverseRoot[r] = scale * 0.6931471806f;
  store_rows<D, R>(dqkv + v.head(batch, head), v.rowStride(), first, v.time, v.headDim, dq, inverseRoot);
}

#define ATTENTION_GRADIENT(NAME, BODY, D, M, N)                                                                    \
  extern "C" __global__ void __launch_bounds__(256)                                                                \
      NAME(const float* dy, const float* qkv, const int* segments, const float* logSumExp, const float* delta,     \
           float* dqkv, int time, int heads, int kvHeads, int headDim, int causal, float scale) {                  \
    AttentionView view{time, heads, kvHeads, headDim};                                                             \
    BODY<D, M, N>(dy, qkv, segments, logSumExp, delta, dqkv, view, causal != 0, scale);                            \
  }
#define ATTENTION_GRADIENTS(D, M, N)                                                \
  ATTENTION_GRADIENT(fused_attention_key_grad_##D, key_gradients, D, M, N)          \
  ATTENTION_GRADIENT(fused_attention_query_grad_##D, query_gradients, D, M, N)
ATTENTION_GRADIENTS(32, 32, 32)
ATTENTION_GRADIENTS(64, 32, 32)
ATTENTION_GRADIENTS(128, 16, 16)
ATTENTION_GRADIENTS(256, 16, 16)
