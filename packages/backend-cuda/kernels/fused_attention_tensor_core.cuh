// fused_attention.cu on tensor cores: q|k|v and the result lie as E, bf16 or float32 of which products read tf32; sums and
// the softmax are float32. Each of four warps owns 16 R queries; the weights go from the accumulators of one product into
// the next without touching memory, and the next tiles of keys and values are on their way while these are computed with
// (Dao 2023, arXiv:2307.08691).
#include "fused_common.cuh"
#include "fused_attention_keys.cuh"

/// Over the four lanes that share a row.
__device__ inline float quad_sum(float value) {
  value += __shfl_xor_sync(kEveryLane, value, 1);
  return value + __shfl_xor_sync(kEveryLane, value, 2);
}
__device__ inline float quad_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(kEveryLane, value, 1));
  return fmaxf(value, __shfl_xor_sync(kEveryLane, value, 2));
}

/// Grid: tiles of 64 R queries × heads × batch; 128 threads; N keys at a time.
template <class E, int D, int N, int R>
__device__ inline void attend(const E* qkv, const int* segments, E* y, float* logSumExp, AttentionView v, bool causal,
                              float scale) {
  constexpr int M = 64 * R, T = N / 8;
  extern __shared__ float4 memory[];
  __shared__ int keySegments[2][N];
  int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, head = blockIdx.y, batch = blockIdx.z;
  int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * M, firstOfWarp = first + warp * 16 * R;
  if (segments) segments += batch * v.time;
  const E* keys = qkv + v.head(batch, v.keyPart(head));
  unsigned queries[R][D / kStep<E>][4];
  int own[R][2];
#pragma unroll
  for (int r = 0; r < R; r++) {
    int row = firstOfWarp + 16 * r;
    load_factors<D>(queries[r], qkv + v.head(batch, head), v.rowStride(), row, v.time, v.headDim);
    for (int half = 0; half < 2; half++) own[r][half] = segment_of(segments, row + g + 8 * half, v.time);
  }

  float sums[R][D / 8][4]{}, top[R][2], total[R][2]{};
#pragma unroll
  for (int r = 0; r < R; r++) top[r][0] = top[r][1] = -INFINITY;
  KeyWalk<E, D, N> walk{v, keys, segments, causal, first, M, reinterpret_cast<E*>(memory), keySegments};
  int key = walk.next(0), stage = 0;
  walk.begin(key, stage);
  for (int following; key < walk.end(); key = following, stage ^= 1) {
    following = walk.next(key + N);
    walk.begin(following, stage ^ 1);
    wait_for_copies();
    __syncthreads();
    const E *keyTile = walk.keys_of(stage), *valueTile = walk.values_of(stage);
    float scores[R][T][4];
    warp_dots<D, T, R>(queries, keyTile, scores);
#pragma unroll
    for (int r = 0; r < R; r++) {
      int row = firstOfWarp + 16 * r;
      bool whole = !segments && key + N <= v.time && (!causal || key + N - 1 <= row);
      float highest[2] = {-INFINITY, -INFINITY};
#pragma unroll
      for (int tile = 0; tile < T; tile++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int half = i / 2, column = tile * 8 + 2 * t + i % 2;
          bool seen = whole || (keySegments[stage][column] == own[r][half] && own[r][half] > 0 &&
                                (!causal || key + column <= row + g + 8 * half));
          scores[r][tile][i] = seen ? scores[r][tile][i] * scale : -INFINITY;
          highest[half] = fmaxf(highest[half], scores[r][tile][i]);
        }
      float base[2], shrink[2], sum[2]{};
      for (int half = 0; half < 2; half++) {
        float newTop = fmaxf(top[r][half], quad_max(highest[half]));
        base[half] = newTop == -INFINITY ? 0.f : newTop;
        shrink[half] = exp2f(top[r][half] - base[half]);
        top[r][half] = newTop;
      }
#pragma unroll
      for (int tile = 0; tile < T; tile++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          scores[r][tile][i] = exp2f(scores[r][tile][i] - base[i / 2]);
          sum[i / 2] += scores[r][tile][i];
        }
      for (int half = 0; half < 2; half++) total[r][half] = total[r][half] * shrink[half] + quad_sum(sum[half]);
#pragma unroll
      for (int tile = 0; tile < D / 8; tile++)
#pragma unroll
        for (int i = 0; i < 4; i++) sums[r][tile][i] *= shrink[i / 2];
    }
    warp_mix<D, T, R>(scores, valueTile, sums);
    __syncthreads();  // before these tiles make room for those after the next
  }
#pragma unroll
  for (int r = 0; r < R; r++) {
    int row = firstOfWarp + 16 * r;
    float inverse[2];
    for (int half = 0; half < 2; half++) {
      bool empty = top[r][half] == -INFINITY && total[r][half] == 0.f;
      int query = row + g + 8 * half;
      inverse[half] = empty ? 0.f : 1.f / total[r][half];
      if (t == 0 && query < v.time)
        logSumExp[(static_cast<long long>(batch) * v.heads + head) * v.time + query] =
            empty ? 0.f : top[r][half] + log2f(total[r][half]);
    }
    store_warp_rows<D>(y + v.out(batch, head), v.outStride(), row, v.time, v.headDim, sums[r], inverse[0], inverse[1]);
  }
}

#define ATTENTION(NAME, E, D, N, R)                                                                                 \
  extern "C" __global__ void __launch_bounds__(128)                                                                 \
      NAME(const E* qkv, const int* segments, E* y, float* logSumExp, int time, int heads, int kvHeads, int headDim, \
           int causal, float scale) {                                                                               \
    AttentionView view{time, heads, kvHeads, headDim};                                                              \
    attend<E, D, N, R>(qkv, segments, y, logSumExp, view, causal != 0, scale);                                      \
  }
