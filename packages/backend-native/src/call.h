// Reading the arguments of a call from JavaScript, with every length checked before memory is touched.
#pragma once
#include <node_api.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"

namespace rlhf {

/// Misuse: becomes a RangeError (a wrong size or number) or a TypeError (a wrong kind of value).
struct RangeProblem : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct TypeProblem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Call {
 public:
  static constexpr size_t kMaxArguments = 24;

  Call(napi_env env, napi_callback_info info, const char* op);

  napi_env env;
  const char* op;
  napi_value result = nullptr;

  size_t count() const { return count_; }
  bool given(size_t i) const;

  /// A typed array of at least `length` elements.
  float* floats(size_t i, size_t length) const;
  int32_t* ints(size_t i, size_t length) const;
  uint8_t* bytes(size_t i, size_t length) const;
  /// A null pointer for null or undefined.
  float* floats_or_null(size_t i, size_t length) const { return given(i) ? floats(i, length) : nullptr; }
  int32_t* ints_or_null(size_t i, size_t length) const { return given(i) ? ints(i, length) : nullptr; }
  /// A typed array of 1 or 4 bytes an element, whatever it holds.
  void* elements(size_t i, size_t& length, size_t& width) const;
  /// The elements of a JavaScript array of Float32Arrays.
  std::vector<float*> float_arrays(size_t i, std::vector<size_t>& lengths) const;
  /// The same, with null pointers for elements that are null.
  std::vector<float*> optional_float_arrays(size_t i, std::vector<size_t>& lengths) const;
  std::vector<int64_t> integers(size_t i) const;
  std::vector<double> numbers(size_t i) const;

  /// A whole number from 0 to 2³¹ − 1.
  int size(size_t i) const;
  double number(size_t i) const;
  bool flag(size_t i) const;
  /// A number below `limit`.
  int choice(size_t i, int limit) const;

  [[noreturn]] void range_problem(const std::string& what) const;
  [[noreturn]] void type_problem(size_t i, const char* wanted) const;
  /// Every id in [0, limit).
  void check_ids(const int32_t* ids, size_t length, int limit) const;

 private:
  napi_value values_[kMaxArguments];
  size_t count_ = kMaxArguments;
  uint32_t array_length(size_t i, const char* wanted) const;
  std::vector<float*> read_float_arrays(size_t i, std::vector<size_t>& lengths, bool optional) const;
  void* typed_array(size_t i, napi_typedarray_type wanted, const char* name, size_t length) const;
};

/// `Call::floats`, `Call::ints` or `Call::bytes`.
template <class T>
using Reader = T* (Call::*)(size_t argument, size_t length) const;

/// The kernels of the chosen instruction set.
const Kernels& kernels();

using Binding = void (*)(Call&);
void define(napi_env env, napi_value exports, const char* name, Binding binding);

// Each file of bindings adds its own functions.
void define_plain(napi_env env, napi_value exports);
void define_layout(napi_env env, napi_value exports);
void define_fused(napi_env env, napi_value exports);
void define_decode(napi_env env, napi_value exports);

}  // namespace rlhf
