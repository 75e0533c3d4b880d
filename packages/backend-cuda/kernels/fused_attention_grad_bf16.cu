// fused_attention_grad.cu on tensor cores, with the same two walks; see there for the equations, and
// fused_attention_bf16.cu for the tiles. Four warps own 16 rows each of the tile of 64 that their block owns.
#include "fused_common.cuh"
#include "fused_attention.cuh"
#include "fused_tensor_core.cuh"

constexpr int kOwn = 64;

/// Of a tile of queries: log-sum-exps, δ, segments, and the same for keys.
template <int N>
struct RowFacts {
  float logSumExp[N], delta[N];
  int segments[N];
};
template <int N>
__device__ inline void load_facts(RowFacts<N>& facts, const float* logSumExp, const float* delta, const int* segments,
                                  int first, int time) {
  int row = first + threadIdx.x;
  if (threadIdx.x >= N) return;
  facts.logSumExp[threadIdx.x] = row < time ? logSumExp[row] : 0.f;
  facts.delta[threadIdx.x] = row < time ? delta[row] : 0.f;
  facts.segments[threadIdx.x] = segment_of(segments, row, time);
}

/// Grid: tiles of 64 keys × key/value heads × batch; M queries at a time. Rows of the products are keys.
template <int D, int M>
__device__ inline void key_gradients(const bf16* dy, const bf16* qkv, const int* segments, const float* logSumExp,
                                     const float* delta, bf16* dqkv, AttentionView v, bool causal, float scale) {
  constexpr int T = M / 8;
  extern __shared__ float4 memory[];
  __shared__ RowFacts<M> facts;
  unsigned *k = reinterpret_cast<unsigned*>(memory), *values = k + kOwn * kColumnPairs<D>;
  unsigned *q = values + kOwn * kColumnPairs<D>, *d = q + M * kColumnPairs<D>;
  unsigned *queryPairs = d + M * kColumnPairs<D>, *gradPairs = queryPairs + M / 2 * kRowPairs<D>;
  int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, kvHead = blockIdx.y, batch = blockIdx.z;
  int first = blockIdx.x * kOwn, group = v.heads / v.kvHeads;
  if (segments) segments += batch * v.time;
  long long keyHead = v.head(batch, v.heads + kvHead), valueHead = v.head(batch, v.heads + v.kvHeads + kvHead);
  load_column_pairs<D, kOwn>(k, qkv + keyHead, v.rowStride(), first, v.time, v.headDim);
  load_column_pairs<D, kOwn>(values, qkv + valueHead, v.rowStride(), first, v.time, v.headDim);
  int keys[2] = {first + warp * 16 + g, first + warp * 16 + g + 8}, own[2];
  for (int r = 0; r < 2; r++) own[r] = segment_of(segments, keys[r], v.time);

  float dk[D / 8][4]{}, dv[D / 8][4]{};
  for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
    long long rows = (static_cast<long long>(batch) * v.heads + head) * v.time;
    for (int query = causal ? first / M * M : 0; query < v.time; query += M) {
      if (!tiles_meet(segments, causal, v.time, query, M, first, kOwn)) continue;
      __syncthreads();
      const bf16 *queries = qkv + v.head(batch, head), *grads = dy + v.out(batch, head);
      load_column_pairs<D, M>(q, queries, v.rowStride(), query, v.time, v.headDim);
      load_column_pairs<D, M>(d, grads, v.outStride(), query, v.time, v.headDim);
      load_row_pairs<D, M>(queryPairs, queries, v.rowStride(), query, v.time, v.headDim);
      load_row_pairs<D, M>(gradPairs, grads, v.outStride(), query, v.time, v.headDim);
      load_facts<M>(facts, logSumExp + rows, delta + rows, segments, query, v.time);
      __syncthreads();
      float p[T][4], ds[T][4];
      warp_dots<D, T>(k, warp * 16, q, p);
      warp_dots<D, T>(values, warp * 16, d, ds);
#pragma unroll
      for (int tile = 0; tile < T; tile++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int r = i / 2, column = tile * 8 + 2 * t + i % 2;
          bool seen = facts.segments[column] == own[r] && own[r] > 0 && (!causal || keys[r] <= query + column);
          p[tile][i] = seen ? exp2f(p[tile][i] * scale - facts.logSumExp[column]) : 0.f;
          ds[tile][i] = p[tile][i] * (ds[tile][i] - facts.delta[column]);
        }
      warp_mix<D, T>(p, gradPairs, dv);
      warp_mix<D, T>(ds, queryPairs, dk);
    }
  }
  float inverseRoot = scale * 0.6931471806f;
  store_warp_rows<D>(dqkv + keyHead, v.rowStride(), first + warp * 16, v.time, v.headDim, dk, inverseRoot,
                     inverseRoot);
  store_warp_rows<D>(dqkv + valueHead, v.rowStride(), first + warp * 16, v.time, v.headDim, dv, 1.f, 1.f);
}

