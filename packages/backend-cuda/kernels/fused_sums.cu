// The second half of sums over rows: blocks left partial sums of groups of rows, which are added in a fixed order.
#include "fused_common.cuh"

/// Sums of partials [groups, stride] over the groups: the first `width` columns into `first`, the others into
/// `second`. A block has 32 columns by 8 warps; a warp takes every eighth group, and one adds up the eight.
extern "C" __global__ void fused_sum_partials(const float* partials, float* first, float* second, int groups, int width,
                                           int stride) {
  __shared__ float sums[8][32];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
  float sum = 0.f;
  if (column < stride)
    for (int group = warp; group < groups; group += 8) sum += partials[static_cast<long long>(group) * stride + column];
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || column >= stride) return;
  for (int other = 1; other < 8; other++) sum += sums[other][lane];
  if (column < width)
    first[column] = sum;
  else
    second[column - width] = sum;
}
