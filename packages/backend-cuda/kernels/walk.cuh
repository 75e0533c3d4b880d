// How a kernel walks over arrays of different shapes: where element i of the result lies in two of them.

struct Walk {
  int rank;
  int dims[8];
  // Elements from one index to the next along an axis; 0 where an array is broadcast, negative where it runs backwards.
  int a[8], b[8];
};

struct Places {
  int a, b;
};

__device__ __forceinline__ Places places(const Walk& walk, unsigned i) {
  Places at = {0, 0};
  for (int axis = walk.rank - 1; axis > 0; axis--) {
    const unsigned dim = walk.dims[axis], rest = i / dim;
    const int index = i - rest * dim;
    at.a += index * walk.a[axis];
    at.b += index * walk.b[axis];
    i = rest;
  }
  at.a += (int)i * walk.a[0];
  at.b += (int)i * walk.b[0];
  return at;
}
