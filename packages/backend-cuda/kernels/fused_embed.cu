// Rows of a table by number, and the sum of rows back into it. The sum uses no atomics on floats: the tokens are first
// sorted by id, stably, then each id adds its rows in their order, so the result is the same on every run.
#include "fused_common.cuh"

/// y[i] = weight[ids[i]], a block a row; NaN for an id that is none, for a kernel cannot throw.
template <int V>
__device__ inline void embed_rows(const float* weight, const int* ids, float* y, int vocab, int width) {
  int id = ids[blockIdx.x];
  bool known = 0 <= id && id < vocab;
  const float* from = weight + static_cast<long long>(known ? id : 0) * width;
  float* to = y + static_cast<long long>(blockIdx.x) * width;
  for (int j = threadIdx.x * V; j < width; j += blockDim.x * V) {
    Floats<V> values = load_floats<V>(from + j);
    if (!known)
      for (int k = 0; k < V; k++) values.at[k] = NAN;
    store_floats<V>(to + j, values);
  }
}

constexpr int kIdsPerBlock = 64, kWarps = 8;

/// order: the numbers of the tokens by id, then by place; starts [vocab + 1]: where each id begins in it. A block owns
/// 64 ids and reads all tokens twice, to count and to place its own; its eight warps take an eighth of them each. The
/// tokens of smaller ids, counted on the way, say where its own begin, so one launch sorts. Ids out of range are left
/// out.
extern "C" __global__ void fused_embed_order(const int* ids, int* order, int* starts, int tokens, int vocab) {
  __shared__ int counts[kWarps][kIdsPerBlock];
  __shared__ int smaller[kWarps];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, lowest = blockIdx.x * kIdsPerBlock;
  int share = (tokens + kWarps - 1) / kWarps, begin = warp * share, end = min(tokens, begin + share);
  for (int i = threadIdx.x; i < kWarps * kIdsPerBlock; i += blockDim.x) counts[i / kIdsPerBlock][i % kIdsPerBlock] = 0;
  __syncthreads();

  int below = 0;
  for (int first = begin; first < end; first += 32) {
    int i = first + lane, id = i < end ? ids[i] : -1, own = id - lowest;
    below += 0 <= id && id < lowest;
    bool mine = 0 <= own && own < kIdsPerBlock && id < vocab;
    unsigned pending = __ballot_sync(kEveryLane, mine);
    while (pending) {
      int leader = __ffs(pending) - 1, wanted = __shfl_sync(kEveryLane, own, leader);
      unsigned same = __ballot_sync(kEveryLane, mine && own == wanted);
      if (lane == leader) counts[warp][wanted] += __popc(same);
      __syncwarp();  // another lane may be the next to add to it
      pending &= ~same;
    }
  }
  for (int distance = 16; distance > 0; distance /= 2) below += __shfl_xor_sync(kEveryLane, below, distance);
  if (lane == 0) smaller[warp] = below;
  __syncthreads();

  // Counts become places: by id, then by warp.
  if (threadIdx.x == 0) {
    int place = 0;
    for (int w = 0; w < kWarps; w++) place += smaller[w];
    for (int own = 0; own < kIdsPerBlock && lowest + own < vocab; own++) {
      starts[lowest + own] = place;
      for (int w = 0; w < kWarps; w++) {
        int count = counts[w][own];
        counts[w][own] = place;
        place += count;
      }
    }
    if (lowest + kIdsPerBlock >= vocab) starts[vocab] = place;
  }
  __syncthreads();

  for (int first = begin; first < end; first += 32) {
    int i = first + lane, id = i < end ? ids[i] : -1, own = id - lowest;
    bool mine = 0 <= own && own < kIdsPerBlock && id < vocab;
    unsigned pending = __ballot_sync(kEveryLane, mine);
    while (pending) {
      int leader = __ffs(pending) - 1, wanted = __shfl_sync(kEveryLane, own, leader);
      unsigned same = __ballot_sync(kEveryLane, mine && own == wanted);
      int place = counts[warp][wanted];
      if (mine && own == wanted) order[place + __popc(same & ((1u << lane) - 1u))] = i;
      __syncwarp();
      if (lane == leader) counts[warp][wanted] = place + __popc(same);
      __syncwarp();
      pending &= ~same;
    }
  }
}

/// dweight[id] = Σ dy over the tokens of the id, zero where there are none; a block an id and a stripe of columns.
template <int V>
__device__ inline void embed_sums(const float* dy, const int* order, const int* starts, float* dweight, int width) {
  int j = (blockIdx.y * blockDim.x + threadIdx.x) * V;
  if (j >= width) return;
  int id = blockIdx.x, end = starts[id + 1];
  Floats<V> sum{};
#pragma unroll 4
  for (int i = starts[id]; i < end; i++) {
    Floats<V> row = load_floats<V>(dy + static_cast<long long>(order[i]) * width + j);
    for (int k = 0; k < V; k++) sum.at[k] += row.at[k];
  }
  store_floats<V>(dweight + static_cast<long long>(id) * width + j, sum);
}

#define EMBED_KERNELS(V)                                                                                          \
  extern "C" __global__ void fused_embed_##V(const float* weight, const int* ids, float* y, int vocab, int width) {     \
    embed_rows<V>(weight, ids, y, vocab, width);                                                                  \
  }                                                                                                               \
  extern "C" __global__ void fused_embed_grad_##V(const float* dy, const int* order, const int* starts, float* dweight, \
                                            int width) {                                                          \
    embed_sums<V>(dy, order, starts, dweight, width);                                                             \
  }
EMBED_KERNELS(1)
EMBED_KERNELS(4)
