// fused_tensor_core.cuh for float32, rounded to the 10 bits of tf32's mantissa where it enters a product.

/// Rounded to nearest, ties away from zero, as its bits.
__device__ inline unsigned to_tf32(float value) {
#ifdef HAS_TENSOR_CORES
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
#else
  unsigned bits = __float_as_uint(value);
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
#endif
}

/// c += a b with a [16, 8] and b [8, 8]. a: column t of the rows g and g + 8, then column t + 4; b: the rows t and t + 4 of
/// column g.
__device__ inline void multiply_add_tf32(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#ifdef HAS_TENSOR_CORES
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  int lane = threadIdx.x % 32, row = lane / 4 * 4, column = lane % 4 * 8;
  for (int four = 0; four < 4; four++) {
    float x[4], y[2][2];
    for (int i = 0; i < 4; i++) x[i] = __uint_as_float(__shfl_sync(0xffffffffu, a[i], row + four));
    for (int j = 0; j < 2; j++) {
      y[j][0] = __uint_as_float(__shfl_sync(0xffffffffu, b0, column + 4 * j + four));
      y[j][1] = __uint_as_float(__shfl_sync(0xffffffffu, b1, column + 4 * j + four));
    }
    for (int i = 0; i < 4; i++) c[i] += x[i / 2] * y[i % 2][0] + x[i / 2 + 2] * y[i % 2][1];
  }
#endif
}

/// Sixteen rows of a head as left factors, [16, D] in steps of 8 columns, straight from memory; a row past the end of the
/// sequence is 0.
template <int D>
__device__ inline void load_factors(unsigned (&factors)[D / 8][4], const float* head, long long stride, int first,
                                    int time, int headDim) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int step = 0; step < D / 8; step++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int row = first + g + i % 2 * 8, column = step * 8 + t + i / 2 * 4;
      bool inside = row < time && column < headDim;
      factors[step][i] = to_tf32(inside ? head[row * stride + column] : 0.f);
    }
}

/// dots[r] = factors[r] tileᵀ, of a tile [8 T, D]: the tile's numbers are read once for all R factors.
template <int D, int T, int R>
__device__ inline void warp_dots(const unsigned (&factors)[R][D / 8][4], const float* tile, float (&dots)[R][T][4]) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < T; n++) {
    const float* row = tile + (n * 8 + g) * kTileStride<float, D> + t;
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
      for (int i = 0; i < 4; i++) dots[r][n][i] = 0.f;
#pragma unroll
    for (int step = 0; step < D / 8; step++) {
      unsigned b0 = to_tf32(row[step * 8]), b1 = to_tf32(row[step * 8 + 4]);
#pragma unroll
      for (int r = 0; r < R; r++) multiply_add_tf32(dots[r][n], factors[r][step], b0, b1);
    }
  }
}

/// sums[r] += weights[r] tile, with weights [16, 8 T] as a product left them and a tile [8 T, D]. The columns 2t and 2t + 1
/// of the weights are taken for t and t + 4, and so are the tile's rows: in a sum the order is free.
template <int D, int T, int R>
__device__ inline void warp_mix(const float (&weights)[R][T][4], const float* tile, float (&sums)[R][D / 8][4]) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int k = 0; k < T; k++) {
    unsigned factors[R][4];
#pragma unroll
    for (int r = 0; r < R; r++) {
      const float(&w)[4] = weights[r][k];
      factors[r][0] = to_tf32(w[0]);
      factors[r][1] = to_tf32(w[2]);
      factors[r][2] = to_tf32(w[1]);
      factors[r][3] = to_tf32(w[3]);
    }
    const float* rows = tile + (k * 8 + 2 * t) * kTileStride<float, D> + g;
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
      unsigned b0 = to_tf32(rows[n * 8]), b1 = to_tf32(rows[kTileStride<float, D> + n * 8]);
#pragma unroll
      for (int r = 0; r < R; r++) multiply_add_tf32(sums[r][n], factors[r], b0, b1);
    }
  }
}

/// Rows `row` + g and `row` + g + 8 of a result, times a factor each, into a head.
template <int D>
__device__ inline void store_warp_rows(float* head, long long stride, int row, int time, int headDim,
                                       const float (&sums)[D / 8][4], float upper, float lower) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int tile = 0; tile < D / 8; tile++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      int to = row + g + 8 * half, column = tile * 8 + 2 * t;
      if (to >= time || column >= headDim) continue;
      float factor = half == 0 ? upper : lower;
      float* place = head + to * stride + column;
      float first = sums[tile][2 * half] * factor, second = sums[tile][2 * half + 1] * factor;
      if (headDim % 2 == 0) {
        *reinterpret_cast<float2*>(place) = make_float2(first, second);
      } else {
        place[0] = first;
        if (column + 1 < headDim) place[1] = second;
      }
    }
}
