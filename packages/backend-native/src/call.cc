#include "call.h"

namespace rlhf {

Call::Call(napi_env e, napi_callback_info info, const char* name) : env(e), op(name) {
  napi_get_cb_info(env, info, &count_, values_, nullptr, nullptr);
  if (count_ > kMaxArguments) count_ = kMaxArguments;
}

bool Call::given(size_t i) const {
  if (i >= count_) return false;
  napi_valuetype type;
  return napi_typeof(env, values_[i], &type) == napi_ok && type != napi_undefined && type != napi_null;
}

void Call::range_problem(const std::string& what) const {
  throw RangeProblem("Cannot run " + std::string(op) + ": " + what);
}

void Call::type_problem(size_t i, const char* wanted) const {
  throw TypeProblem("Cannot run " + std::string(op) + ": argument " + std::to_string(i) + " must be " +
                    wanted);
}

void* Call::typed_array(size_t i, napi_typedarray_type wanted, const char* name, size_t length) const {
  napi_typedarray_type type;
  size_t actual;
  void* data;
  if (i >= count_ ||
      napi_get_typedarray_info(env, values_[i], &type, &actual, &data, nullptr, nullptr) != napi_ok ||
      !(type == wanted || (wanted == napi_uint8_array && type == napi_uint8_clamped_array)))
    type_problem(i, name);
  if (actual < length)
    range_problem("argument " + std::to_string(i) + " needs " + std::to_string(length) + " elements, got " +
                  std::to_string(actual));
  return data;
}

float* Call::floats(size_t i, size_t length) const {
  return static_cast<float*>(typed_array(i, napi_float32_array, "a Float32Array", length));
}
int32_t* Call::ints(size_t i, size_t length) const {
  return static_cast<int32_t*>(typed_array(i, napi_int32_array, "an Int32Array", length));
}
uint8_t* Call::bytes(size_t i, size_t length) const {
  return static_cast<uint8_t*>(typed_array(i, napi_uint8_array, "a Uint8Array", length));
}

void* Call::elements(size_t i, size_t& length, size_t& width) const {
  napi_typedarray_type type;
  void* data;
  if (i >= count_ ||
      napi_get_typedarray_info(env, values_[i], &type, &length, &data, nullptr, nullptr) != napi_ok)
    type_problem(i, "a typed array");
  if (type == napi_float32_array || type == napi_int32_array)
    width = 4;
  else if (type == napi_uint8_array || type == napi_uint8_clamped_array)
    width = 1;
  else
    type_problem(i, "a Float32Array, an Int32Array or a Uint8Array");
  return data;
}

std::vector<float*> Call::float_arrays(size_t i, std::vector<size_t>& lengths) const {
  return read_float_arrays(i, lengths, false);
}
std::vector<float*> Call::optional_float_arrays(size_t i, std::vector<size_t>& lengths) const {
  return read_float_arrays(i, lengths, true);
}

uint32_t Call::array_length(size_t i, const char* wanted) const {
  constexpr uint32_t kMost = 1 << 20;  // an array with holes can be as long as it likes
  uint32_t length;
  if (i >= count_ || napi_get_array_length(env, values_[i], &length) != napi_ok) type_problem(i, wanted);
  if (length > kMost)
    range_problem("argument " + std::to_string(i) + " has " + std::to_string(length) + " elements");
  return length;
}

std::vector<float*> Call::read_float_arrays(size_t i, std::vector<size_t>& lengths, bool optional) const {
  const char* wanted = "an array of Float32Arrays";
  uint32_t length = array_length(i, wanted);
  std::vector<float*> arrays(length);
  lengths.resize(length);
  for (uint32_t j = 0; j < length; j++) {
    napi_value element;
    napi_typedarray_type type;
    void* data;
    napi_valuetype kind;
    if (napi_get_element(env, values_[i], j, &element) != napi_ok ||
        napi_typeof(env, element, &kind) != napi_ok)
      type_problem(i, wanted);
    if (optional && kind == napi_null) {
      arrays[j] = nullptr;
      continue;
    }
    if (napi_get_typedarray_info(env, element, &type, &lengths[j], &data, nullptr, nullptr) != napi_ok ||
        type != napi_float32_array)
      type_problem(i, wanted);
    arrays[j] = static_cast<float*>(data);
  }
  return arrays;
}

std::vector<double> Call::numbers(size_t i) const {
  const char* wanted = "an array of numbers";
  uint32_t length = array_length(i, wanted);
  std::vector<double> result(length);
  for (uint32_t j = 0; j < length; j++) {
    napi_value element;
    if (napi_get_element(env, values_[i], j, &element) != napi_ok ||
        napi_get_value_double(env, element, &result[j]) != napi_ok)
      type_problem(i, wanted);
  }
  return result;
}

std::vector<int64_t> Call::integers(size_t i) const {
  std::vector<int64_t> result;
  for (double x : numbers(i)) {
    if (!(x >= -9007199254740991. && x <= 9007199254740991.)) type_problem(i, "an array of whole numbers");
    result.push_back(static_cast<int64_t>(x));
  }
  return result;
}

double Call::number(size_t i) const {
  double x;
  if (i >= count_ || napi_get_value_double(env, values_[i], &x) != napi_ok) type_problem(i, "a number");
  return x;
}

int Call::size(size_t i) const {
  double x = number(i);
  if (!(x >= 0 && x <= 2147483647.) || x != static_cast<int>(x))
    range_problem("argument " + std::to_string(i) + " must be a whole number from 0 to 2147483647, got " +
                  std::to_string(x));
  return static_cast<int>(x);
}

int Call::choice(size_t i, int limit) const {
  int x = size(i);
  if (x >= limit) range_problem("argument " + std::to_string(i) + " must be below " + std::to_string(limit));
  return x;
}

bool Call::flag(size_t i) const {
  bool x;
  if (i >= count_ || napi_get_value_bool(env, values_[i], &x) != napi_ok) type_problem(i, "a boolean");
  return x;
}

void Call::check_ids(const int32_t* ids, size_t length, int limit) const {
  for (size_t i = 0; i < length; i++)
    if (ids[i] < 0 || ids[i] >= limit)
      range_problem("id " + std::to_string(ids[i]) + " at " + std::to_string(i) + " is not in [0, " +
                    std::to_string(limit) + ")");
}

}  // namespace rlhf
