// Products with an epilogue as cuBLASLt makes them: what it refuses is what its documentation says it refuses.
#include <cmath>
#include "matrix.h"
#include "stream.h"

namespace {
enum Status { success = 0, invalid_value = 7, not_supported = 15 };
enum Epilogue : uint32_t { plain = 1, bias_only = 4, gelu_aux_bias = 32 | 128 | 4 };

struct Description {
  int compute, scale;
  int32_t transpose_a = 0, transpose_b = 0;
  uint32_t epilogue = plain;
  uint64_t bias = 0, aux = 0;
  int64_t aux_leading = 0;
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading;
};
struct Algorithm {
  uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
constexpr uint64_t known_algorithm = 0x5eed;

Status check(const Description& d, const Layout& a, const Layout& b, const Layout& c, const Layout& out) {
  const uint64_t m = d.transpose_a ? a.columns : a.rows, k = d.transpose_a ? a.rows : a.columns;
  const uint64_t n = d.transpose_b ? b.rows : b.columns, other_k = d.transpose_b ? b.columns : b.rows;
  if (k != other_k || out.rows != m || out.columns != n || c.rows != m || c.columns != n || c.type != out.type)
    return invalid_value;
  for (const Layout* layout : {&a, &b, &c, &out})
    if (layout->leading < int64_t(layout->rows)) return invalid_value;
  const bool known_types = a.type == b.type && (a.type == real_32f || a.type == real_16bf) &&
                           (out.type == real_32f || out.type == a.type);
  const bool known_compute = d.compute == compute_32f || (d.compute == compute_32f_fast_tf32 && a.type == real_32f);
  if (!known_types || !known_compute || d.scale != real_32f) return not_supported;
  if (d.epilogue == plain) return success;
  if (!d.bias || (d.epilogue != bias_only && d.epilogue != gelu_aux_bias)) return invalid_value;
  if (d.epilogue == gelu_aux_bias) {
    if (!d.aux || d.aux_leading % 8 != 0 || d.aux_leading < int64_t(m) || d.aux % 16 != 0) return invalid_value;
  }
  return success;
}

float gelu(float z) { return 0.5f * z * (1 + std::tanh(0.7978845608f * (z + 0.044715f * z * z * z))); }
}  // namespace

extern "C" {
int cublasLtCreate(void** handle) {
  *handle = &the_stream;
  return success;
}
int cublasLtMatmulDescCreate(void** description, int compute, int scale) {
  *description = new Description{compute, scale};
  return success;
}
int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
  Description& d = *static_cast<Description*>(handle);
  auto set = [&](auto& field) {
    if (bytes != sizeof(field)) return invalid_value;
    memcpy(&field, value, bytes);
    return success;
  };
  switch (attribute) {
    case 3: return set(d.transpose_a);
    case 4: return set(d.transpose_b);
    case 7: return set(d.epilogue);
    case 8: return set(d.bias);
    case 11: return set(d.aux);
    case 12: return set(d.aux_leading);
    default: return invalid_value;
  }
}
int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  *layout = new Layout{type, rows, columns, leading};
  return success;
}
int cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new uint64_t(0);
  return success;
}
int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, size_t bytes) {
  if (attribute != 1 || bytes != 8) return invalid_value;
  memcpy(preference, value, 8);
  return success;
}
int cublasLtMatmulAlgoGetHeuristic(void*, void* description, void* a, void* b, void* c, void* d, void* preference,
                                   int wanted, void* results, int* found) {
  *found = 0;
  if (wanted < 1 || !preference) return invalid_value;
  const Status status = check(*static_cast<Description*>(description), *static_cast<Layout*>(a),
                              *static_cast<Layout*>(b), *static_cast<Layout*>(c), *static_cast<Layout*>(d));
  if (status != success) return status;
  Heuristic heuristic{};
  heuristic.algorithm.data[0] = known_algorithm;
  memcpy(results, &heuristic, sizeof(heuristic));
  *found = 1;
  return success;
}
int cublasLtMatmul(void*, void* description, const void* alpha, uint64_t a, void* a_layout, uint64_t b,
                   void* b_layout, const void* beta, uint64_t c, void* c_layout, uint64_t out, void* out_layout,
                   const void* algorithm, uint64_t, size_t, void*) {
  const Description d = *static_cast<Description*>(description);
  const Layout la = *static_cast<Layout*>(a_layout), lb = *static_cast<Layout*>(b_layout);
  const Layout lc = *static_cast<Layout*>(c_layout), lo = *static_cast<Layout*>(out_layout);
  if (const Status status = check(d, la, lb, lc, lo)) return status;
  if (!algorithm || static_cast<const Algorithm*>(algorithm)->data[0] != known_algorithm) return invalid_value;
  float scale, keep;
  memcpy(&scale, alpha, 4);
  memcpy(&keep, beta, 4);
  submit([=] {
    const bool tf32 = d.compute == compute_32f_fast_tf32, rounded = lo.type == real_16bf;
    const Matrix first{a, la.type == real_16bf, d.transpose_a != 0, tf32, la.leading};
    const Matrix second{b, lb.type == real_16bf, d.transpose_b != 0, tf32, lb.leading};
    const Result result{out, rounded}, bias{d.bias, rounded}, aux{d.aux, rounded}, addend{c, rounded};
    const int64_t k = d.transpose_a ? la.rows : la.columns;
    for (int64_t j = 0; j < int64_t(lo.columns); j++) {
      for (int64_t i = 0; i < int64_t(lo.rows); i++) {
        float value = scale * dot(first, i, second, j, k);
        if (keep != 0) value += keep * addend.at(i + j * lc.leading);
        if (d.epilogue != plain) value += bias.at(i);
        if (d.epilogue == gelu_aux_bias) {
          aux.put(i + j * d.aux_leading, value);
          value = gelu(value);
        }
        result.put(i + j * lo.leading, value);
      }
    }
  });
  return success;
}
}
