// Products of bf16 tiles on tensor cores, a warp at a time. Pairs of bf16 lie in 32-bit words. Of a 16 × 8 result a
// lane holds the columns 2t and 2t + 1 of the rows g and g + 8, with g = lane / 4 and t = lane % 4.

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define HAS_BF16_TENSOR_CORES
#endif

/// c += a b with a [16, 16] and b [16, 8]. a: the words of columns 2t of the rows g and g + 8, then of columns 2t + 8;
/// b: the words of rows 2t and 2t + 8 of column g.
__device__ inline void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#ifdef HAS_BF16_TENSOR_CORES
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  // The same by shuffles, for the emulated GPU: the row's words come from the lanes of its four, the column's from
  // those of its own.
  int lane = threadIdx.x % 32, row = lane / 4 * 4, column = lane % 4 * 8;
  for (int four = 0; four < 4; four++) {
    unsigned x[4], y[2][2];
    for (int i = 0; i < 4; i++) x[i] = __shfl_sync(0xffffffffu, a[i], row + four);
    for (int j = 0; j < 2; j++) {
      y[j][0] = __shfl_sync(0xffffffffu, b0, column + 4 * j + four);
      y[j][1] = __shfl_sync(0xffffffffu, b1, column + 4 * j + four);
    }
    for (int i = 0; i < 4; i++)
      for (int half = 0; half < 2; half++)
        c[i] += from_bf16(x[i / 2 + 2 * half] & 0xffff) * from_bf16(y[i % 2][half] & 0xffff) +
                from_bf16(x[i / 2 + 2 * half] >> 16) * from_bf16(y[i % 2][half] >> 16);
  }
#endif
}

/// Words between rows of a tile [·, D] of pairs along its columns, and of pairs along its rows: the eight by four lanes
/// of a warp read different banks.
template <int D>
constexpr int kColumnPairs = D / 2 + 4;
template <int D>
constexpr int kRowPairs = D + 8;

/// Four neighbours of a row of a head as two words, zero past the end of the sequence and past headDim.
__device__ inline uint2 four_of(const bf16* head, long long stride, int row, int column, int time, int headDim) {
  if (row >= time || column >= headDim) return make_uint2(0, 0);
  const bf16* from = head + row * stride + column;
  if (headDim % 4 == 0) return *reinterpret_cast<const uint2*>(from);
  unsigned four[4]{};
  for (int k = 0; k < 4 && column + k < headDim; k++) four[k] = from[k];
  return make_uint2(four[0] | four[1] << 16, four[2] | four[3] << 16);
}

/// Rows [first, first + R) of a head as pairs along the columns: what a left factor or a transposed right one wants.
template <int D, int R>
__device__ inline void load_column_pairs(unsigned* tile, const bf16* head, long long stride, int first, int time,
                                         int headDim) {
  for (int i = threadIdx.x; i < R * D / 4; i += blockDim.x) {
    int row = i / (D / 4), column = i % (D / 4) * 4;
    *reinterpret_cast<uint2*>(tile + row * kColumnPairs<D> + column / 2) =
        four_of(head, stride, first + row, column, time, headDim);
  }
}

/// The same rows as pairs of a row and the next: what a right factor wants.
template <int D, int R>
__device__ inline void load_row_pairs(unsigned* tile, const bf16* head, long long stride, int first, int time,
                                      int headDim) {
  for (int i = threadIdx.x; i < R / 2 * D / 4; i += blockDim.x) {
    int pair = i / (D / 4), column = i % (D / 4) * 4;
    uint2 v = four_of(head, stride, first + 2 * pair, column, time, headDim);
    uint2 w = four_of(head, stride, first + 2 * pair + 1, column, time, headDim);
    uint4 words = make_uint4((v.x & 0xffffu) | w.x << 16, v.x >> 16 | (w.x & 0xffff0000u),
                             (v.y & 0xffffu) | w.y << 16, v.y >> 16 | (w.y & 0xffff0000u));
    *reinterpret_cast<uint4*>(tile + pair * kRowPairs<D> + column) = words;
  }
}

/// dots = a bᵀ with a [16, D] from row `row` of its tile and b [8 T, D], both of pairs along the columns.
template <int D, int T>
__device__ inline void warp_dots(const unsigned* a, int row, const unsigned* b, float (&dots)[T][4]) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int tile = 0; tile < T; tile++)
#pragma unroll
    for (int i = 0; i < 4; i++) dots[tile][i] = 0.f;
#pragma unroll
  for (int d = 0; d < D / 2; d += 8) {
    const unsigned *upper = a + (row + g) * kColumnPairs<D> + d + t, *lower = upper + 8 * kColumnPairs<D>;
    unsigned words[4] = {upper[0], lower[0], upper[4], lower[4]};
#pragma unroll
    for (int tile = 0; tile < T; tile++) {
      const unsigned* column = b + (tile * 8 + g) * kColumnPairs<D> + d + t;
      multiply_add(dots[tile], words, column[0], column[4]);
    }
  }
}

/// sums [16, D] += weights rows, with weights [16, 8 T] as a product left them and rows [8 T, D] of pairs along the
/// rows.
template <int D, int T>
__device__ inline void warp_mix(const float (&weights)[T][4], const unsigned* rows, float (&sums)[D / 8][4]) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int k = 0; k < T; k += 2) {
    unsigned words[4] = {
        pack_bf16(weights[k][0], weights[k][1]), pack_bf16(weights[k][2], weights[k][3]),
        pack_bf16(weights[k + 1][0], weights[k + 1][1]), pack_bf16(weights[k + 1][2], weights[k + 1][3])};
#pragma unroll
    for (int tile = 0; tile < D / 8; tile++) {
      const unsigned* column = rows + (k * 4 + t) * kRowPairs<D> + tile * 8 + g;
      multiply_add(sums[tile], words, column[0], column[4 * kRowPairs<D>]);
    }
  }
}

/// Rows `row` + g and `row` + g + 8 of a result, times a factor each, into a head.
template <int D>
__device__ inline void store_warp_rows(bf16* head, long long stride, int row, int time, int headDim,
                                       const float (&sums)[D / 8][4], float upper, float lower) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int tile = 0; tile < D / 8; tile++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      int to = row + g + 8 * half, column = tile * 8 + 2 * t;
      if (to >= time || column >= headDim) continue;
      float factor = half == 0 ? upper : lower;
      bf16* place = head + to * stride + column;
      unsigned word = pack_bf16(sums[tile][2 * half] * factor, sums[tile][2 * half + 1] * factor);
      if (headDim % 2 == 0) {
        *reinterpret_cast<unsigned*>(place) = word;
      } else {
        place[0] = static_cast<bf16>(word);
        if (column + 1 < headDim) place[1] = static_cast<bf16>(word >> 16);
      }
    }
}
