// Kernels that move elements of any type.
#include "walk.cuh"

extern "C" __global__ void strided_copy(const unsigned* from, unsigned* to, int size, Walk walk) {
  const unsigned i = thread_number();
  if (i >= size) return;
  const Places at = places(walk, i);
  to[at.b] = from[at.a];
}

// from [batch * outer, dim, inner], ids [batch, count] -> to [batch * outer, count, inner]; an id that is none gives
// `absent`.
extern "C" __global__ void gather(const unsigned* from, const int* ids, unsigned* to, int size, int outer, int dim,
                                  int inner, int count, unsigned absent) {
  const unsigned i = thread_number();
  if (i >= size) return;
  const unsigned row = i / inner, column = i - row * inner;
  const unsigned group = row / count, place = row - group * count;
  const int id = ids[group / outer * count + place];
  const bool known = id >= 0 && id < dim;
  to[i] = known ? from[((size_t)group * dim + id) * inner + column] : absent;
}

extern "C" __global__ void one_hot(const int* ids, unsigned* y, int size, int depth, unsigned on, unsigned off) {
  const unsigned i = thread_number();
  if (i < size) y[i] = ids[i / depth] == (int)(i % depth) ? on : off;
}

// y[segment] = sum of the rows of x whose id is this segment, in their order: a block of 256 threads a segment, which
// first looks for 256 ids at a time and then adds the rows it found.
extern "C" __global__ void segment_sum(const float* x, const int* ids, float* y, int count, int width) {
  __shared__ unsigned char hit[256];
  const int segment = blockIdx.x;
  for (int column = threadIdx.x; column < width; column += blockDim.x) y[(size_t)segment * width + column] = 0.f;
  for (int first = 0; first < count; first += 256) {
    const int mine = first + threadIdx.x;
    hit[threadIdx.x] = mine < count && ids[mine] == segment;
    if (!__syncthreads_or(hit[threadIdx.x])) continue;
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
      float sum = y[(size_t)segment * width + column];
      for (int i = 0; i < 256; i++) {
        if (hit[i]) sum += x[(size_t)(first + i) * width + column];
      }
      y[(size_t)segment * width + column] = sum;
    }
    __syncthreads();
  }
}
