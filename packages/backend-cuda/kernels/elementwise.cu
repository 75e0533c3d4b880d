// One or two numbers in, one out, for every element; the host reads the names of the operations from the lists.
#include "walk.cuh"

#define NAME(name, value) name,
#define CASE(name, value) \
  case name:              \
    return value;

#define UNARY(OP)                                        \
  OP(Abs, fabsf(x))                                      \
  OP(Ceil, ceilf(x))                                     \
  OP(Cos, cosf(x))                                       \
  OP(Erf, erff(x))                                       \
  OP(Exp, expf(x))                                       \
  OP(Expm1, expm1f(x))                                   \
  OP(Floor, floorf(x))                                   \
  OP(Log, logf(x))                                       \
  OP(Log1p, log1pf(x))                                   \
  OP(Neg, -x)                                            \
  OP(Reciprocal, 1.f / x)                                \
  OP(Relu, x > 0.f || x != x ? x : 0.f)                  \
  OP(Round, rintf(x))                                    \
  OP(Rsqrt, 1.f / sqrtf(x))                              \
  OP(Sigmoid, 1.f / (1.f + expf(-x)))                    \
  OP(Sign, x > 0.f ? 1.f : x < 0.f ? -1.f : 0.f)         \
  OP(Sin, sinf(x))                                       \
  OP(Softplus, fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))))  \
  OP(Sqrt, sqrtf(x))                                     \
  OP(Square, x * x)                                      \
  OP(Tanh, tanhf(x))                                     \
  OP(ClipByValue, x > p1 ? p1 : x < p0 ? p0 : x)         \
  OP(Step, x > 0.f ? 1.f : x == x ? p0 : x)              \
  OP(LeakyRelu, x < 0.f ? x * p0 : x)

enum UnaryOp { UNARY(NAME) };

__device__ float unary_value(int op, float x, float p0, float p1) {
  switch (op) { UNARY(CASE) }
  return NAN;
}

extern "C" __global__ void unary(int op, const float* x, float* y, int size, float p0, float p1) {
  const unsigned i = thread_number();
  if (i < size) y[i] = unary_value(op, x[i], p0, p1);
}

// Maximum and Minimum as JavaScript's: NaN if either is. And 1 to the power of NaN is NaN there, but 1 in C.
#define BINARY_FLOAT(OP)                          \
  OP(Add, a + b)                                  \
  OP(Sub, a - b)                                  \
  OP(Multiply, a * b)                             \
  OP(RealDiv, a / b)                              \
  OP(FloorDiv, floorf(a / b))                     \
  OP(Maximum, a > b || a != a ? a : b)            \
  OP(Minimum, a < b || a != a ? a : b)            \
  OP(SquaredDifference, (a - b) * (a - b))        \
  OP(Pow, b != b ? b : powf(a, b))

// Rounded down; 0 where JavaScript stores an infinity or NaN as an int.
__device__ __forceinline__ int floor_div(int a, int b) {
  if (b == 0) return 0;
  if (b == -1) return (int)(0u - (unsigned)a);
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

// Unsigned arithmetic wraps around where the signed one is undefined.
#define BINARY_INT(OP)                            \
  OP(IntAdd, (int)((unsigned)a + (unsigned)b))       \
  OP(IntSub, (int)((unsigned)a - (unsigned)b))       \
  OP(IntMultiply, (int)((unsigned)a * (unsigned)b))  \
  OP(IntFloorDiv, floor_div(a, b))                   \
  OP(IntSquaredDifference, (int)(((unsigned)a - b) * ((unsigned)a - b))) \
  OP(IntMaximum, a > b ? a : b)                      \
  OP(IntMinimum, a < b ? a : b)

#define COMPARISON(OP)      \
  OP(Equal, a == b)         \
  OP(NotEqual, a != b)      \
  OP(Greater, a > b)        \
  OP(GreaterEqual, a >= b)  \
  OP(Less, a < b)           \
  OP(LessEqual, a <= b)     \
  OP(LogicalAnd, a && b)    \
  OP(LogicalOr, a || b)

enum FloatOp { BINARY_FLOAT(NAME) };
enum IntOp { BINARY_INT(NAME) };
enum Comparison { COMPARISON(NAME) };

__device__ float float_value(int op, float a, float b) {
  switch (op) { BINARY_FLOAT(CASE) }
  return NAN;
}
__device__ int int_value(int op, int a, int b) {
  switch (op) { BINARY_INT(CASE) }
  return 0;
}
template <class T>
__device__ int comparison_value(int op, T a, T b) {
  switch (op) { COMPARISON(CASE) }
  return 0;
}

extern "C" __global__ void binary_float(int op, const float* a, const float* b, float* y, int size, Walk walk) {
  const unsigned i = thread_number();
  if (i >= size) return;
  const Places at = places(walk, i);
  y[i] = float_value(op, a[at.a], b[at.b]);
}
extern "C" __global__ void binary_int(int op, const int* a, const int* b, int* y, int size, Walk walk) {
  const unsigned i = thread_number();
  if (i >= size) return;
  const Places at = places(walk, i);
  y[i] = int_value(op, a[at.a], b[at.b]);
}
extern "C" __global__ void compare_float(int op, const float* a, const float* b, int* y, int size, Walk walk) {
  const unsigned i = thread_number();
  if (i >= size) return;
  const Places at = places(walk, i);
  y[i] = comparison_value(op, a[at.a], b[at.b]);
}
extern "C" __global__ void compare_int(int op, const int* a, const int* b, int* y, int size, Walk walk) {
  const unsigned i = thread_number();
  if (i >= size) return;
  const Places at = places(walk, i);
  y[i] = comparison_value(op, a[at.a], b[at.b]);
}

extern "C" __global__ void logical_not(const int* x, int* y, int size) {
  const unsigned i = thread_number();
  if (i < size) y[i] = !x[i];
}

// Elements of any type; one condition may stand for a run of elements.
extern "C" __global__ void choose(const int* condition, const unsigned* yes, const unsigned* no, unsigned* y, int size,
                                  int run) {
  const unsigned i = thread_number();
  if (i < size) y[i] = condition[i / run] ? yes[i] : no[i];
}
