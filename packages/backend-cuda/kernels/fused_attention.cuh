// What attention's kernels share: which keys a query sees, tiles of heads in shared memory, and products of tiles. A
// block is 16 × 16 threads; of a tile with R rows a thread owns R/16 consecutive ones, and columns 16 apart.

/// Sizes and strides of q|k|v and of the output, in floats.
struct AttentionView {
  int time, heads, kvHeads, headDim;
  __device__ long long rowStride() const { return static_cast<long long>(heads + 2 * kvHeads) * headDim; }
  __device__ long long outStride() const { return static_cast<long long>(heads) * headDim; }
  /// Where a head of q|k|v begins in a sequence: queries 0 … heads − 1, then keys, then values.
  __device__ long long head(int batch, int part) const {
    return batch * time * rowStride() + static_cast<long long>(part) * headDim;
  }
  __device__ long long out(int batch, int head) const {
    return batch * time * outStride() + static_cast<long long>(head) * headDim;
  }
  __device__ int keyPart(int head) const { return heads + head / (heads / kvHeads); }
};

/// Whether any of the queries [q, q + rows) may see any of the keys [k, k + columns). A segment is one contiguous run,
/// so a run reaches from one tile into another only if the ends that face each other belong to it.
__device__ inline bool tiles_meet(const int* segments, bool causal, int time, int q, int rows, int k, int columns) {
  int lastQuery = min(time, q + rows) - 1, lastKey = min(time, k + columns) - 1;
  if (causal && k > lastQuery) return false;
  if (!segments) return true;
  if (lastKey < q) return segments[lastKey] == segments[q] && segments[q] > 0;
  if (k > lastQuery) return segments[k] == segments[lastQuery] && segments[k] > 0;
  return true;
}

/// Whether query i sees key j; segments are of their sequence.
__device__ inline bool sees(const int* segments, bool causal, int time, int i, int j) {
  if (i >= time || j >= time || (causal && j > i)) return false;
  return !segments || (segments[i] == segments[j] && segments[j] > 0);
}

/// The segment of a token; 0, which nobody sees, past the end.
__device__ inline int segment_of(const int* segments, int token, int time) {
  if (token >= time) return 0;
  return segments ? segments[token] : 1;
}

/// Floats between rows of a tile: eight rows read at once as float4 fall into different banks.
template <int D>
constexpr int kStride = D + 4;

/// Rows [first, first + R) of a head, zero past its end and past headDim.
template <int D, int R>
__device__ inline void load_tile(float* tile, const float* head, long long stride, int first, int time, int headDim) {
  if (headDim % 4 == 0) {
    for (int i = threadIdx.x; i < R * D / 4; i += 256) {
      int row = i / (D / 4), column = i % (D / 4) * 4;
      Floats<4> values{};
      if (first + row < time && column < headDim) values = load_floats<4>(head + (first + row) * stride + column);
      store_floats<4>(tile + row * kStride<D> + column, values);
    }
    return;
  }
  for (int i = threadIdx.x; i < R * D; i += 256) {
    int row = i / D, column = i % D;
    bool inside = first + row < time && column < headDim;
    tile[row * kStride<D> + column] = inside ? head[(first + row) * stride + column] : 0.f;
  }
}

/// dots[r][c] = a[row]·b[column] with row = ty · RA + r and column = tx + 16 c.
template <int D, int RA, int CB>
__device__ inline void tile_dots(const float* a, const float* b, float (&dots)[RA][CB]) {
  int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
#pragma unroll
  for (int r = 0; r < RA; r++)
#pragma unroll
    for (int c = 0; c < CB; c++) dots[r][c] = 0.f;
#pragma unroll 4
  for (int d = 0; d < D; d += 4) {
    Floats<4> x[RA], y[CB];
#pragma unroll
    for (int r = 0; r < RA; r++) x[r] = load_floats<4>(a + (ty * RA + r) * kStride<D> + d);
#pragma unroll
    for (int c = 0; c < CB; c++) y[c] = load_floats<4>(b + (tx + 16 * c) * kStride<D> + d);
#pragma unroll
    for (int r = 0; r < RA; r++)
#pragma unroll
      for (int c = 0; c < CB; c++)
#pragma unroll
        for (int k = 0; k < 4; k++) dots[r][c] += x[r].at[k] * y[c].at[k];
  }
}

/// The columns of a [·, D] result that a thread owns: runs of kRun at tx · kRun + 16 kRun g.
template <int D>
constexpr int kRun = D >= 64 ? 4 : D / 16;

/// sums[r] += Σⱼ weights[row][j] rows[j] over J rows of a tile.
template <int D, int RA, int J>
__device__ inline void tile_mix(const float* weights, const float* rows, float (&sums)[RA][D / 16]) {
  constexpr int V = kRun<D>;
  int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
#pragma unroll 4
  for (int j = 0; j < J; j++) {
    float w[RA];
#pragma unroll
    for (int r = 0; r < RA; r++) w[r] = weights[(ty * RA + r) * kStride<J> + j];
#pragma unroll
    for (int g = 0; g < D / 16 / V; g++) {
      Floats<V> values = load_floats<V>(rows + j * kStride<D> + tx * V + 16 * V * g);
#pragma unroll
      for (int r = 0; r < RA; r++)
#pragma unroll
        for (int k = 0; k < V; k++) sums[r][g * V + k] += w[r] * values.at[k];
    }
  }
}

/// Rows of such a result, times a factor each, back into a head.
template <int D, int RA>
__device__ inline void store_rows(float* head, long long stride, int first, int time, int headDim,
                                  const float (&sums)[RA][D / 16], const float (&factors)[RA]) {
  constexpr int V = kRun<D>;
  int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
  for (int r = 0; r < RA; r++) {
    int row = first + ty * RA + r;
    if (row >= time) continue;
    for (int e = 0; e < D / 16; e++) {
      int column = tx * V + e / V * 16 * V + e % V;
      if (column < headDim) head[row * stride + column] = sums[r][e] * factors[r];
    }
  }
}
