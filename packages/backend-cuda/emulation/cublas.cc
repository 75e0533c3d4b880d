// Products of matrices as cuBLAS makes them.
#include "matrix.h"
#include "stream.h"

extern "C" {
int cublasCreate_v2(void** handle) {
  *handle = &the_stream;
  return 0;
}
int cublasSetStream_v2(void*, void*) { return 0; }
int cublasSetWorkspace_v2(void*, uint64_t, size_t) { return 0; }

int cublasGemmStridedBatchedEx(void*, int transpose_a, int transpose_b, int m, int n, int k, const void* alpha,
                               uint64_t a, int type_a, int lda, long long stride_a, uint64_t b, int type_b, int ldb,
                               long long stride_b, const void* beta, uint64_t c, int type_c, int ldc,
                               long long stride_c, int count, int compute, int) {
  const bool known_types = (type_a == real_32f || type_a == real_16bf) && type_a == type_b &&
                           (type_c == real_32f || type_c == type_a);
  const bool known_compute = compute == compute_32f || (compute == compute_32f_fast_tf32 && type_a == real_32f);
  if (m < 0 || n < 0 || k < 0 || count < 0) return 7;
  if (lda < (transpose_a ? k : m) || ldb < (transpose_b ? n : k) || ldc < m) return 7;
  if (!known_types || !known_compute) return 15;
  float scale, keep;
  memcpy(&scale, alpha, 4);
  memcpy(&keep, beta, 4);
  submit([=] {
    const bool bf16 = type_a == real_16bf, tf32 = compute == compute_32f_fast_tf32;
    const int size = bf16 ? 2 : 4;
    for (int batch = 0; batch < count; batch++) {
      const Matrix first{a + batch * stride_a * size, bf16, transpose_a != 0, tf32, lda};
      const Matrix second{b + batch * stride_b * size, bf16, transpose_b != 0, tf32, ldb};
      const Result result{c + batch * stride_c * (type_c == real_16bf ? 2 : 4), type_c == real_16bf};
      for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < m; i++) {
          const int64_t place = i + j * ldc;
          result.put(place, scale * dot(first, i, second, j, k) + (keep != 0 ? keep * result.at(place) : 0));
        }
      }
    }
  });
  return 0;
}
}
