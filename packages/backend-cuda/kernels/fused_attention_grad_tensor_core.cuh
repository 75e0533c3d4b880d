// fused_attention_grad.cu on tensor cores, with the same two walks; see there for the equations, and
// fused_attention_tensor_core.cuh for types and tiles. Four warps own 16 rows each of the 64 that their block owns.
#include "fused_common.cuh"
#include "fused_attention_keys.cuh"

constexpr int kOwn = 64;

/// Of a tile of queries: log-sum-exps, δ, segments.
template <int M>
struct RowFacts {
  float logSumExp[M], delta[M];
  int segments[M];
};
template <int M>
__device__ inline void load_facts(RowFacts<M>& facts, const float* logSumExp, const float* delta, const int* segments,
                                  int first, int time) {
  int row = first + threadIdx.x;
  if (threadIdx.x >= M) return;
  facts.logSumExp[threadIdx.x] = row < time ? logSumExp[row] : 0.f;
  facts.delta[threadIdx.x] = row < time ? delta[row] : 0.f;
  facts.segments[threadIdx.x] = segment_of(segments, row, time);
}

/// Grid: tiles of 64 keys × key/value heads × batch; M queries at a time, of one head of the group after the other. Rows
/// of the products are keys.
template <class E, int D, int M>
__device__ inline void key_gradients(const E* dy, const E* qkv, const int* segments, const float* logSumExp,
                                     const float* delta, E* dqkv, AttentionView v, bool causal, float scale) {
  constexpr int T = M / 8, kTile = M * kTileStride<E, D>;
  extern __shared__ float4 memory[];
  __shared__ RowFacts<M> facts[2];
  E* tiles = reinterpret_cast<E*>(memory);  // queries, their gradients; and once more
  int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, kvHead = blockIdx.y, batch = blockIdx.z;
  int first = blockIdx.x * kOwn, row = first + warp * 16, group = v.heads / v.kvHeads;
  if (segments) segments += batch * v.time;
  long long keyHead = v.head(batch, v.heads + kvHead), valueHead = v.head(batch, v.heads + v.kvHeads + kvHead);
  unsigned keys[1][D / kStep<E>][4], values[1][D / kStep<E>][4];
  load_factors<D>(keys[0], qkv + keyHead, v.rowStride(), row, v.time, v.headDim);
  load_factors<D>(values[0], qkv + valueHead, v.rowStride(), row, v.time, v.headDim);
  int own[2];
  for (int half = 0; half < 2; half++) own[half] = segment_of(segments, row + g + 8 * half, v.time);

  // Steps: for each head of the group, tiles of queries from the first that may see these keys.
  int start = causal ? first / M * M : 0, count = (v.time - start + M - 1) / M, end = group * count;
  auto queryOf = [&](int step) { return start + step % count * M; };
  auto next = [&](int step) {
    while (step < end && !tiles_meet(segments, causal, v.time, queryOf(step), M, first, kOwn)) step++;
    return step;
  };
  auto begin = [&](int step, int stage) {
    if (step < end) {
      int head = kvHead * group + step / count, query = queryOf(step);
      long long rows = (static_cast<long long>(batch) * v.heads + head) * v.time;
      E* tile = tiles + stage * 2 * kTile;
      begin_tile<D, M>(tile, qkv + v.head(batch, head), v.rowStride(), query, v.time, v.headDim);
      begin_tile<D, M>(tile + kTile, dy + v.out(batch, head), v.outStride(), query, v.time, v.headDim);
      load_facts<M>(facts[stage], logSumExp + rows, delta + rows, segments, query, v.time);
    }
    end_copies();
  };
  float dk[1][D / 8][4]{}, dv[1][D / 8][4]{};
  int step = next(0), stage = 0;
  begin(step, stage);
  for (int following; step < end; step = following, stage ^= 1) {
    following = next(step + 1);
    begin(following, stage ^ 1);
    wait_for_copies();
    __syncthreads();
    const E *queryTile = tiles + stage * 2 * kTile, *gradTile = queryTile + kTile;
    const RowFacts<M>& of = facts[stage];
    int query = queryOf(step);
    float p[1][T][4], ds[1][T][4];
    warp_dots<D, T, 1>(keys, queryTile, p);
    warp_dots<D, T, 1>(values, gradTile, ds);
    bool whole = !segments && query + M <= v.time && (!causal || row + 15 <= query);
#pragma unroll
    for (int tile = 0; tile < T; tile++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int half = i / 2, column = tile * 8 + 2 * t + i % 2;
        bool seen = whole || (of.segments[column] == own[half] && own[half] > 0 &&
                              (!causal || row + g + 8 * half <= query + column));
        p[0][tile][i] = seen ? exp2f(p[0][tile][i] * scale - of.logSumExp[column]) : 0.f;
        ds[0][tile][i] = p[0][tile][i] * (ds[0][tile][i] - of.delta[column]);
      }
    warp_mix<D, T, 1>(p, gradTile, dv);
    warp_mix<D, T, 1>(ds, queryTile, dk);
    __syncthreads();  // before these tiles make room for those after the next
  }
  float inverseRoot = scale * 0.6931471806f;
  store_warp_rows<D>(dqkv + keyHead, v.rowStride(), row, v.time, v.headDim, dk[0], inverseRoot, inverseRoot);
  store_warp_rows<D>(dqkv + valueHead, v.rowStride(), row, v.time, v.headDim, dv[0], 1.f, 1.f);
}

