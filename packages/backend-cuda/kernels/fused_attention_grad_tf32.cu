#include "fused_attention_grad_tensor_core.cuh"

ATTENTION_GRADIENT(fused_attention_key_grad_tf32_64, key_gradients, float, 64, 32)
ATTENTION_GRADIENT(fused_attention_query_grad_tf32_64, query_gradients, float, 64, 32)
