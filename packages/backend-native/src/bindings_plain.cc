// Bindings of the plain kernels: products, elementwise, reductions, softmax.
#include <algorithm>
#include <initializer_list>

#include "call.h"
#include "ops.h"

namespace rlhf {
namespace {

/// How far each array of a walk is read or written.
struct Extents {
  size_t out, a, b;
};
/// Dims at argument i, the steps of a and b after it.
Walk walk_at(Call& call, size_t i, Extents& extents) {
  auto dims = call.integers(i), a = call.integers(i + 1), b = call.integers(i + 2);
  if (dims.empty() || dims.size() > Walk::kMaxRank || a.size() != dims.size() || b.size() != dims.size())
    call.range_problem("a walk needs 1 to 8 dimensions with as many steps");
  Walk walk{};
  walk.rank = static_cast<int>(dims.size());
  double out = 1, endA = 1, endB = 1;
  for (int d = 0; d < walk.rank; d++) {
    if (dims[d] < 0 || a[d] < 0 || b[d] < 0) call.range_problem("dimensions and steps must not be negative");
    walk.dims[d] = dims[d];
    walk.a[d] = a[d];
    walk.b[d] = b[d];
    out *= static_cast<double>(dims[d]);
    endA += static_cast<double>(dims[d] - 1) * static_cast<double>(a[d]);
    endB += static_cast<double>(dims[d] - 1) * static_cast<double>(b[d]);
  }
  int last = walk.rank - 1;
  if (a[last] > 1 || b[last] > 1) call.range_problem("the last steps must be 0 or 1");
  if (out == 0) {
    extents = {0, 0, 0};
    return walk;
  }
  constexpr double kMost = 1e12;
  if (out > kMost || endA > kMost || endB > kMost) call.range_problem("too many elements");
  extents = {static_cast<size_t>(out), static_cast<size_t>(endA), static_cast<size_t>(endB)};
  return walk;
}

void unary(Call& call) {  // op, x, y, size, p0, p1
  size_t size = call.size(3);
  kernels().unary(call.choice(0, unary_op::count), call.floats(1, size), call.floats(2, size), size,
                  static_cast<float>(call.number(4)), static_cast<float>(call.number(5)));
}

/// op, a, b, y, dims, stepsA, stepsB
template <class In, class Out>
void elementwise(Call& call, int ops, Reader<In> in, Reader<Out> out,
                 void (*kernel)(int op, const In* a, const In* b, Out* y, const Walk&)) {
  Extents n;
  Walk walk = walk_at(call, 4, n);
  int op = call.choice(0, ops);
  const In *a = (call.*in)(1, n.a), *b = (call.*in)(2, n.b);
  Out* y = (call.*out)(3, n.out);
  if (n.out) kernel(op, a, b, y, walk);
}
void binary(Call& call) {
  elementwise(call, binary_op::count, &Call::floats, &Call::floats, kernels().binary);
}
void binary_int(Call& call) {
  elementwise(call, binary_op::count, &Call::ints, &Call::ints, kernels().binaryInt);
}
void compare(Call& call) {
  elementwise(call, comparison::count, &Call::floats, &Call::bytes, kernels().compare);
}
void compare_int(Call& call) {
  elementwise(call, comparison::count, &Call::ints, &Call::bytes, kernels().compareInt);
}
void compare_bool(Call& call) {
  elementwise(call, comparison::count, &Call::bytes, &Call::bytes, kernels().compareBool);
}

void select(Call& call) {  // condition, yes, no, y, size
  size_t size = call.size(4);
  kernels().select(call.bytes(0, size), call.floats(1, size), call.floats(2, size), call.floats(3, size),
                   size);
}

size_t product_of(Call& call, std::initializer_list<size_t> sizes) {
  size_t total = 1;
  for (size_t s : sizes) {
    total *= s;
    if (total > (size_t(1) << 40)) call.range_problem("too many elements");
  }
  return total;
}

void reduce(Call& call) {  // kind, x, y, outer, reduced, inner, scale
  size_t outer = call.size(3), reduced = call.size(4), inner = call.size(5);
  float *x = call.floats(1, product_of(call, {outer, reduced, inner})),
        *y = call.floats(2, product_of(call, {outer, inner}));
  int kind = call.choice(0, 4);
  float scale = static_cast<float>(call.number(6));
  if (outer && inner) kernels().reduce(static_cast<Reduction>(kind), x, y, outer, reduced, inner, scale);
}

void cumulate(Call& call) {  // x, y, rows, columns, exclusive, reverse
  size_t rows = call.size(2), columns = call.size(3), size = product_of(call, {rows, columns});
  float *x = call.floats(0, size), *y = call.floats(1, size);
  bool exclusive = call.flag(4), reverse = call.flag(5);
  if (size) kernels().cumulate(x, y, rows, columns, exclusive, reverse);
}

void softmax(Call& call) {  // x, y, rows, columns, log
  size_t rows = call.size(2), columns = call.size(3), size = product_of(call, {rows, columns});
  float *x = call.floats(0, size), *y = call.floats(1, size);
  if (size) kernels().softmax(x, y, rows, columns, call.flag(4));
}

/// a, b, c, m, n, k, transposeA, transposeB, offsetsA, offsetsB: one product for every pair of offsets.
void multiply(Call& call) {
  Product p{};
  p.m = call.size(3);
  p.n = call.size(4);
  p.k = call.size(5);
  p.transposeA = call.flag(6);
  p.transposeB = call.flag(7);
  p.strideA = p.transposeA ? p.m : p.k;
  p.strideB = p.transposeB ? p.k : p.n;
  p.strideC = p.n;
  auto offsetsA = call.integers(8), offsetsB = call.integers(9);
  if (offsetsA.size() != offsetsB.size()) call.range_problem("as many offsets for a as for b");
  size_t sizeA = product_of(call, {size_t(p.m), size_t(p.k)}),
         sizeB = product_of(call, {size_t(p.k), size_t(p.n)});
  size_t sizeC = product_of(call, {size_t(p.m), size_t(p.n)}), lengthA = 0, lengthB = 0;
  for (size_t i = 0; i < offsetsA.size(); i++) {
    if (offsetsA[i] < 0 || offsetsB[i] < 0) call.range_problem("offsets must not be negative");
    lengthA = std::max(lengthA, offsetsA[i] + sizeA);
    lengthB = std::max(lengthB, offsetsB[i] + sizeB);
  }
  p.a = call.floats(0, lengthA);
  p.b = call.floats(1, lengthB);
  p.c = call.floats(2, product_of(call, {sizeC, offsetsA.size()}));
  if (sizeC && !offsetsA.empty())
    kernels().productBatch(p, static_cast<int>(offsetsA.size()), offsetsA.data(), offsetsB.data(), sizeC);
}

}  // namespace

void define_plain(napi_env env, napi_value exports) {
  define(env, exports, "unary", unary);
  define(env, exports, "binary", binary);
  define(env, exports, "binaryInt", binary_int);
  define(env, exports, "compare", compare);
  define(env, exports, "compareInt", compare_int);
  define(env, exports, "compareBool", compare_bool);
  define(env, exports, "select", select);
  define(env, exports, "reduce", reduce);
  define(env, exports, "cumulate", cumulate);
  define(env, exports, "softmax", softmax);
  define(env, exports, "multiply", multiply);
}

}  // namespace rlhf
