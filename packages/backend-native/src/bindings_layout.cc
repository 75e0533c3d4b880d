// Moving elements without computing: strided copies, gathering rows, casts, fills. The same code serves every
// instruction set, because memory is the limit here.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#if !defined(_WIN32)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "call.h"
#include "thread_pool.h"

namespace rlhf {
namespace {

constexpr int64_t kPerTask = 16384;

/// One or two innermost axes of a copy: a run of elements, or a tile that turns columns into rows.
template <class T>
void copy_tile(const T* from, T* to, int64_t rows, int64_t columns, int64_t fromRow, int64_t fromColumn,
               int64_t toRow, int64_t toColumn) {
  if (fromColumn == 1 && toColumn == 1) {
    for (int64_t i = 0; i < rows; i++) std::memcpy(to + i * toRow, from + i * fromRow, columns * sizeof(T));
    return;
  }
  // Blocks keep both the lines read and the lines written in the cache.
  constexpr int64_t kBlock = 16;
  for (int64_t i0 = 0; i0 < rows; i0 += kBlock)
    for (int64_t j0 = 0; j0 < columns; j0 += kBlock)
      for (int64_t i = i0; i < std::min(rows, i0 + kBlock); i++)
        for (int64_t j = j0; j < std::min(columns, j0 + kBlock); j++)
          to[i * toRow + j * toColumn] = from[i * fromRow + j * fromColumn];
}

template <class T>
void copy_walk(const T* from, T* to, const Walk& walk) {
  int rank = walk.rank;
  // With a leading axis of one there are always two innermost axes.
  int64_t rows = rank > 1 ? walk.dims[rank - 2] : 1, columns = walk.dims[rank - 1];
  int64_t fromRow = rank > 1 ? walk.a[rank - 2] : 0, toRow = rank > 1 ? walk.b[rank - 2] : 0;
  int64_t outer = 1;
  for (int d = 0; d < rank - 2; d++) outer *= walk.dims[d];
  int64_t rowsPerTask = std::max<int64_t>(1, kPerTask / columns);
  if (rowsPerTask >= 16) rowsPerTask = rowsPerTask / 16 * 16;
  int64_t tasksPerBlock = (rows + rowsPerTask - 1) / rowsPerTask;
  int64_t blocksPerTask = tasksPerBlock > 1 ? 1 : std::max<int64_t>(1, kPerTask / (rows * columns));
  int64_t groups = (outer + blocksPerTask - 1) / blocksPerTask;
  parallel(static_cast<int>(groups * tasksPerBlock), 0.5 * outer * rows * columns, [&](int task, int) {
    int64_t row = task % tasksPerBlock * rowsPerTask, begin = task / tasksPerBlock * blocksPerTask;
    for (int64_t block = begin; block < std::min(outer, begin + blocksPerTask); block++) {
      int64_t source = 0, target = 0, rest = block;
      for (int d = rank - 3; d >= 0; d--) {
        source += rest % walk.dims[d] * walk.a[d];
        target += rest % walk.dims[d] * walk.b[d];
        rest /= walk.dims[d];
      }
      copy_tile(from + source + row * fromRow, to + target + row * toRow, std::min(rowsPerTask, rows - row),
                columns, fromRow, walk.a[rank - 1], toRow, walk.b[rank - 1]);
    }
  });
}

/// from, to, fromOffset, toOffset, dims, fromSteps, toSteps (steps may be negative or 0).
void copy(Call& call) {
  size_t fromLength, toLength, fromWidth, toWidth;
  void *from = call.elements(0, fromLength, fromWidth), *to = call.elements(1, toLength, toWidth);
  int64_t fromOffset = call.size(2), toOffset = call.size(3);
  auto dims = call.integers(4), a = call.integers(5), b = call.integers(6);
  if (fromWidth != toWidth) call.range_problem("elements of one width on both sides");
  if (dims.empty() || dims.size() > Walk::kMaxRank || a.size() != dims.size() || b.size() != dims.size())
    call.range_problem("a copy needs 1 to 8 dimensions with as many steps");
  Walk walk{};
  walk.rank = static_cast<int>(dims.size());
  int64_t fromLow = fromOffset, fromHigh = fromOffset, toLow = toOffset, toHigh = toOffset;
  double total = 1;
  for (int d = 0; d < walk.rank; d++) {
    if (dims[d] < 0 || dims[d] > INT32_MAX || std::llabs(a[d]) > INT32_MAX || std::llabs(b[d]) > INT32_MAX)
      call.range_problem("dimensions and steps must fit 31 bits");
    if (dims[d] == 0) return;
    (a[d] < 0 ? fromLow : fromHigh) += (dims[d] - 1) * a[d];
    (b[d] < 0 ? toLow : toHigh) += (dims[d] - 1) * b[d];
    constexpr int64_t kMost = int64_t(1) << 40;
    if (fromLow < -kMost || fromHigh > kMost || toLow < -kMost || toHigh > kMost)
      call.range_problem("the copy leaves its arrays");
    total *= static_cast<double>(dims[d]);
    walk.dims[d] = dims[d];
    walk.a[d] = a[d];
    walk.b[d] = b[d];
  }
  // Every target is written once, so a walk longer than its target is a mistake (and could be endless).
  bool outside = fromLow < 0 || toLow < 0 || fromHigh >= static_cast<int64_t>(fromLength) ||
                 toHigh >= static_cast<int64_t>(toLength);
  if (outside || total > static_cast<double>(toLength)) call.range_problem("the copy leaves its arrays");
  if (fromWidth == 4)
    copy_walk(static_cast<uint32_t*>(from) + fromOffset, static_cast<uint32_t*>(to) + toOffset, walk);
  else
    copy_walk(static_cast<uint8_t*>(from) + fromOffset, static_cast<uint8_t*>(to) + toOffset, walk);
}

/// from [outer, axis, inner], ids [count], to [outer, count, inner]: to[o, i] = from[o, ids[i]].
void gather(Call& call) {
  size_t fromLength, toLength, width, toWidth;
  auto* from = static_cast<char*>(call.elements(0, fromLength, width));
  auto* to = static_cast<char*>(call.elements(2, toLength, toWidth));
  int64_t outer = call.size(3), axis = call.size(4), inner = call.size(5), count = call.size(6);
  const int32_t* ids = call.ints(1, count);
  if (width != toWidth || static_cast<double>(outer) * axis * inner > static_cast<double>(fromLength) ||
      static_cast<double>(outer) * count * inner > static_cast<double>(toLength))
    call.range_problem("the arrays must be [outer, axis, inner] and [outer, count, inner]");
  call.check_ids(ids, count, static_cast<int>(axis));
  if (inner == 0 || outer == 0) return;
  size_t bytes = inner * width;
  int64_t perTask = std::max<int64_t>(1, kPerTask / std::max<int64_t>(inner, 1)), total = outer * count;
  parallel(static_cast<int>((total + perTask - 1) / perTask), 0.2 * total * inner, [&](int task, int) {
    for (int64_t i = task * perTask; i < std::min(total, (task + 1) * perTask); i++)
      std::memcpy(to + i * bytes, from + (i / count * axis + ids[i % count]) * bytes, bytes);
  });
}

/// JavaScript's conversion to a 32-bit integer: towards zero, modulo 2³², NaN to 0.
int32_t to_int32(float x) {
  if (x > -2147483648.f && x < 2147483648.f) return static_cast<int32_t>(x);
  if (!std::isfinite(x)) return 0;
  return static_cast<int32_t>(
      static_cast<uint32_t>(static_cast<int64_t>(std::fmod(static_cast<double>(x), 4294967296.))));
}

/// from, to, size
template <class From, class To, class Function>
void convert(Call& call, Reader<From> reader, Reader<To> writer, Function f) {
  size_t size = call.size(2);
  const From* from = (call.*reader)(0, size);
  To* to = (call.*writer)(1, size);
  parallel_chunks(size, kPerTask, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) to[i] = f(from[i]);
  });
}
void float_to_int(Call& call) { convert(call, &Call::floats, &Call::ints, to_int32); }
void int_to_float(Call& call) {
  convert(call, &Call::ints, &Call::floats, [](int32_t x) { return static_cast<float>(x); });
}
void bool_to_float(Call& call) {
  convert(call, &Call::bytes, &Call::floats, [](uint8_t x) { return static_cast<float>(x); });
}
void bool_to_int(Call& call) {
  convert(call, &Call::bytes, &Call::ints, [](uint8_t x) { return static_cast<int32_t>(x); });
}
void float_to_bool(Call& call) {
  convert(call, &Call::floats, &Call::bytes, [](float x) -> uint8_t { return x != 0; });
}
void int_to_bool(Call& call) {
  convert(call, &Call::ints, &Call::bytes, [](int32_t x) -> uint8_t { return x != 0; });
}
void not_bool(Call& call) {
  convert(call, &Call::bytes, &Call::bytes, [](uint8_t x) -> uint8_t { return !x; });
}

/// How far an array lies behind a multiple of a cache line, in bytes.
void misalignment(Call& call) {
  napi_create_uint32(call.env, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(call.floats(0, 0)) % 64),
                     &call.result);
}

/// Gives the whole pages of an array back to the system; its contents are lost.
void discard(Call& call) {
#if defined(MADV_DONTNEED)
  size_t length, width;
  auto begin = reinterpret_cast<uintptr_t>(call.elements(0, length, width)), end = begin + length * width;
  uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  begin = (begin + page - 1) / page * page;
  end = end / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
#else
  (void)call;
#endif
}

}  // namespace

void define_layout(napi_env env, napi_value exports) {
  define(env, exports, "copy", copy);
  define(env, exports, "gather", gather);
  define(env, exports, "floatToInt", float_to_int);
  define(env, exports, "intToFloat", int_to_float);
  define(env, exports, "boolToFloat", bool_to_float);
  define(env, exports, "boolToInt", bool_to_int);
  define(env, exports, "floatToBool", float_to_bool);
  define(env, exports, "intToBool", int_to_bool);
  define(env, exports, "notBool", not_bool);
  define(env, exports, "misalignment", misalignment);
  define(env, exports, "discard", discard);
}

}  // namespace rlhf
