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

// y[id] += the rows of x with this id, in their order; y is 0 before. A block of 256 threads an update: the first of
// its id adds all of them, and the others have nothing to do.
extern "C" __global__ void scatter_sum(const float* x, const int* ids, float* y, int count, int rows, int width) {
  __shared__ unsigned char hit[256];
  const int own = blockIdx.x, id = ids[own];
  if (id < 0 || id >= rows) return;
  int earlier = 0;
  for (int i = threadIdx.x; i < own; i += 256) earlier |= ids[i] == id;
  if (__syncthreads_or(earlier)) return;
  for (int first = own; first < count; first += 256) {
    const int mine = first + threadIdx.x;
    hit[threadIdx.x] = mine < count && ids[mine] == id;
    if (!__syncthreads_or(hit[threadIdx.x])) continue;
    for (int column = threadIdx.x; column < width; column += 256) {
      float sum = y[(size_t)id * width + column];
      for (int i = 0; i < 256; i++) {
        if (hit[i]) sum += x[(size_t)(first + i) * width + column];
      }
      y[(size_t)id * width + column] = sum;
    }
    __syncthreads();
  }
}

// indices [count, depth] into the first axes of an array, as numbers of its rows; -1 for one that is outside.
extern "C" __global__ void row_numbers(const int* indices, int* rows, int count, int depth, Walk walk) {
  const unsigned i = thread_number();
  if (i >= count) return;
  int row = 0;
  bool inside = true;
  for (int axis = 0; axis < depth; axis++) {
    const int index = indices[i * depth + axis];
    inside = inside && index >= 0 && index < walk.dims[axis];
    row += index * walk.a[axis];
  }
  rows[i] = inside ? row : -1;
}
