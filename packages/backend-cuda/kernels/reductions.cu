// Sums, extrema and products along an axis, softmax, running sums. A result depends on the shapes alone.

enum Reduction { Sum, Max, Min, Prod };

// As JavaScript's extrema: NaN if any number is.
__device__ __forceinline__ float joined(int kind, float so_far, float x) {
  switch (kind) {
    case Sum: return so_far + x;
    case Max: return x > so_far || x != x ? x : so_far;
    case Min: return x < so_far || x != x ? x : so_far;
    default: return so_far * x;
  }
}
__device__ __forceinline__ int joined(int kind, int so_far, int x) {
  switch (kind) {
    case Sum: return (int)((unsigned)so_far + (unsigned)x);
    case Max: return x > so_far ? x : so_far;
    case Min: return x < so_far ? x : so_far;
    default: return (int)((unsigned)so_far * (unsigned)x);
  }
}
__device__ __forceinline__ float start_of(int kind, float) {
  return kind == Sum ? 0.f : kind == Max ? -INFINITY : kind == Min ? INFINITY : 1.f;
}
__device__ __forceinline__ int start_of(int kind, int) {
  return kind == Sum ? 0 : kind == Max ? -2147483647 - 1 : kind == Min ? 2147483647 : 1;
}

// Over a block of whole warps; every thread gets the result.
template <class T>
__device__ T joined_in_block(int kind, T value) {
  __shared__ T parts[32];
  const unsigned lane = threadIdx.x % 32;
  for (int distance = 16; distance > 0; distance /= 2)
    value = joined(kind, value, __shfl_xor_sync(0xffffffffu, value, distance));
  __syncthreads();  // the parts of an earlier call have been read
  if (lane == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = lane < blockDim.x / 32 ? parts[lane] : start_of(kind, T());
  for (int distance = 16; distance > 0; distance /= 2)
    value = joined(kind, value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

// x [outer, reduced] -> y [outer, chunks]: a block a chunk of a row.
template <class T>
__device__ void reduce_rows(int kind, const T* x, T* y, int reduced, int chunks, int length, float scale) {
  const long long row = blockIdx.x / chunks;
  const int chunk = blockIdx.x % chunks, end = min(reduced, (chunk + 1) * length);
  T value = start_of(kind, T());
  for (int i = chunk * length + threadIdx.x; i < end; i += blockDim.x) value = joined(kind, value, x[row * reduced + i]);
  value = joined_in_block(kind, value);
  if (threadIdx.x == 0) y[blockIdx.x] = scale == 1.f ? value : (T)(value * scale);
}
extern "C" __global__ void reduce_rows_float(int kind, const float* x, float* y, int reduced, int chunks, int length,
                                             float scale) {
  reduce_rows(kind, x, y, reduced, chunks, length, scale);
}
extern "C" __global__ void reduce_rows_int(int kind, const int* x, int* y, int reduced, int chunks, int length,
                                           float scale) {
  reduce_rows(kind, x, y, reduced, chunks, length, scale);
}

// x [outer, reduced, inner] -> y [outer, chunks, inner]: a thread a column of a chunk.
template <class T>
__device__ void reduce_columns(int kind, const T* x, T* y, int size, int reduced, int inner, int chunks, int length,
                               float scale) {
  const unsigned i = thread_number();
  if (i >= size) return;
  const unsigned group = i / inner, column = i - group * inner, outer = group / chunks, chunk = group - outer * chunks;
  const int end = min(reduced, (int)(chunk + 1) * length);
  T value = start_of(kind, T());
  for (int r = chunk * length; r < end; r++) value = joined(kind, value, x[((size_t)outer * reduced + r) * inner + column]);
  y[i] = scale == 1.f ? value : (T)(value * scale);
}
extern "C" __global__ void reduce_columns_float(int kind, const float* x, float* y, int size, int reduced, int inner,
                                                int chunks, int length, float scale) {
  reduce_columns(kind, x, y, size, reduced, inner, chunks, length, scale);
}
extern "C" __global__ void reduce_columns_int(int kind, const int* x, int* y, int size, int reduced, int inner,
                                              int chunks, int length, float scale) {
  reduce_columns(kind, x, y, size, reduced, inner, chunks, length, scale);
}

// Where the largest number of each row is (sign -1: the smallest), the first of several: a block a row.
extern "C" __global__ void arg_extreme(const float* x, int* y, int columns, float sign) {
  const float* row = x + (size_t)blockIdx.x * columns;
  float best = -INFINITY;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) best = fmaxf(best, sign * row[i]);
  best = joined_in_block((int)Max, best);
  int first = 2147483647;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) {
    if (sign * row[i] == best) first = min(first, i);
  }
  first = joined_in_block((int)Min, first);
  if (threadIdx.x == 0) y[blockIdx.x] = first < columns ? first : 0;
}

// y = exp(x - max) / sum of these, a block a row.
extern "C" __global__ void softmax(const float* x, float* y, int columns) {
  const float* row = x + (size_t)blockIdx.x * columns;
  float* to = y + (size_t)blockIdx.x * columns;
  float highest = -INFINITY, sum = 0.f;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) highest = joined((int)Max, highest, row[i]);
  highest = joined_in_block((int)Max, highest);
  for (int i = threadIdx.x; i < columns; i += blockDim.x) sum += expf(row[i] - highest);
  sum = joined_in_block((int)Sum, sum);
  for (int i = threadIdx.x; i < columns; i += blockDim.x) to[i] = expf(row[i] - highest) / sum;
}

// Running sums of rows: a warp a row, 32 numbers at a time.
extern "C" __global__ void cumulate(const float* x, float* y, int rows, int columns, int exclusive, int reverse) {
  const unsigned row = thread_number() / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  const float* from = x + (size_t)row * columns;
  float* to = y + (size_t)row * columns;
  float before = 0.f;
  for (int first = 0; first < columns; first += 32) {
    const int place = first + lane, at = reverse ? columns - 1 - place : place;
    const float own = place < columns ? from[at] : 0.f;
    float sum = own;
    for (int distance = 1; distance < 32; distance *= 2) {
      const float other = __shfl_up_sync(0xffffffffu, sum, distance);
      if (lane >= distance) sum += other;
    }
    // What stands before, not the sum without the own number: infinities must not cancel.
    const float preceding = __shfl_up_sync(0xffffffffu, sum, 1);
    if (place < columns) to[at] = before + (exclusive ? (lane == 0 ? 0.f : preceding) : sum);
    before += __shfl_sync(0xffffffffu, sum, 31);
  }
}
