// fused_tensor_core.cuh for bf16: pairs of numbers lie in 32-bit words.

/// c += a b with a [16, 16] and b [16, 8]. a: the words of columns 2t of the rows g and g + 8, then of columns 2t + 8;
/// b: the words of rows 2t and 2t + 8 of column g.
__device__ inline void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#ifdef HAS_TENSOR_CORES
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  // The row's words come from the lanes of its four, the column's from those of its own.
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

/// Four 8 × 8 matrices in shared memory, of which each lane points at the row lane % 8 of matrix lane / 8. words[i]: the
/// columns 2t and 2t + 1 of row g of matrix i.
__device__ inline void load_matrices(unsigned (&words)[4], const bf16* row) {
#ifdef HAS_TENSOR_CORES
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(shared_address(row))
               : "memory");
#else
  int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; i++) {
    auto from = __shfl_sync(0xffffffffu, reinterpret_cast<unsigned long long>(row), 8 * i + lane / 4);
    words[i] = reinterpret_cast<const unsigned*>(from)[lane % 4];
  }
#endif
}
/// The same transposed: the rows 2t and 2t + 1 of column g of matrix i.
__device__ inline void load_transposed(unsigned (&words)[4], const bf16* row) {
#ifdef HAS_TENSOR_CORES
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(shared_address(row))
               : "memory");
#else
  int lane = threadIdx.x % 32, upper = lane % 4 * 2;
  for (int i = 0; i < 4; i++) {
    auto address = reinterpret_cast<unsigned long long>(row);
    auto first = __shfl_sync(0xffffffffu, address, 8 * i + upper);
    auto second = __shfl_sync(0xffffffffu, address, 8 * i + upper + 1);
    words[i] = reinterpret_cast<const bf16*>(first)[lane / 4] |
               static_cast<unsigned>(reinterpret_cast<const bf16*>(second)[lane / 4]) << 16;
  }
#endif
}

/// Sixteen rows of a head as left factors, [16, D] in steps of 16 columns, straight from memory; a row past the end of the
/// sequence is 0.
template <int D>
__device__ inline void load_factors(unsigned (&factors)[D / 16][4], const bf16* head, long long stride, int first,
                                    int time, int headDim) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int step = 0; step < D / 16; step++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int row = first + g + i % 2 * 8, column = step * 16 + 2 * t + i / 2 * 8;
      unsigned word = 0;
      if (row < time && column < headDim) {
        const bf16* from = head + row * stride + column;
        if (headDim % 2 == 0)
          word = *reinterpret_cast<const unsigned*>(from);
        else
          word = from[0] | (column + 1 < headDim ? static_cast<unsigned>(from[1]) << 16 : 0);
      }
      factors[step][i] = word;
    }
}

/// dots[r] = factors[r] tileᵀ, of a tile [8 T, D]: the tile's words are read once for all R factors.
template <int D, int T, int R>
__device__ inline void warp_dots(const unsigned (&factors)[R][D / 16][4], const bf16* tile, float (&dots)[R][T][4]) {
  int lane = threadIdx.x % 32;
  const bf16* row = tile + (lane % 8 + lane / 16 * 8) * kTileStride<bf16, D> + lane / 8 % 2 * 8;
#pragma unroll
  for (int pair = 0; pair < T / 2; pair++) {
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
      for (int i = 0; i < 4; i++) dots[r][2 * pair][i] = dots[r][2 * pair + 1][i] = 0.f;
#pragma unroll
    for (int step = 0; step < D / 16; step++) {
      unsigned words[4];
      load_matrices(words, row + pair * 16 * kTileStride<bf16, D> + step * 16);
#pragma unroll
      for (int r = 0; r < R; r++) {
        multiply_add(dots[r][2 * pair], factors[r][step], words[0], words[1]);
        multiply_add(dots[r][2 * pair + 1], factors[r][step], words[2], words[3]);
      }
    }
  }
}

/// sums[r] += weights[r] tile, with weights [16, 8 T] as a product left them and a tile [8 T, D].
template <int D, int T, int R>
__device__ inline void warp_mix(const float (&weights)[R][T][4], const bf16* tile, float (&sums)[R][D / 8][4]) {
  int lane = threadIdx.x % 32;
  const bf16* row = tile + lane % 16 * kTileStride<bf16, D> + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < T; k += 2) {
    unsigned factors[R][4];
#pragma unroll
    for (int r = 0; r < R; r++) {
      const float(&w)[T][4] = weights[r];
      factors[r][0] = pack_bf16(w[k][0], w[k][1]);
      factors[r][1] = pack_bf16(w[k][2], w[k][3]);
      factors[r][2] = pack_bf16(w[k + 1][0], w[k + 1][1]);
      factors[r][3] = pack_bf16(w[k + 1][2], w[k + 1][3]);
    }
#pragma unroll
    for (int pair = 0; pair < D / 16; pair++) {
      unsigned words[4];
      load_transposed(words, row + k * 8 * kTileStride<bf16, D> + pair * 16);
#pragma unroll
      for (int r = 0; r < R; r++) {
        multiply_add(sums[r][2 * pair], factors[r], words[0], words[1]);
        multiply_add(sums[r][2 * pair + 1], factors[r], words[2], words[3]);
      }
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
