#include "fused_attention_grad_tensor_core.cuh"

ATTENTION_GRADIENT(fused_attention_key_grad_bf16_64, key_gradients, bf16, 64, 64)
ATTENTION_GRADIENT(fused_attention_query_grad_bf16_64, query_gradients, bf16, 64, 64)
ATTENTION_GRADIENT(fused_attention_key_grad_bf16_128, key_gradients, bf16, 128, 32)
ATTENTION_GRADIENT(fused_attention_query_grad_bf16_128, query_gradients, bf16, 128, 32)