/// Grid: tiles of 64 queries × heads × batch; N keys at a time.
template <int D, int N>
__device__ inline void query_gradients(const bf16* dy, const bf16* qkv, const int* segments, const float* logSumExp,
                                       const float* delta, bf16* dqkv, AttentionView v, bool causal, float scale) {
  constexpr int T = N / 8;
  extern __shared__ float4 memory[];
  __shared__ int keySegments[N];
  unsigned *q = reinterpret_cast<unsigned*>(memory), *d = q + kOwn * kColumnPairs<D>;
  unsigned *k = d + kOwn * kColumnPairs<D>, *values = k + N * kColumnPairs<D>, *keyPairs = values + N * kColumnPairs<D>;
  int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, head = blockIdx.y, batch = blockIdx.z;
  int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kOwn;
  if (segments) segments += batch * v.time;
  load_column_pairs<D, kOwn>(q, qkv + v.head(batch, head), v.rowStride(), first, v.time, v.headDim);
  load_column_pairs<D, kOwn>(d, dy + v.out(batch, head), v.outStride(), first, v.time, v.headDim);
  int rows[2] = {first + warp * 16 + g, first + warp * 16 + g + 8}, own[2];
  float lse[2], shift[2], dq[D / 8][4]{};
  for (int r = 0; r < 2; r++) {
    long long place = (static_cast<long long>(batch) * v.heads + head) * v.time + rows[r];
    own[r] = segment_of(segments, rows[r], v.time);
    lse[r] = rows[r] < v.time ? logSumExp[place] : 0.f;
    shift[r] = rows[r] < v.time ? delta[place] : 0.f;
  }
  const bf16* keys = qkv + v.head(batch, v.keyPart(head));
  int end = causal ? min(v.time, first + kOwn) : v.time;
  for (int key = 0; key < end; key += N) {
    if (!tiles_meet(segments, causal, v.time, first, kOwn, key, N)) continue;
    __syncthreads();
    load_column_pairs<D, N>(k, keys, v.rowStride(), key, v.time, v.headDim);
    load_column_pairs<D, N>(values, keys + v.kvHeads * v.headDim, v.rowStride(), key, v.time, v.headDim);
    load_row_pairs<D, N>(keyPairs, keys, v.rowStride(), key, v.time, v.headDim);
    if (threadIdx.x < N) keySegments[threadIdx.x] = segment_of(segments, key + threadIdx.x, v.time);
    __syncthreads();
    float p[T][4], ds[T][4];
    warp_dots<D, T>(q, warp * 16, k, p);
    warp_dots<D, T>(d, warp * 16, values, ds);
#pragma unroll
    for (int tile = 0; tile < T; tile++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int r = i / 2, column = tile * 8 + 2 * t + i % 2;
        bool seen = keySegments[column] == own[r] && own[r] > 0 && (!causal || key + column <= rows[r]);
        float weight = seen ? exp2f(p[tile][i] * scale - lse[r]) : 0.f;
        ds[tile][i] = weight * (ds[tile][i] - shift[r]);
      }
    warp_mix<D, T>(ds, keyPairs, dq);
  }
  float inverseRoot = scale * 0.6931471806f;
  store_warp_rows<D>(dqkv + v.head(batch, head), v.rowStride(), first + warp * 16, v.time, v.headDim, dq, inverseRoot,
                     inverseRoot);
}

#define ATTENTION_GRADIENT(NAME, BODY, D, OTHERS)                                                                  \
  extern "C" __global__ void __launch_bounds__(128)                                                                \
      NAME(const bf16* dy, const bf16* qkv, const int* segments, const float* logSumExp, const float* delta,       \
           bf16* dqkv, int time, int heads, int kvHeads, int headDim, int causal, float scale) {                   \
    AttentionView view{time, heads, kvHeads, headDim};                                                             \
    BODY<D, OTHERS>(dy, qkv, segments, logSumExp, delta, dqkv, view, causal != 0, scale);                          \
  }
#define ATTENTION_GRADIENTS(D, M, N)                                                \
  ATTENTION_GRADIENT(fused_attention_key_grad_bf16_##D, key_gradients, D, M)        \
  ATTENTION_GRADIENT(fused_attention_query_grad_bf16_##D, query_gradients, D, N)
ATTENTION_GRADIENTS(64, 64, 64)
ATTENTION_GRADIENTS(128, 32, 32)
