// What the forward pass and the gradient by queries share on tensor cores: the walk over tiles of keys and values.
#include "fused_attention.cuh"
#include "fused_tensor_core.cuh"

/// For the queries [first, first + rows) of a sequence: the tiles of N keys that any of them may see. Two tiles of keys and
/// of values lie in shared memory, those of one stage being copied while the other's are computed with.
template <class E, int D, int N>
struct KeyWalk {
  static constexpr int kTile = N * kTileStride<E, D>;
  AttentionView v;
  const E* keys;
  const int* segments;
  bool causal;
  int first, rows;
  E* tiles;
  int (*keySegments)[N];

  __device__ int end() const { return causal ? min(v.time, first + rows) : v.time; }
  /// The first tile from `key` on.
  __device__ int next(int key) const {
    while (key < end() && !tiles_meet(segments, causal, v.time, first, rows, key, N)) key += N;
    return key;
  }
  __device__ void begin(int key, int stage) const {
    if (key < end()) {
      E* tile = tiles + stage * 2 * kTile;
      begin_tile<D, N>(tile, keys, v.rowStride(), key, v.time, v.headDim);
      begin_tile<D, N>(tile + kTile, keys + v.kvHeads * v.headDim, v.rowStride(), key, v.time, v.headDim);
      if (threadIdx.x < N) keySegments[stage][threadIdx.x] = segment_of(segments, key + threadIdx.x, v.time);
    }
    end_copies();
  }
  __device__ const E* keys_of(int stage) const { return tiles + stage * 2 * kTile; }
  __device__ const E* values_of(int stage) const { return keys_of(stage) + kTile; }
};