/// Grid: tiles of 64 queries × heads × batch; N keys at a time.
template <class E, int D, int N>
__device__ inline void query_gradients(const E* dy, const E* qkv, const int* segments, const float* logSumExp,
                                       const float* delta, E* dqkv, AttentionView v, bool causal, float scale) {
  constexpr int T = N / 8;
  extern __shared__ float4 memory[];
  __shared__ int keySegments[2][N];
  int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, head = blockIdx.y, batch = blockIdx.z;
  int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kOwn, row = first + warp * 16;
  if (segments) segments += batch * v.time;
  const E* keys = qkv + v.head(batch, v.keyPart(head));
  unsigned queries[1][D / kStep<E>][4], grads[1][D / kStep<E>][4];
  load_factors<D>(queries[0], qkv + v.head(batch, head), v.rowStride(), row, v.time, v.headDim);
  load_factors<D>(grads[0], dy + v.out(batch, head), v.outStride(), row, v.time, v.headDim);
  int own[2];
  float lse[2], shift[2];
  for (int half = 0; half < 2; half++) {
    int query = row + g + 8 * half;
    long long place = (static_cast<long long>(batch) * v.heads + head) * v.time + query;
    own[half] = segment_of(segments, query, v.time);
    lse[half] = query < v.time ? logSumExp[place] : 0.f;
    shift[half] = query < v.time ? delta[place] : 0.f;
  }

  KeyWalk<E, D, N> walk{v, keys, segments, causal, first, kOwn, reinterpret_cast<E*>(memory), keySegments};
  float dq[1][D / 8][4]{};
  int key = walk.next(0), stage = 0;
  walk.begin(key, stage);
  for (int following; key < walk.end(); key = following, stage ^= 1) {
    following = walk.next(key + N);
    walk.begin(following, stage ^ 1);
    wait_for_copies();
    __syncthreads();
    const E *keyTile = walk.keys_of(stage), *valueTile = walk.values_of(stage);
    float p[1][T][4], ds[1][T][4];
    warp_dots<D, T, 1>(queries, keyTile, p);
    warp_dots<D, T, 1>(grads, valueTile, ds);
    bool whole = !segments && key + N <= v.time && (!causal || key + N - 1 <= row);
#pragma unroll
    for (int tile = 0; tile < T; tile++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int half = i / 2, column = tile * 8 + 2 * t + i % 2;
        bool seen = whole || (keySegments[stage][column] == own[half] && own[half] > 0 &&
                              (!causal || key + column <= row + g + 8 * half));
        float weight = seen ? exp2f(p[0][tile][i] * scale - lse[half]) : 0.f;
        ds[0][tile][i] = weight * (ds[0][tile][i] - shift[half]);
      }
    warp_mix<D, T, 1>(ds, keyTile, dq);
    __syncthreads();  // before these tiles make room for those after the next
  }
  float inverseRoot = scale * 0.6931471806f;
  store_warp_rows<D>(dqkv + v.head(batch, head), v.rowStride(), row, v.time, v.headDim, dq[0], inverseRoot, inverseRoot);
}

#define ATTENTION_GRADIENT(NAME, BODY, E, D, OTHERS)                                                                 \
  extern "C" __global__ void __launch_bounds__(128)                                                                  \
      NAME(const E* dy, const E* qkv, const int* segments, const float* logSumExp, const float* delta, E* dqkv,      \
           int time, int heads, int kvHeads, int headDim, int causal, float scale) {                                 \
    AttentionView view{time, heads, kvHeads, headDim};                                                               \
    BODY<E, D, OTHERS>(dy, qkv, segments, logSumExp, delta, dqkv, view, causal != 0, scale);                         \
  }
